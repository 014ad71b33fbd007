"""
What a worker does when a run is due: lead or stand by, run, and tell how it went.
"""

from __future__ import annotations

import time
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from syncsvc import bootstrap
from syncsvc.database import engine as db
from syncsvc.database import migrate, queries
from syncsvc.database.leader_lock import Lead
from syncsvc.errors import ActionRequired, ConfigurationError, RunInProgress, SyncError
from syncsvc.sync import run as sync
from syncsvc.vocabulary import RunState

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from syncsvc.metrics import Metrics
    from syncsvc.settings.settings import Settings
    from syncsvc.sync.run_inputs import Summary
    from syncsvc.vocabulary import Trigger

log = structlog.get_logger(__name__)

GAUGES_AGE = 60.0  # seconds after which a worker that stands by reads the tables again


class Outcome(StrEnum):
    """
    What came of a run that was due.
    """

    DONE = "done"  # it published, withheld cancellations or not
    FAILED = "failed"  # it published nothing
    STANDBY = "standby"  # another worker leads
    LEFT = "left"  # somebody's own run was under way


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """
    What `/readyz` answers.

    Attributes:
        role: `leader`, `standby`, or `starting` before the first run was due.
        problems: Why it is not ready; empty where it is.
    """

    ready: bool
    account: str
    role: str
    problems: list[str]


class Duty:
    """
    The runs of one account in one worker. `attempt` and `reread` are for one thread.

    Args:
        reread: Reads all settings again.
        on_ready: Called once, when the schema was first found current.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        reread: Callable[[], Settings],
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.says = "Starting."
        self.role = "starting"
        self._metrics = metrics
        self._reread = reread
        self._on_ready = on_ready
        self._ready_told = False
        self._gauges_at = float("-inf")
        self._unrecorded: str | None = None  # why the last run could not even be recorded
        self._api = bootstrap.api_from(settings, meter=metrics)
        self._open_database()

    def _open_database(self) -> None:
        """
        Take the settings' database; nothing is opened yet.
        """
        self._engine = bootstrap.engine_from(self.settings)
        self._lead = Lead(self._engine, self.settings.account)

    def attempt(self, trigger: Trigger) -> Outcome:
        """
        Do the run that is due, unless another worker leads.

        Raises:
            SchemaNotCurrent: The database needs `syncsvc migrate`.
            ConfigurationError: The settings can't be used.
            KeyboardInterrupt: The run was cut short, and is recorded as failed.
        """
        began_at = time.monotonic()
        self._unrecorded = None
        try:
            outcome = self._lead_or_stand_by(trigger)
        except RunInProgress as exc:
            log.info("worker.run_left", reason=str(exc))
            self.says, outcome = str(exc), Outcome.LEFT
        except SyncError as exc:
            if isinstance(exc, ActionRequired):
                raise
            log.error("worker.run_failed", error=str(exc))  # noqa: TRY400 - it is no bug
            outcome = self._failed(began_at, str(exc))
        except Exception as exc:
            log.exception("worker.run_failed", error=sync.failure_text(exc))
            outcome = self._failed(began_at, sync.failure_text(exc))
        except BaseException:
            self._failed(began_at, "Interrupted.")
            raise
        self._refresh_gauges(outcome)
        return outcome

    def reread(self) -> None:
        """
        Take rotated credentials into use; where they can't be read, keep the old ones.
        """
        try:
            fresh = self.settings.with_secrets_of(self._reread())
            fresh.require_credentials()
        except ConfigurationError as exc:
            log.error("worker.credentials_refused", error=str(exc))  # noqa: TRY400 - it is no bug
            return
        moved = fresh.database_url != self.settings.database_url
        self.settings = fresh
        self._api.close()
        self._api = bootstrap.api_from(fresh, meter=self._metrics)
        if moved:
            self._lead.let_go()
            self._open_database()
        log.info("worker.credentials_reread")

    def engine(self) -> Engine:
        """
        The database in use.
        """
        return self._engine

    def readiness(self) -> Readiness:
        """
        Whether the tables can be relied on: schema, database and the last run.
        """
        problems: list[str] = []
        try:
            with db.glance(self._engine) as connection:
                migrate.require_current(connection)
                trouble = queries.last_trouble(connection, self.settings.account)
            trouble = trouble or self._unrecorded
            problems += [trouble] if trouble else []
        except SyncError as exc:
            problems.append(str(exc))
        return Readiness(
            ready=not problems, account=self.settings.account, role=self.role, problems=problems
        )

    def close(self) -> None:
        """
        Leave the lead to another worker, and close the connections.
        """
        self._lead.let_go()
        self._api.close()

    def _lead_or_stand_by(self, trigger: Trigger) -> Outcome:
        bootstrap.require_file(self.settings)
        with db.translated():
            with self._engine.connect() as connection:
                migrate.require_current(connection)
            self._tell_ready()
            leads = self._lead.hold()
        self._take_role("leader" if leads else "standby")
        if not leads:
            self.says = f"Standing by: another worker leads account {self.settings.account}."
            return Outcome.STANDBY
        return self._run(trigger)

    def _tell_ready(self) -> None:
        if not self._ready_told:
            self._on_ready()
            self._ready_told = True

    def _take_role(self, role: str) -> None:
        if role != self.role:
            log.info("worker.role_taken", role=role, account=self.settings.account)
        self.role = role
        self._metrics.standing_by(standby=role == "standby")

    def _run(self, trigger: Trigger) -> Outcome:
        job = bootstrap.job_from(self.settings, self._engine, self._api)
        summary = sync.run_once(msgspec.structs.replace(job, trigger=trigger))
        counts = msgspec.structs.asdict(summary)
        self._metrics.run_ended(summary.state, summary.duration_seconds, counts)
        self.says = _sentence(summary)
        return Outcome.FAILED if summary.state == RunState.FAILED else Outcome.DONE

    def _failed(self, began_at: float, error: str) -> Outcome:
        self._metrics.run_ended(RunState.FAILED, time.monotonic() - began_at, {})
        self.says = self._unrecorded = f"The last run failed: {error}"
        return Outcome.FAILED

    def _refresh_gauges(self, outcome: Outcome) -> None:
        """
        Show what the tables say; a database that is away leaves what was last known.
        """
        idle = outcome in {Outcome.STANDBY, Outcome.LEFT}
        if idle and time.monotonic() < self._gauges_at + GAUGES_AGE:
            return
        with suppress(SyncError), db.glance(self._engine) as connection:
            queries.show(connection, self.settings.account, self._metrics)
            self._gauges_at = time.monotonic()


def _sentence(summary: Summary) -> str:
    """
    How a run went, in one line.
    """
    run = f"Run {summary.run_id} {summary.state}"
    if summary.error is not None:
        return f"{run}: {summary.error}"
    counts: dict[str, Any] = msgspec.structs.asdict(summary)
    events = ("added", "provisioned", "cancelled", "reinstated", "changed", "rejected", "withheld")
    told = [f"{counts[name]} {name}" for name in events if counts[name]]
    return f"{run}: {', '.join([f'{summary.listed} listed', *told])}."
