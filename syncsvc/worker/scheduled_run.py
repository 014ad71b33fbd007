"""
A run that is due: done if this worker is the leader, with its result for status and metrics.
"""

from __future__ import annotations

import time
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from syncsvc import build_from_settings
from syncsvc.database import account_and_run_queries, sqlite_file, transactions
from syncsvc.database.locks import LeaderLock
from syncsvc.database.maintenance import migrate
from syncsvc.errors import ActionRequired, ConfigurationError, RunInProgress, SyncError
from syncsvc.notify import delivery_threads
from syncsvc.sync import run as sync
from syncsvc.sync.record_failure import failure_text
from syncsvc.vocabulary import RunState

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from syncsvc.metrics import Metrics
    from syncsvc.settings.settings import Settings
    from syncsvc.sync.progress_and_summary import Summary
    from syncsvc.vocabulary import Trigger

log = structlog.get_logger(__name__)

GAUGES_AGE = 60.0  # seconds after which a worker on standby reads the tables again


class RunOutcome(StrEnum):
    """
    The outcome of a run that was due.
    """

    DONE = "done"  # it published, with or without withheld cancellations
    FAILED = "failed"  # it published nothing
    STANDBY = "standby"  # another worker is the leader
    SKIPPED = "skipped"  # somebody's `syncsvc sync` was in progress


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """
    The response of `/readyz`.

    Attributes:
        role: `leader`, `standby`, or `starting` before the first run was due.
        problems: Why it is not ready; empty if it is.
    """

    ready: bool
    account: str
    role: str
    problems: list[str]


