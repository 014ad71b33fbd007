"""
Publish in one transaction, read within seconds, and translate the driver's errors.
"""

from __future__ import annotations

import math
import re
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from syncsvc import clock
from syncsvc.errors import ConfigurationError, DatabaseUnavailable, DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    import psycopg
    from sqlalchemy import Connection, Engine, RootTransaction

STEPS_BETWEEN_CHECKS = 100_000  # SQLite steps between looks at the clock and for Ctrl-C: some ms
SHORT_READ_TIMEOUT = 5_000  # ms
READ_ONLY_ERROR = "attempt to write a readonly database"  # by SQLite
READ_ONLY_FILE = (
    "This user can't write the SQLite file (SYNCSVC_DATABASE_URL) or its directory. "
    "Run syncsvc as their owner, or change their permissions."
)
NOT_OPENED_ERROR = "unable to open database file"  # by SQLite
NOT_OPENED = (
    f"{NOT_OPENED_ERROR} (SYNCSVC_DATABASE_URL), or the -wal or -shm file beside it. "
    "Run syncsvc as their owner, or change the permissions of the files and of their directory."
)
NOT_A_DATABASE = (
    "The file is not a SQLite database (SYNCSVC_DATABASE_URL). Name a database or a new file."
)
READ_ONLY_TRANSACTION = "25006"  # PostgreSQL's SQLSTATE
READ_ONLY_SERVER = (
    "It is read-only and accepts no writes: the server (SYNCSVC_DATABASE_URL) is a standby, or "
    "default_transaction_read_only is on. Connect to the primary, or turn the setting off."
)
# What psycopg reports if it could not connect, and what libpq says of options that are wrong.
FAILED_TO_CONNECT = re.compile(
    r"connection (failed|is bad): |(?=failed to resolve host |connection timeout |bad value for )"
)
WRONG_OPTION = re.compile(
    r"(invalid|bad value for|definition of service|could not parse network address) "
)
LONGEST_TIMEOUT = 2**31 - 1  # ms that PostgreSQL accepts


@contextmanager
def publishing(
    connection: Connection, seconds_left: Callable[[], float]
) -> Iterator[RootTransaction]:
    """
    Open a transaction that commits before the deadline, or not at all.

    Raises:
        DeadlineExceeded: The deadline passed before the commit.
    """
    connection.execution_options(publishing=True)
    try:
        with connection.begin() as transaction, _interruptible(connection, seconds_left):
            yield transaction
            if seconds_left() <= 0:
                raise DeadlineExceeded.during("publishing")
    except DBAPIError as exc:
        if seconds_left() <= 0:
            raise DeadlineExceeded.during("publishing") from exc
        raise


@contextmanager
def _interruptible(connection: Connection, seconds_left: Callable[[], float]) -> Iterator[None]:
    """
    Let the database cancel a statement that runs past the deadline.
    """
    if connection.dialect.name == "postgresql":
        milliseconds = min(max(math.ceil(seconds_left() * 1000), 1), LONGEST_TIMEOUT)
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(lambda: seconds_left() <= 0, STEPS_BETWEEN_CHECKS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


def abandon(connection: Connection) -> None:
    """
    Roll back, even if a refused commit has left the driver's transaction open.

    SQLAlchemy considers that transaction ended, but its locks would still block others.
    """
    connection.rollback()
    if not connection.invalidated:
        with suppress(connection.dialect.loaded_dbapi.Error):
            connection.connection.rollback()


@contextmanager
def short_read(engine: Engine) -> Iterator[Connection]:
    """
    Open a connection for reads that must end within seconds, whoever locks the tables.

    Raises:
        DatabaseUnavailable: It did not answer in time.
    """
    with translated(), engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET statement_timeout = {SHORT_READ_TIMEOUT}")
        yield connection


@contextmanager
def short_write(engine: Engine) -> Iterator[Connection]:
    """
    Open a transaction whose statements must end within seconds, whoever locks the tables.

    The server ends it also if this process is frozen between two statements.

    Raises:
        DatabaseUnavailable: It did not answer in time.
    """
    with translated(), engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
                connection.exec_driver_sql(f"SET LOCAL {limit} = {SHORT_READ_TIMEOUT}")
        yield connection


def clock_ahead(connection: Connection) -> timedelta | None:
    """
    Return by how much this machine's clock is ahead of the server's; None on SQLite.
    """
    if connection.dialect.name == "sqlite":
        return None
    moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return clock.now() - moment


@contextmanager
def translated() -> Iterator[None]:
    """
    Translate the driver's errors into the service's own.

    Raises:
        DatabaseUnavailable: With the driver's message.
        ConfigurationError: The file is not a SQLite database.
    """
    try:
        yield
    except DBAPIError as exc:
        raise translation(exc) from exc


def translation(exc: DBAPIError | psycopg.Error) -> DatabaseUnavailable | ConfigurationError:
    """
    Convert a driver's error, with its message in one line.

    PostgreSQL's detail is left out, because it repeats the values of the row.
    """
    cause = exc.orig if isinstance(exc, DBAPIError) else exc
    if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return ConfigurationError(NOT_A_DATABASE)
    if connecting := FAILED_TO_CONNECT.match(str(cause)):
        return _not_connected(str(cause)[connecting.end() :])
    message = " ".join(_message(cause).split())
    return DatabaseUnavailable(f"The database reported an error: {message}")


def _not_connected(reason: str) -> DatabaseUnavailable | ConfigurationError:
    """
    Return the error for a connection that was not made; libpq's first line has the reason.
    """
    first_line = reason.partition("\n")[0].rstrip(". ")
    kind = ConfigurationError if WRONG_OPTION.match(first_line) else DatabaseUnavailable
    return kind(f"Can't connect to the database (SYNCSVC_DATABASE_URL): {first_line}.")


def _message(cause: BaseException | None) -> str:
    if READ_ONLY_ERROR in str(cause):
        return READ_ONLY_FILE
    if NOT_OPENED_ERROR in str(cause):
        return NOT_OPENED
    if getattr(cause, "sqlstate", None) == READ_ONLY_TRANSACTION:
        return READ_ONLY_SERVER
    diagnostics = getattr(cause, "diag", None)  # from PostgreSQL
    primary = diagnostics.message_primary if diagnostics else None
    return str(primary or cause)
