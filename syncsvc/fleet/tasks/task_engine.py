"""
procrastinate hands out the work: PostgreSQL is the queue, and wakes the workers.

It only hands out. Which run of an account may write is decided by the account's own lock, and
when it runs next by its row in `account_status`: no task raises, and none is retried here.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import procrastinate
import procrastinate.exceptions
import procrastinate.jobs
import procrastinate.schema
import procrastinate.sql
import psycopg
import psycopg_pool
import structlog
from sqlalchemy import column, delete, select, table, text

from syncsvc.database.engine import CONNECTING, NEWER_TIMEOUTS, SESSION_SETTINGS
from syncsvc.database.transactions import translation
from syncsvc.errors import DatabaseUnavailable
from syncsvc.fleet.tasks.unacknowledged_jobs import EndedJobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from psycopg.abc import Query
    from sqlalchemy import Connection, Engine, Select

    from syncsvc.vocabulary import Lane

log = structlog.get_logger(__name__)

RUN, NIGHTLY = "sync_account", "nightly"  # the tasks
NIGHT_LOCK = "\nnightly"  # no account is named so
EVERY_NIGHT = "17 3 * * *"  # UTC
HEARTBEAT = 2.0  # seconds
STALLED_AFTER = 10.0  # seconds without a heartbeat after which a worker counts as dead
FETCH_EVERY = 5.0  # seconds, if no notification comes
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds before the engine connects again
SETTLED = 60.0  # seconds after which a connection that is lost was a good one
DRAIN = 2.0  # seconds that runs get to end before the engine connects again without them
CONNECTIONS = 4  # to the database, beside those of the runs
SPARE_THREADS = 4  # beside those of the runs, for what the engine does itself
# A process that is frozen inside one of the engine's transactions, which take milliseconds, must
# not hold a job or a worker's row for as long as it is frozen.
FROZEN_TIMEOUT = "SET idle_in_transaction_session_timeout = '10s'"
LOST = (
    procrastinate.exceptions.ConnectorException,
    psycopg.Error,
    psycopg_pool.PoolTimeout,
    OSError,
)

_jobs = table("procrastinate_jobs", column("id"), column("queueing_lock"), column("queue_name"))
_IS_OPEN = text("procrastinate_jobs.status IN ('todo', 'doing')")
_IS_WAITING = text("procrastinate_jobs.status = 'todo'")


class TaskEngine:
    """
    One process's part in handing out and doing the work.

    Args:
        engine: The database.
        slots: How many accounts of each lane the process syncs at once.
        run: Syncs an account; must not raise. Called in a thread.
        nightly: What one worker of all does once a night.

    Attributes:
        ended: The jobs that it has done.
    """

    def __init__(
        self,
        engine: Engine,
        slots: Mapping[Lane, int],
        run: Callable[[str], None],
        nightly: Callable[[], None],
    ) -> None:
        self._arguments = {**CONNECTING, **engine.dialect.create_connect_args(engine.url)[1]}
        self._slots = slots
        self._run_account = run
        self._nightly = nightly
        self.ended = EndedJobs()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._was_stopped = False

    def work(self) -> None:
        """
        Do what is handed out until `stop`; connect again whenever the database was lost.
        """
        asyncio.run(self._work_until_stopped())

    def stop(self) -> None:
        """
        Take no further work. May be called from any thread.
        """
        self._was_stopped = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)

    def _is_stopping(self) -> bool:
        return self._was_stopped

    async def _work_until_stopped(self) -> None:
        self._loop = asyncio.get_running_loop()
        threads = sum(self._slots.values()) + SPARE_THREADS
        self._loop.set_exception_handler(_note_failed_task)
        # asgiref runs tasks in the loop's own executor, which may have fewer threads than slots.
        self._loop.set_default_executor(ThreadPoolExecutor(threads, thread_name_prefix="run"))
        wait = SHORTEST_WAIT
        while not self._is_stopping():
            began_at = time.monotonic()
            await self._work_or_log()
            if self._is_stopping():
                return
            wait = SHORTEST_WAIT if time.monotonic() > began_at + SETTLED else wait
            log.warning("fleet.engine_lost", reconnects_in_seconds=wait)
            await self._pause(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _pause(self, seconds: float) -> None:
        """
        Wait for some seconds, or until the process stops.
        """
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _work_or_log(self) -> None:
        """
        Work until the connections are lost; whatever else goes wrong, the process goes on.
        """
        try:
            await self._work_while_connected()
        except LOST as exc:
            log.warning("fleet.database_lost", error=type(exc).__name__)
        except Exception:
            log.exception("fleet.engine_failed")

    async def _work_while_connected(self) -> None:
        app = self._new_app()
        try:
            if await self._is_open(app):
                await self._work_with(app)
        finally:
            await app.close_async()

    async def _is_open(self, app: procrastinate.App) -> bool:
        """
        Connect; return whether that ended before the process was told to stop.
        """
        opening = asyncio.ensure_future(app.connector.open_async())
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([opening, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not opening.done():
            opening.cancel()
            return False
        await opening  # raises what went wrong
        return True

    async def _work_with(self, app: procrastinate.App) -> None:
        """
        Run a worker for each lane until one of them ends, or the process stops.
        """
        lanes = [asyncio.create_task(self._lane(app, lane)) for lane in self._slots]
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([*lanes, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in (*lanes, stopped):
            task.cancel()
        # A run may wait for the provider for minutes. Others take no harm if it is left to itself:
        # it has lost its session, or the process ends it.
        await asyncio.wait(lanes, timeout=None if self._is_stopping() else DRAIN)

    async def _lane(self, app: procrastinate.App, lane: Lane) -> None:
        await app.run_worker_async(
            queues=[lane.value],
            name=lane.value,
            concurrency=self._slots[lane],
            fetch_job_polling_interval=FETCH_EVERY,
            update_heartbeat_interval=HEARTBEAT,
            stalled_worker_timeout=STALLED_AFTER,
            install_signal_handlers=False,
            delete_jobs=procrastinate.jobs.DeleteJobCondition.ALWAYS,
        )

    def _new_app(self) -> procrastinate.App:
        connector = procrastinate.PsycopgConnector(
            kwargs=self._arguments, min_size=1, max_size=CONNECTIONS, configure=_configure
        )
        app = procrastinate.App(connector=connector)

        @app.task(name=RUN, pass_context=True)
        def sync_account(context: procrastinate.JobContext, account: str) -> None:
            with self.ended.noting(context.job.id):
                self._run_account(account)

        # Without a periodic task, procrastinate 3.10 stops watching what it does on the side.
        @app.periodic(cron=EVERY_NIGHT)
        @app.task(
            name=NIGHTLY,
            queue=min(self._slots, key=self._slots.__getitem__),
            queueing_lock=NIGHT_LOCK,
        )
        def nightly(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
            try:
                self._nightly()
            except Exception:
                log.exception("fleet.nightly_failed")

        return app


def _note_failed_task(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """
    Log what became of a task that was left to itself when its connections were lost.
    """
    log.debug("fleet.abandoned_task_failed", error=str(context.get("message")))


async def _configure(connection: psycopg.AsyncConnection[Any]) -> None:
    """
    Make the session independent of what the server, database or role sets.
    """
    autocommit = connection.autocommit  # on for the one that listens: LISTEN works from a commit on
    await connection.set_autocommit(True)
    await connection.execute(cast("Query", SESSION_SETTINGS))
    await connection.execute(cast("Query", NEWER_TIMEOUTS))
    await connection.execute(cast("Query", FROZEN_TIMEOUT))
    await connection.set_autocommit(autocommit)


@contextmanager
def _translated() -> Iterator[None]:
    """
    Translate the engine's errors into the service's own.

    Raises:
        DatabaseUnavailable: With the driver's message.
    """
    try:
        yield
    except procrastinate.exceptions.ConnectorException as exc:
        cause = exc.__cause__
        raise (
            translation(cause)
            if isinstance(cause, psycopg.Error)
            else DatabaseUnavailable("The task engine lost the database, or its tables.")
        ) from exc


class Queue:
    """
    The jobs, in the caller's transaction. Methods raise DatabaseUnavailable if that is lost.
    """

    def __init__(self) -> None:
        self._connector = procrastinate.SyncPsycopgConnector()
        self._manager = procrastinate.App(connector=self._connector).job_manager

    @staticmethod
    def accounts() -> Select[Any]:
        """
        Select the accounts that wait for a run or have one.
        """
        return select(_jobs.c.queueing_lock).where(_IS_OPEN)

    @staticmethod
    def waiting(connection: Connection) -> dict[str, int]:
        """
        Return how many jobs of each lane nobody has taken yet.
        """
        rows = connection.execute(select(_jobs.c.queue_name).where(_IS_WAITING)).scalars().all()
        return {lane: rows.count(lane) for lane in set(rows)}

    def put(self, connection: Connection, accounts: Sequence[tuple[str, Lane]]) -> None:
        """
        Hand out a run of each of these accounts.
        """
        jobs = [
            procrastinate.jobs.Job(
                id=None,
                queue=lane.value,
                lock=account,
                queueing_lock=account,
                task_name=RUN,
                task_kwargs={"account": account},
            )
            for account, lane in accounts
        ]
        if not jobs:
            return
        with _translated():
            self._manager.batch_defer_jobs(jobs, connection=_driver(connection))

    def stalled(self, connection: Connection) -> dict[int, str]:
        """
        Return the jobs whose worker died: their ids, and the accounts.
        """
        with _translated():
            rows = self._connector.execute_query_all_with_connection(
                _driver(connection),
                query=procrastinate.sql.queries["select_stalled_jobs_by_heartbeat"],
                queue=None,
                task_name=RUN,
                seconds_since_heartbeat=STALLED_AFTER,
            )
        return {row["id"]: row["args"]["account"] for row in rows}

    def remove(self, connection: Connection, job: int) -> bool:
        """
        Remove a job that nobody does any more; return whether it was still there.
        """
        try:
            with connection.begin_nested():
                self._connector.execute_query_one_with_connection(
                    _driver(connection),
                    query=procrastinate.sql.queries["finish_job"],
                    job_id=job,
                    status=procrastinate.jobs.Status.FAILED.value,
                    delete_job=True,
                )
        except procrastinate.exceptions.ConnectorException:
            return False  # its worker was alive, and has ended it
        return True

    @staticmethod
    def remove_ended(connection: Connection, ended: Sequence[int]) -> list[str]:
        """
        Remove those of these jobs that are still there; return their accounts.
        """
        query = delete(_jobs).where(_jobs.c.id.in_(ended)).returning(_jobs.c.queueing_lock)
        return list(connection.execute(query).scalars())


def schema_sql() -> str:
    """
    Return the statements that create the engine's tables.
    """
    return procrastinate.schema.SchemaManager.get_schema()


def schema_steps() -> list[Path]:
    """
    Return the files of the steps between the engine's versions, oldest first.
    """
    folder = Path(procrastinate.schema.SchemaManager.get_migrations_path())
    return sorted(folder.glob("*.sql"))


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)
