"""
`syncsvc check`: test everything that a run needs, and name what is wrong and what to do.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import text

from syncsvc import build_from_settings
from syncsvc.accounts import account_settings
from syncsvc.database import sqlite_file, transactions
from syncsvc.database.engine import untested_server
from syncsvc.database.maintenance import migrate, rehearse_run
from syncsvc.errors import ConfigurationError, RunInProgress, SyncError
from syncsvc.provider.http.http_environment import proxy_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from syncsvc.accounts.rows import Account
    from syncsvc.settings.settings import Settings

CLOCK_TOLERANCE = timedelta(minutes=2)
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class Finding(msgspec.Struct, frozen=True):
    """
    One line of the result.

    Attributes:
        says: What was found, or what is wrong and what to do.
    """

    subject: str
    healthy: bool
    says: str


def examine(settings: Settings) -> Iterator[Finding]:
    """
    Examine settings, database and provider; what an earlier failure prevents is left out.
    """
    yield _finding("settings", lambda: _settings(settings))
    yield from _examine_database(settings)
    own, is_reachable = settings, False
    account = _account_row(settings)
    if account is not None:
        finding = _finding("account", lambda: _account(account, settings))
        yield finding
        if not finding.healthy:
            return
        own = account_settings.complete(account, settings)
    for finding in _examine_provider(own):
        yield finding
        is_reachable = finding.healthy
    yield _finding("clock", lambda: _clock(own, ask_provider=is_reachable))


def _examine_database(settings: Settings) -> Iterator[Finding]:
    is_postgresql = settings.database.get_backend_name() == "postgresql"
    database = _finding("database", lambda: _database(settings))
    yield database
    if not database.healthy:
        return
    if not is_postgresql:
        yield _finding("files", lambda: _files(settings))
    schema = _finding("schema", lambda: _schema(settings))
    yield schema
    if is_postgresql:
        session = _finding("session", lambda: _session(settings))
        yield session
        schema = schema if session.healthy else session
    if schema.healthy and not migrate.is_new_file(build_from_settings.engine_from(settings)):
        yield _finding("triggers", lambda: _triggers(settings))
        yield _finding("rehearsal", lambda: _rehearsal(settings))


def _examine_provider(settings: Settings) -> Iterator[Finding]:
    connection = _finding("connection", lambda: _connection(settings))
    yield connection
    credentials = _finding("credentials", lambda: _credentials(settings))
    yield credentials
    if connection.healthy and credentials.healthy:
        yield _finding("listing", lambda: _listing(settings))


def _account_row(settings: Settings) -> Account | None:
    """
    Return the row of the account; None if it has none, or if the database's line is the problem.
    """
    try:
        return build_from_settings.account_of(settings)
    except SyncError:
        return None


def _account(account: Account, settings: Settings) -> str:
    found = account_settings.credentials(account, settings)
    account_settings.complete(account, settings)
    sources = {"sealed in it" if item.where == " (sealed)" else "files" for item in found.values()}
    names = ", ".join(sorted(account.settings)) or "nothing"
    paused = "" if account.enabled else "; it is paused"
    return f"its row sets {names}; its credentials are {sources.pop()}{paused}"


def _finding(subject: str, look: Callable[[], str]) -> Finding:
    try:
        with transactions.translated():
            return Finding(subject=subject, healthy=True, says=look())
    except (SyncError, OSError) as exc:
        return Finding(subject=subject, healthy=False, says=str(exc))


def _settings(settings: Settings) -> str:
    shown = settings.redacted()
    names = ("account", "api_url", "database_url", "schedule")
    return ", ".join(f"{name}={shown[name]}" for name in names)


def _database(settings: Settings) -> str:
    sqlite_file.require_usable(settings.database)
    if sqlite_file.is_missing(settings.database):
        return f"no file {settings.database.database} yet; the first `syncsvc sync` creates it"
    with build_from_settings.engine_from(settings).connect() as connection:
        connection.execute(text("SELECT 1"))
        version = ".".join(map(str, connection.dialect.server_version_info or ()))
        untested = untested_server(connection)
        note = f"; {untested} is not tested with syncsvc" if untested else ""
        return f"{connection.dialect.name} {version} answers, in UTF-8{note}"


def _files(settings: Settings) -> str:
    """
    Check the rights on a SQLite file and on its directory, where WAL and lock files are.

    Somebody else's file that only its owner writes is in order: this user reads reports.
    """
    path = Path(settings.database.database or "").resolve()
    if sqlite_file.is_missing(settings.database):
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"SYNCSVC_DATABASE_URL: this user can't create files in {path.parent}. "
                "Give the directory to the user who runs syncsvc."
            )
        return f"the directory {path.parent} can be written"
    if not sqlite_file.is_read_only(path):
        return f"{path} and its directory can be written"
    if _is_a_readers(settings):
        return f"{path} is another user's and read-only for this one: reports work, runs do not"
    raise ConfigurationError(
        f"SYNCSVC_DATABASE_URL: this user can't write {path} or its directory {path.parent}, "
        "which a run has to. Give both to the user who runs syncsvc."
    )


def _is_a_readers(settings: Settings) -> bool:
    """
    Return whether the database is a SQLite file of somebody else's that this user only reads.
    """
    if settings.database.get_backend_name() != "sqlite":
        return False
    path = Path(settings.database.database or "")
    return sqlite_file.is_read_only(path) and path.stat().st_uid != os.geteuid()


def _schema(settings: Settings) -> str:
    if migrate.is_new_file(build_from_settings.engine_from(settings)):
        return "no tables yet; the first `syncsvc sync` creates them"
    with build_from_settings.engine_from(settings).connect() as connection:
        migrate.require_current(connection)
        migrate.require_whole(connection)
        return f"current, at {migrate.newest()}"


def _session(settings: Settings) -> str:
    rehearse_run.require_own_session(build_from_settings.engine_from(settings))
    return "each connection keeps its server process between transactions"


def _triggers(settings: Settings) -> str:
    with build_from_settings.engine_from(settings).connect() as connection:
        rehearse_run.require_triggers(connection)
    return "those on numbers are there and enabled"


def _rehearsal(settings: Settings) -> str:
    if _is_a_readers(settings):
        return "left out: this user only reads the database"
    engine = build_from_settings.engine_from(settings)
    if rehearse_run.is_standby(engine):
        return "left out: the server is a standby; reports work there, runs do not"
    try:
        rehearse_run.rehearse(engine, settings.account)
    except RunInProgress as exc:
        return f"left out. {exc}"
    return "the lock, temporary tables and writes to every table work; all was rolled back"


def _connection(settings: Settings) -> str:
    """
    Describe the way to the provider: a proxy, and whose certificates are trusted.
    """
    url = urlsplit(settings.api_url)
    proxy = proxy_for(settings.api_url)
    way = "directly" if proxy is None else f"through the proxy {proxy.url.host}:{proxy.url.port}"
    if url.scheme == "https":
        named = [name for name in CERTIFICATE_VARIABLES if name in os.environ]
        stores = " and ".join(f"{name}={os.environ[name]}" for name in named)
        return f"https {way}, certificates checked against {stores or 'those of certifi'}"
    if proxy is None:
        return f"plain http {way}"
    return f"plain http {way}, which can read the token; NO_PROXY={url.hostname} avoids it"


def _credentials(settings: Settings) -> str:
    settings.require_credentials()
    if settings.api_token is not None:
        return "a fixed token; the listing shows whether it is accepted"
    transport = build_from_settings.transport_from(settings)
    try:
        build_from_settings.tokens_from(settings, transport).current()
    finally:
        transport.close()
    return "the provider issued a token for the client id and secret"


def _listing(settings: Settings) -> str:
    api = build_from_settings.api_from(settings, retries=0)
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


def _clock(settings: Settings, *, ask_provider: bool) -> str:
    """
    Compare this machine's clock with those that can be asked: the database's, the provider's.
    """
    others = {"the database server": _database_clock}
    if ask_provider:
        others["the provider"] = _provider_clock
    agreeing = []
    for name, ask in others.items():
        try:
            ahead = ask(settings)
        except (SyncError, OSError):  # reported by a line of its own
            continue
        if ahead is None:
            continue
        if abs(ahead) > CLOCK_TOLERANCE:
            word = "ahead of" if ahead > timedelta() else "behind"
            raise ConfigurationError(
                f"This machine's clock is {abs(ahead).total_seconds():,.0f} s {word} "
                f"that of {name}. Events would get wrong times: synchronise the clocks (NTP)."
            )
        agreeing.append(name)
    return f"agrees with {' and '.join(agreeing)}" if agreeing else "no other clock to compare with"


def _database_clock(settings: Settings) -> timedelta | None:
    with transactions.short_read(build_from_settings.engine_from(settings)) as connection:
        return transactions.clock_ahead(connection)


def _provider_clock(settings: Settings) -> timedelta | None:
    """
    Ask for the `Date` of any response; one without a token will do.
    """
    transport = build_from_settings.transport_from(settings)
    try:
        response = transport.send("GET", "/api/numbers", headers={})
    finally:
        transport.close()
    return response.clock_ahead
