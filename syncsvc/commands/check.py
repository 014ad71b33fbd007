"""
Look at everything that a run needs, and say of each what is wrong with it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import text

from syncsvc import bootstrap
from syncsvc.database import migrate, transactions
from syncsvc.errors import SyncError
from syncsvc.provider import http_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from syncsvc.settings.settings import Settings


class Finding(msgspec.Struct, frozen=True):
    """
    One line of the doctor's.

    Attributes:
        says: What was found, or what is wrong and what to do.
    """

    subject: str
    healthy: bool
    says: str


def examine(settings: Settings) -> Iterator[Finding]:
    """
    Examine settings, database, schema, credentials and one listing page.

    What can't be looked at because of what was found before is left out.

    Raises:
        ConfigurationError: The environment's proxies or certificates can't be used.
    """
    http_environment.require_usable()
    yield _finding("settings", lambda: _settings(settings))
    database = _finding("database", lambda: _database(settings))
    yield database
    if database.healthy:
        yield _finding("schema", lambda: _schema(settings))
    credentials = _finding("credentials", lambda: _credentials(settings))
    yield credentials
    if credentials.healthy:
        yield _finding("listing", lambda: _listing(settings))


def _finding(subject: str, look: Callable[[], str]) -> Finding:
    try:
        with transactions.translated():
            return Finding(subject=subject, healthy=True, says=look())
    except SyncError as exc:
        return Finding(subject=subject, healthy=False, says=str(exc))


def _settings(settings: Settings) -> str:
    shown = settings.redacted()
    names = ("account", "api_url", "database_url", "schedule")
    return ", ".join(f"{name}={shown[name]}" for name in names)


def _database(settings: Settings) -> str:
    bootstrap.require_directory(settings)
    if bootstrap.is_missing_file(settings):
        return f"no file {settings.database.database} yet; the first `syncsvc sync` makes it"
    with bootstrap.engine_from(settings).connect() as connection:
        connection.execute(text("SELECT 1"))
        version = ".".join(map(str, connection.dialect.server_version_info or ()))
        return f"{connection.dialect.name} {version} answers"


def _schema(settings: Settings) -> str:
    if bootstrap.is_missing_file(settings):
        return "none yet"
    with bootstrap.engine_from(settings).connect() as connection:
        if connection.dialect.name == "sqlite" and migrate.is_empty(connection):
            return "an empty file; the first `syncsvc sync` makes the tables"
        migrate.require_current(connection)
        return f"current, at {migrate.newest()}"


def _credentials(settings: Settings) -> str:
    settings.require_credentials()
    if settings.api_token is not None:
        return "a fixed token; the listing shows whether it is accepted"
    exchange = bootstrap.exchange_from(settings)
    try:
        bootstrap.tokens_from(settings, exchange).current()
    finally:
        exchange.close()
    return "the provider gave a token for the client's id and secret"


def _listing(settings: Settings) -> str:
    api = bootstrap.api_from(settings, retries=0)
    began_at = time.perf_counter()
    try:
        page = api.page(1)
    finally:
        api.close()
    seconds = time.perf_counter() - began_at
    rows = page.rows if page else []
    size = page.num_results if page else None
    total = "an unknown number" if size is None else str(size)
    return f"{len(rows)} of {total} numbers on the first page, in {seconds:.2f} s"
