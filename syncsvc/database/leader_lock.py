"""
Which of several workers does an account's scheduled runs.

It is a lock beside the one of a run, held from the first run to the end of the
worker and gone with its process or session. `syncsvc sync` does not ask for
it, so that people can run what they like between two scheduled runs.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import structlog
from filelock import FileLock, Timeout
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from syncsvc.database import engine as db

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

log = structlog.get_logger(__name__)


class Lead:
    """
    One worker's claim to the scheduled runs of an account. For one thread.
    """

    def __init__(self, engine: Engine, account: str) -> None:
        self._engine = engine
        self._account = account
        self._connection: Connection | None = None
        self._file = FileLock(db.lock_path(engine, f"{account}.worker"), timeout=0)

    def hold(self) -> bool:
        """
        Whether this worker leads: it did already, or nobody else does now.

        Raises:
            DBAPIError: The database does not answer.
        """
        if self._engine.dialect.name == "sqlite":
            return self._hold_file()
        return self._still_holds() or self._hold_session()

    def let_go(self) -> None:
        """
        Leave the runs to another worker.
        """
        self._file.release()
        if self._connection is not None:
            with suppress(DBAPIError):
                self._connection.close()  # the lock ends with the session
            self._connection = None

    def _hold_file(self) -> bool:
        if not self._file.is_locked:
            with suppress(Timeout):
                self._file.acquire()
        return self._file.is_locked

    def _still_holds(self) -> bool:
        if self._connection is None:
            return False
        try:
            self._connection.execute(select(1))
        except DBAPIError as exc:
            log.warning("worker.session_lost", error=str(db.translation(exc)))
            self.let_go()
            return False
        return True

    def _hold_session(self) -> bool:
        key = db.lock_key(f"worker\n{self._account}")  # no account's name has a newline
        with ExitStack() as stack:
            connection = stack.enter_context(self._engine.connect())
            connection.execution_options(isolation_level="AUTOCOMMIT")
            got = bool(connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one())
            if got:
                self._connection = connection
                stack.pop_all()
        return got
