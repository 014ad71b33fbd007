"""
The database: how to reach it, and who may run.
"""

from __future__ import annotations

import hashlib
import math
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog
from filelock import FileLock, Timeout
from sqlalchemy import URL, NullPool, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from syncsvc.errors import DatabaseUnavailable, DeadlineExceeded, RunInProgress
from syncsvc.schema.tables import sync_runs
from syncsvc.vocabulary import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg
    from sqlalchemy import Connection, Engine, RootTransaction
    from sqlalchemy.engine.interfaces import DBAPIConnection

log = structlog.get_logger(__name__)

STEPS_BETWEEN_LOOKS = 100_000  # of SQLite, at its clock and for a Ctrl-C: some milliseconds
BUSY_TIMEOUT = 30_000  # ms that SQLite waits for another writer
CONNECTING = {  # to PostgreSQL, where its URL does not say otherwise
    "application_name": "syncsvc",
    "connect_timeout": 10,  # seconds, for each of its addresses
    "keepalives_idle": 30,  # seconds, then every 10, until a vanished server is taken for lost
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # ms that what was sent may stay without an answer
}
GLANCE = 5_000  # ms that a look at the tables may take
LONGEST_TIMEOUT = 2**31 - 1  # ms that PostgreSQL accepts


def open_engine(url: URL) -> Engine:
    """
    An engine that opens a connection for each use, and closes it after.

    Nothing is opened yet. Values never stand in its error messages.
    """
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    given = {key: value for key, value in CONNECTING.items() if key not in url.query}
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=given)
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_postgresql(connection: DBAPIConnection, _record: object) -> None:
    """
    Have times come as UTC; a start-up option would not get past every pooler.

    A session whose machine has vanished ends within a minute, and with it its locks. No
    statement is compiled: that takes longer than a run's statements gain by it.
    """
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(
        "SET TIME ZONE 'UTC'; SET jit = off; SET tcp_keepalives_idle = 30; "
        "SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; "
        "SET tcp_user_timeout = 60000"
    )
    cursor.close()
    connection.autocommit = False


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """
    Leave transactions to SQLAlchemy, and readers undisturbed by the writer.
    """
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_TIMEOUT}", "journal_mode=WAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """
    A transaction that will publish takes SQLite's write lock at its start.
    """
    publishing = connection.get_execution_options().get("publishing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if publishing else "BEGIN")


@contextmanager
def publishing(
    connection: Connection, seconds_left: Callable[[], float]
) -> Iterator[RootTransaction]:
    """
    A transaction that takes effect in time, or not at all.

    Raises:
        DeadlineExceeded: Its time was up before its end.
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
    Have the database give up a statement that outlives the run's time.
    """
    if connection.dialect.name == "postgresql":
        milliseconds = min(max(math.ceil(seconds_left() * 1000), 1), LONGEST_TIMEOUT)
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(lambda: seconds_left() <= 0, STEPS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


def abandon(connection: Connection) -> None:
    """
    Roll back, also where a commit that was refused has left the driver's transaction open.

    SQLAlchemy takes the transaction for ended then, and its locks would keep others waiting.
    """
    connection.rollback()
    if not connection.invalidated:
        with suppress(connection.dialect.loaded_dbapi.Error):
            connection.connection.rollback()


@contextmanager
def glance(engine: Engine) -> Iterator[Connection]:
    """
    A connection for a look at the tables that must not wait long, whoever holds them.

    Raises:
        DatabaseUnavailable: It did not answer, or not in time.
    """
    with translated(), engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET statement_timeout = {GLANCE}")
        yield connection


@contextmanager
def translated() -> Iterator[None]:
    """
    Turn the driver's failures into ours, in this one place.

    Raises:
        DatabaseUnavailable: With the driver's own words.
    """
    try:
        yield
    except DBAPIError as exc:
        raise translation(exc) from exc


def translation(exc: DBAPIError | psycopg.Error) -> DatabaseUnavailable:
    """
    A failure of the driver in the driver's own words, in one line.

    PostgreSQL's detail is left out: it repeats the values of the row.
    """
    cause = exc.orig if isinstance(exc, DBAPIError) else exc
    told = getattr(cause, "diag", None)  # by PostgreSQL
    primary = told.message_primary if told else None
    words = primary or cause
    return DatabaseUnavailable(f"The database reported an error: {' '.join(str(words).split())}")


@contextmanager
def only_run(connection: Connection, account: str) -> Iterator[None]:
    """
    Hold the account's run lock, which dies with its holder.

    An advisory lock of the session on PostgreSQL, an operating system's file
    lock beside a SQLite file.

    Raises:
        RunInProgress: Somebody else holds it.
    """
    lock = _file_lock if connection.dialect.name == "sqlite" else _advisory_lock
    with lock(connection, account):
        yield


def lock_key(name: str) -> int:
    """
    The key of an advisory lock on PostgreSQL.
    """
    digest = hashlib.blake2b(f"syncsvc:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def lock_path(engine: Engine, name: str) -> Path:
    """
    The file beside a SQLite file that is locked in its stead.
    """
    database = Path(engine.url.database or "")
    return database.with_name(f"{database.name}.{quote(name, safe='')}")


@contextmanager
def _advisory_lock(connection: Connection, account: str) -> Iterator[None]:
    key = lock_key(account)
    got = connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one()
    connection.commit()
    if not got:
        raise RunInProgress(_holder(connection, account))
    try:
        yield
    finally:
        _release(connection, key)


def _release(connection: Connection, key: int) -> None:
    """
    Give the lock back; where the session is lost, it is gone already.
    """
    try:
        abandon(connection)
        connection.execute(select(func.pg_advisory_unlock(key)))
        connection.commit()
    except SQLAlchemyError as exc:
        log.warning("lock.session_lost", error=type(exc).__name__)


@contextmanager
def _file_lock(connection: Connection, account: str) -> Iterator[None]:
    try:
        with FileLock(lock_path(connection.engine, f"{account}.lock"), timeout=0):
            yield
    except Timeout:
        raise RunInProgress(_holder(connection, account)) from None


def _holder(connection: Connection, account: str) -> str:
    """
    Who seems to hold the lock, and since when.
    """
    query = (
        select(sync_runs.c.id, sync_runs.c.started_at, sync_runs.c.detail)
        .where(sync_runs.c.account == account, sync_runs.c.state == RunState.RUNNING)
        .order_by(sync_runs.c.id.desc())
    )
    run = connection.execute(query).first()
    connection.rollback()
    if run is None:
        return f"Another run of account {account!r} has just started. Retry when it has finished."
    detail = run.detail or {}
    return (
        f"Another run of account {account!r} is in progress: run {run.id} on "
        f"{detail.get('host', 'an unknown host')}, "
        f"process {detail.get('pid', 'unknown')}, since {run.started_at:%Y-%m-%d %H:%M:%S} UTC. "
        "Retry when it has finished."
    )
