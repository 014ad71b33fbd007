"""
Build the engine, the API client and the run's input from settings; nothing is opened here.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from syncsvc.database.engine import open_engine
from syncsvc.errors import ConfigurationError, SchemaNotCurrent
from syncsvc.provider.client import NumberApi
from syncsvc.provider.tokens import ClientCredentials, FixedToken
from syncsvc.provider.transport import Exchange
from syncsvc.reconcile.guard import Guard
from syncsvc.sync.run_inputs import Job

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from syncsvc.metrics import Meter
    from syncsvc.provider.tokens import Tokens
    from syncsvc.settings.settings import Settings


def engine_from(settings: Settings) -> Engine:
    """
    Create the engine for the settings' database.

    Raises:
        ConfigurationError: It is a SQLite file that can't be one.
    """
    require_directory(settings)
    _require_readable(settings)
    return open_engine(settings.database)


def require_file(settings: Settings) -> None:
    """
    Refuse a SQLite file that does not exist; connecting would create an empty one.

    Raises:
        SchemaNotCurrent: It does not exist.
    """
    if is_missing_file(settings):
        url = settings.database
        raise SchemaNotCurrent(
            f"There is no database yet ({url.database}, SYNCSVC_DATABASE_URL). "
            "`syncsvc sync` or `syncsvc migrate` creates it."
        )


def is_missing_file(settings: Settings) -> bool:
    """
    Return whether the database is a SQLite file that does not exist.
    """
    url = settings.database
    if url.get_backend_name() != "sqlite":
        return False
    try:
        Path(url.database or "").stat()
    except FileNotFoundError:
        return True
    except OSError:  # which `engine_from` reports
        return False
    return False


def require_directory(settings: Settings) -> None:
    """
    Refuse a SQLite file in a directory that does not exist.

    Raises:
        ConfigurationError: It does not exist.
    """
    url = settings.database
    if url.get_backend_name() != "sqlite":
        return
    try:
        directory = Path(url.database or "").absolute().parent
    except FileNotFoundError:
        raise ConfigurationError(
            f"SYNCSVC_DATABASE_URL: {url.database} is relative to the current directory, which "
            "was removed. Change to another directory, or name the file with its whole path."
        ) from None
    if not directory.is_dir():
        raise ConfigurationError(
            f"SYNCSVC_DATABASE_URL: the directory {directory} does not exist. Create it first."
        )


def _require_readable(settings: Settings) -> None:
    """
    Refuse a SQLite file that is a directory or can't be read.

    It is not opened: closing a file releases the locks that SQLite has on it in this process.

    Raises:
        ConfigurationError: It is a directory, or can't be read.
    """
    url = settings.database
    if url.get_backend_name() != "sqlite":
        return
    problem = _problem_of_file(Path(url.database or ""))
    if problem:
        raise ConfigurationError(
            f"SYNCSVC_DATABASE_URL: {url.database} {problem}. Name a readable file, or a new one."
        )


def _problem_of_file(path: Path) -> str | None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as exc:
        return f"can't be read ({exc.strerror})"
    if stat.S_ISDIR(mode):
        return "is a directory"
    return None if os.access(path, os.R_OK) else "can't be read (Permission denied)"


def api_from(
    settings: Settings, *, retries: int | None = None, meter: Meter | None = None
) -> NumberApi:
    """
    Create the client for the settings' account.

    Raises:
        ConfigurationError: There are no credentials.
    """
    settings.require_credentials()
    exchange = exchange_from(settings, meter)
    return NumberApi(
        exchange,
        tokens_from(settings, exchange),
        page_size=settings.page_size,
        retries=settings.api_retries if retries is None else retries,
        zone=settings.timezone,
    )


def job_from(settings: Settings, engine: Engine, api: NumberApi) -> Job:
    """
    Create the input of a run.
    """
    return Job(
        engine=engine,
        api=api,
        account=settings.account,
        concurrency=settings.concurrency,
        deadline=settings.run_deadline,
        cancelled_listing=settings.cancelled_listing,
        guard=Guard(percent=settings.cancel_guard_percent, count=settings.cancel_guard_count),
        keep_rejects=settings.keep_rejects,
    )


def exchange_from(settings: Settings, meter: Meter | None = None) -> Exchange:
    """
    Create the transport to the provider.
    """
    return Exchange(
        settings.api_url,
        timeout=settings.api_timeout,
        connections=settings.concurrency,
        meter=meter,
    )


def tokens_from(settings: Settings, exchange: Exchange) -> Tokens:
    """
    Create the source of access tokens: a fixed one, or client credentials.
    """
    if settings.api_token is not None:
        return FixedToken(settings.api_token.get_secret_value())
    assert settings.api_client_id is not None  # noqa: S101 - require_credentials checked it
    assert settings.api_client_secret is not None  # noqa: S101 - require_credentials checked it
    return ClientCredentials(
        exchange,
        settings.api_client_id.get_secret_value(),
        settings.api_client_secret.get_secret_value(),
    )
