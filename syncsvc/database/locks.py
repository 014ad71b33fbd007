"""
The run lock and the leader lock of an account, each released when its holder dies.

Both use one mechanism: a session's advisory lock on PostgreSQL, an operating
system's file lock beside a SQLite file. A lock row would outlive a crash.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog
from filelock import FileLock, Timeout
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from syncsvc.database.transactions import abandon, translation
from syncsvc.errors import RunInProgress
from syncsvc.schema.tables import sync_runs
from syncsvc.vocabulary import RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

log = structlog.get_logger(__name__)


@contextmanager
def run_lock(connection: Connection, account: str) -> Iterator[None]:
    """
    Hold the account's run lock, which is released when its holder dies.

    Raises:
        RunInProgress: Somebody else holds it.
    """
    lock = _file_lock if connection.dialect.name == "sqlite" else _advisory_lock
    with lock(connection, account):
        yield


def lock_key(name: str) -> int:
    """
    Return the key of an advisory lock on PostgreSQL.
    """
    digest = hashlib.blake2b(f"syncsvc:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def lock_path(engine: Engine, name: str) -> Path:
    """
    Return the lock file beside a SQLite file.
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
    Release the lock; if the session was lost, the server has released it.
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
        self._file = FileLock(lock_path(engine, f"{account}.worker"), timeout=0)

    def acquire(self) -> bool:
        """
        Return whether this worker is the leader: already, or because nobody else is.

        Raises:
            DBAPIError: The database does not answer.
        """
        if self._engine.dialect.name == "sqlite":
            return self._acquire_file()
        return self._still_held() or self._acquire_session()

    def release(self) -> None:
        """
        Release the lock, so that another worker can become the leader.
        """
        self._file.release()
        if self._connection is not None:
            with suppress(DBAPIError):
                self._connection.close()  # the lock ends with the session
            self._connection = None

    def _acquire_file(self) -> bool:
        if not self._file.is_locked:
            with suppress(Timeout):
                self._file.acquire()
        return self._file.is_locked

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
        key = lock_key(f"worker\n{self._account}")  # no account's name has a newline
        with ExitStack() as stack:
            connection = stack.enter_context(self._engine.connect())
            connection.execution_options(isolation_level="AUTOCOMMIT")
            got = bool(connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one())
            if got:
                self._connection = connection
                stack.pop_all()
        return got