class ScheduledRuns:
    """
    One account's runs in one worker. Call `attempt` and `reload_credentials` from one thread.

    Args:
        read_settings: Reads all settings again.
        on_ready: Called once, when the schema was first found to be current.

    Attributes:
        last_result: A sentence about the last run that was due.
        is_failing: That run published nothing.
        role: As in `Readiness`.
        on_end: Called after each run that was due.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        read_settings: Callable[[], Settings],
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.last_result = "Starting."
        self.is_failing = False
        self.role = "starting"
        self.on_end: Callable[[], None] = lambda: None
        self._metrics = metrics
        self._read_settings = read_settings
        self._on_ready = on_ready
        self._on_ready_called = False
        self._gauges_at = float("-inf")
        self._unrecorded_error: str | None = None  # of a last run that sync_runs may not show
        self._use_database(build_from_settings.engine_from(settings))
        self._api = build_from_settings.api_from(settings, meter=metrics)

    def _use_database(self, engine: Engine) -> None:
        """
        Take an engine and its leader lock; nothing is connected yet.
        """
        self._engine = engine
        self._leader_lock = LeaderLock(engine, self.settings.account)

    def attempt(self, trigger: Trigger) -> RunOutcome:
        """
        Do the run that is due, unless another worker is the leader.

        Raises:
            SchemaNotCurrent: The schema is not the current one.
            ConfigurationError: A setting can't be used.
            KeyboardInterrupt: A signal ended the run; it is recorded as failed.
        """
        began_at = time.monotonic()
        self._unrecorded_error = None
        try:
            outcome = self._run_if_leader(trigger)
        except RunInProgress as exc:
            log.info("worker.other_run_in_progress", reason=str(exc))
            self.last_result, outcome = str(exc), RunOutcome.SKIPPED
        except SyncError as exc:
            if isinstance(exc, ActionRequired):
                raise
            log.error("worker.run_failed", error=str(exc))  # noqa: TRY400 - it is not a bug
            outcome = self._record_failure(began_at, str(exc))
        except Exception as exc:
            log.exception("worker.run_failed", error=failure_text(exc))
            outcome = self._record_failure(began_at, failure_text(exc))
        except BaseException:
            self._record_failure(began_at, "Interrupted.")
            raise
        self.is_failing = outcome is RunOutcome.FAILED
        self._refresh_gauges(outcome)
        self.on_end()
        return outcome

    def reload_credentials(self) -> None:
        """
        Use rotated credentials from now on; if they can't be read, keep the old ones.
        """
        try:
            fresh = self.settings.with_secrets_of(self._read_settings())
            engine = build_from_settings.engine_from(fresh)
            api = build_from_settings.api_from(fresh, meter=self._metrics)
        except ConfigurationError as exc:
            log.error("worker.credentials_reload_failed", error=str(exc))  # noqa: TRY400 - it is not a bug
            return
        moved = fresh.database_url != self.settings.database_url
        self.settings = fresh
        self._api.close()
        self._api = api
        if moved:
            self._leader_lock.release()
            self._use_database(engine)
        log.info("worker.credentials_reloaded")

    def engine(self) -> Engine:
        """
        The database in use.
        """
        return self._engine

    def readiness(self) -> Readiness:
        """
        Check the database, its schema and the last run.
        """
        problems: list[str] = []
        try:
            with transactions.short_read(self._engine) as connection:
                migrate.require_current(connection)
                trouble = account_and_run_queries.last_trouble(connection, self.settings.account)
            trouble = trouble or self._unrecorded_error
            problems += [trouble] if trouble else []
        except SyncError as exc:
            problems.append(str(exc))
        self._metrics.ready(ready=not problems)
        return Readiness(
            ready=not problems, account=self.settings.account, role=self.role, problems=problems
        )

    def close(self) -> None:
        """
        Release the leader lock and close the connections.
        """
        self._leader_lock.release()
        self._api.close()

    def _run_if_leader(self, trigger: Trigger) -> RunOutcome:
        sqlite_file.require_exists(self.settings.database)
        with transactions.translated():
            with self._engine.connect() as connection:
                migrate.require_current(connection)
            self._call_on_ready()
            is_leader = self._leader_lock.acquire()
        self._change_role("leader" if is_leader else "standby")
        if not is_leader:
            self.last_result = (
                f"On standby: another worker is the leader of account {self.settings.account}."
            )
            return RunOutcome.STANDBY
        return self._run(trigger)

    def _call_on_ready(self) -> None:
        if not self._on_ready_called:
            delivery_threads.adopt(self._engine, self.settings)
            self._on_ready()
            self._on_ready_called = True

    def _change_role(self, role: str) -> None:
        if role != self.role:
            log.info("worker.role_changed", role=role, account=self.settings.account)
        self.role = role
        self._metrics.standing_by(standby=role == "standby")

    def _run(self, trigger: Trigger) -> RunOutcome:
        job = build_from_settings.job_from(self.settings, self._engine, self._api)
        summary = sync.run_once(msgspec.structs.replace(job, trigger=trigger))
        counts = msgspec.structs.asdict(summary)
        self._metrics.run_ended(summary.state, summary.duration_seconds, counts)
        self.last_result = _describe(summary)
        return RunOutcome.FAILED if summary.state == RunState.FAILED else RunOutcome.DONE

    def _record_failure(self, began_at: float, error: str) -> RunOutcome:
        self._metrics.run_ended(RunState.FAILED, time.monotonic() - began_at, {})
        self.last_result = self._unrecorded_error = f"The last run failed: {error}"
        return RunOutcome.FAILED

    def _refresh_gauges(self, outcome: RunOutcome) -> None:
        """
        Set the gauges from the tables; if the database is not available, leave them unchanged.
        """
        idle = outcome in {RunOutcome.STANDBY, RunOutcome.SKIPPED}
        if idle and time.monotonic() < self._gauges_at + GAUGES_AGE:
            return
        self.readiness()
        with suppress(SyncError), transactions.short_read(self._engine) as connection:
            account_and_run_queries.set_gauges(connection, self.settings.account, self._metrics)
            self._gauges_at = time.monotonic()


def _describe(summary: Summary) -> str:
    """
    Describe a run's result in one line.
    """
    run = f"Run {summary.run_id} {summary.state}"
    if summary.error is not None:
        return f"{run}: {summary.error}"
    counts: dict[str, Any] = msgspec.structs.asdict(summary)
    events = ("added", "provisioned", "cancelled", "reinstated", "changed", "rejected", "withheld")
    counted = [f"{counts[name]} {name}" for name in events if counts[name]]
    return f"{run}: {', '.join([f'{summary.listed} listed', *counted])}."
