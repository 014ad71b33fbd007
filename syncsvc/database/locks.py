"""
The run lock and the leader lock of an account, each released when its holder dies.

Both use one mechanism: a session's advisory lock on PostgreSQL, an operating
system's file lock beside a SQLite file. A lock row would outlive a crash.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog
from filelock import FileLock, Timeout
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from syncsvc.database.transactions import abandon, translation
from syncsvc.errors import ConfigurationError, DatabaseUnavailable, RunInProgress
from syncsvc.schema.tables import sync_runs
from syncsvc.vocabulary import RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

log = structlog.get_logger(__name__)

NEWLINE = "\n"  # in the names of locks that are not those of runs
LONGEST_NAME = 150  # characters of a lock file's name, after that of the database
SCHEMA_OF_TABLES = """
SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('sync_runs')"""


@contextmanager
def run_lock(connection: Connection, account: str) -> Iterator[None]:
    """
    Hold the account's run lock, which is released when its holder dies.

    Raises:
        RunInProgress: Somebody else holds it.
    """
    with tried(connection, account) as acquired:
        if not acquired:
            raise RunInProgress(_holder(connection, account))
        yield


@contextmanager
def tried(connection: Connection, name: str) -> Iterator[bool]:
    """
    Try to hold the lock of that name, which is released when its holder dies.

    Yields:
        Whether nobody else holds it.
    """
    lock = _file_lock if connection.dialect.name == "sqlite" else _advisory_lock
    with lock(connection, name) as acquired:
        yield acquired


def lock_key(connection: Connection, name: str) -> int:
    """
    Return the key of an advisory lock on PostgreSQL.

    Such locks are the whole database's, so the schema of the tables is part of the key.
    """
    schema = connection.execute(text(SCHEMA_OF_TABLES)).scalar()
    scope = f"syncsvc:{schema}\n{name}".encode()  # neither has a newline in it
    digest = hashlib.blake2b(scope, digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def lock_path(engine: Engine, name: str) -> Path:
    """
    Return the lock file beside a SQLite file, the same under every name of the file.

    Raises:
        ConfigurationError: The file has hard links, which SQLite can't keep apart either.
    """
    database = Path(engine.url.database or "").resolve()
    if database.is_file() and database.stat().st_nlink > 1:
        raise ConfigurationError(
            f"The database {database} (SYNCSVC_DATABASE_URL) has more than one hard link; SQLite "
            "corrupts a file that is used under two of them. Remove the others, or use symlinks."
        )
    return database.with_name(f"{database.name}.{_file_name(name)}")


def _file_name(name: str) -> str:
    """
    Return a name without slashes, and short enough for a file system's limit of 255 bytes.
    """
    quoted = quote(name, safe="")
    return quoted if len(quoted) <= LONGEST_NAME else hashlib.blake2b(name.encode()).hexdigest()


def _lock_file(engine: Engine, name: str) -> FileLock:
    """
    Return a lock file of the database's owner, so that a run by root does not lock him out.
    """
    path = lock_path(engine, name)
    database = Path(engine.url.database or "")
    is_root = os.geteuid() == 0
    if is_root and database.is_file() and not path.exists():
        with suppress(OSError):  # acquiring it says what is wrong
            path.touch()
            os.chown(path, database.stat().st_uid, database.stat().st_gid)
    return FileLock(path, timeout=0)


@contextmanager
def _advisory_lock(connection: Connection, name: str) -> Iterator[bool]:
    key = lock_key(connection, name)
    acquired = bool(connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one())
    connection.commit()
    try:
        yield acquired
    finally:
        if acquired:
            _release(connection, key)


def _release(connection: Connection, key: int) -> None:
    """
    Release the lock; if that fails, end the session, and the lock with it.
    """
    try:
        abandon(connection)
        connection.execute(select(func.pg_advisory_unlock(key)))
        connection.commit()
    except SQLAlchemyError as exc:
        log.warning("lock.session_lost", error=type(exc).__name__)
        connection.invalidate()  # it may be one that would be used again


@contextmanager
def _file_lock(connection: Connection, name: str) -> Iterator[bool]:
    lock = _lock_file(connection.engine, f"{name.replace(NEWLINE, '.')}.lock")
    acquired = _acquired(lock)
    try:
        yield acquired
    finally:
        if acquired:
            lock.release()


def _acquired(lock: FileLock) -> bool:
    """
    Acquire a file lock; return whether nobody else holds it.

    Raises:
        DatabaseUnavailable: The lock file can't be opened or locked.
    """
    try:
        lock.acquire()
    except Timeout:
        return False
    except (OSError, NotImplementedError) as exc:  # the latter of a file system without locks
        path = getattr(exc, "filename", None) or lock.lock_file
        problem = getattr(exc, "strerror", None) or exc
        raise DatabaseUnavailable(
            f"The lock file {path} can't be opened and locked by this user: {problem}. "
            "Give it to the user that runs syncsvc (chown), or remove it while nothing runs."
        ) from None
    return True


def _holder(connection: Connection, account: str) -> str:
    """
    Describe the run that holds the lock, and since when.
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


class LeaderLock:
    """
    Leader election among an account's workers, by a lock. For one thread.

    The leader does the scheduled runs. It keeps the lock until it ends; `syncsvc sync`
    does not need it, so that people can run a sync between two scheduled runs.
    """

    def __init__(self, engine: Engine, account: str) -> None:
        self._engine = engine
        self._account = account
        self._connection: Connection | None = None
        is_file = engine.dialect.name == "sqlite"
        self._file = _lock_file(engine, f"{account}.worker") if is_file else None

    def acquire(self) -> bool:
        """
        Return whether this worker is the leader: already, or because nobody else is.

        Raises:
            DBAPIError: The database does not answer.
        """
        if self._file is not None:
            return self._file.is_locked or _acquired(self._file)
        return self._still_held() or self._acquire_session()

    def release(self) -> None:
        """
        Release the lock, so that another worker can become the leader.
        """
        if self._file is not None:
            self._file.release()
        if self._connection is not None:
            with suppress(DBAPIError):
                self._connection.close()  # the lock ends with the session
            self._connection = None

    def _still_held(self) -> bool:
        if self._connection is None:
            return False
        try:
            self._connection.execute(select(1))
        except DBAPIError as exc:
            log.warning("worker.session_lost", error=str(translation(exc)))
            self.release()
            return False
        return True

    def _acquire_session(self) -> bool:
        with ExitStack() as stack:
            connection = stack.enter_context(self._engine.connect())
            connection.execution_options(isolation_level="AUTOCOMMIT")
            key = lock_key(connection, f"worker\n{self._account}")
            got = bool(connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one())
            if got:
                self._connection = connection
                stack.pop_all()
        return got
