"""
A worker of a fleet: hands out what is due, does its share of it, and rescues what others lost.

Nothing needs a restart but a new version: accounts, their settings and their credentials are read
at each run, and a database that is lost is waited for.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import structlog

from syncsvc import build_from_settings
from syncsvc.database import transactions
from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate
from syncsvc.errors import DatabaseUnavailable, SchemaNotCurrent, SyncError
from syncsvc.fleet import overview
from syncsvc.fleet.account_run import AccountRuns, ProcessSettings
from syncsvc.fleet.running_accounts import RunningAccounts
from syncsvc.fleet.status_page import SlotsInUse
from syncsvc.fleet.tasks import hand_out, nightly, task_schema
from syncsvc.fleet.tasks.task_engine import Queue, TaskEngine
from syncsvc.notify import delivery_threads
from syncsvc.notify.delivery_threads import Deliveries
from syncsvc.provider.shared_hosts import SharedHosts
from syncsvc.vocabulary import Lane
from syncsvc.worker.webhook_schedule import WebhookScheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from syncsvc.fleet.overview import Overview
    from syncsvc.metrics import RunMetrics
    from syncsvc.settings.settings import Settings
    from syncsvc.worker.systemd import Notifier

log = structlog.get_logger(__name__)

HAND_OUT_EVERY = 2.0  # seconds, and whenever a slot becomes free
HAND_OUT_PAUSE = 0.1  # seconds at least between two
RESCUE_EVERY = 2.0  # seconds
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds between attempts to reach the database at start
RUNS_END = 10.0  # seconds that runs may still take after a signal
HARD_STOP = 15.0  # seconds after a signal when the process ends, whatever still hangs
OVERDUE_AFTER = 60.0  # seconds without a hand-out after which the worker counts as stuck


class FleetReadiness(msgspec.Struct, frozen=True, kw_only=True):
    """
    The response of `/readyz`.

    Attributes:
        problems: Why it is not ready; empty if it is.
    """

    ready: bool
    role: str = "fleet"
    problems: list[str]


class FleetWorker:
    """
    One process of a fleet.

    Args:
        read_settings: Reads all settings again.
        notifier: Tells the service manager that the worker is ready, alive and stopping.

    Attributes:
        slots: How many accounts of each lane it syncs at once.
        running: The accounts that it syncs now.
        hosts: What these share.
        outdated: Why the process ended by itself, if it did.
    """

    def __init__(
        self,
        settings: Settings,
        read_settings: Callable[[], Settings],
        metrics: RunMetrics,
        notifier: Notifier,
    ) -> None:
        self.settings = settings
        self._notifier = notifier
        self.slots = {
            Lane.FAST: settings.fleet_slots - settings.fleet_slow_slots,
            Lane.SLOW: settings.fleet_slow_slots,
        }
        self.outdated: SchemaNotCurrent | None = None
        self.engine = build_from_settings.engine_from(settings)
        task_schema.require_postgresql(self.engine)
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._handed_out_at = time.monotonic()
        self._queue = Queue()
        self._kept = open_engine(settings.database, kept_sessions=settings.fleet_slots)
        self.hosts = SharedHosts(
            connections=settings.fleet_slots * settings.concurrency,
            by_account=settings.rate_scope == "account",
            meter=metrics,
        )
        self.running = RunningAccounts(on_end=self._run_ended)
        process_settings = ProcessSettings(settings, read_settings)
        deliveries = Deliveries(lambda: self.engine, process_settings.current, metrics.notify)
        self._webhooks = WebhookScheduler(deliveries, lambda: self.engine, metrics.notify)
        runs = AccountRuns(
            self._kept,
            process_settings,
            self.hosts,
            metrics,
            self.running,
            self._end_outdated,
        )
        self._tasks = TaskEngine(
            self.engine,
            self.slots,
            runs.run,
            lambda: nightly.do_nightly(self.engine, settings.keep_runs),
        )
        self._engine_thread = threading.Thread(target=self._tasks.work, name="tasks", daemon=True)

    def work(self) -> None:
        """
        Work until a signal; then end every run within seconds.

        Raises:
            SchemaNotCurrent: The schema is not this version's; runs in progress have ended.
        """
        with self._handling_signals(), self._notifier.pinging_watchdog(self.is_progressing):
            if self._wait_for_database():
                self._work_until_stopped()
        log.info("fleet.stopped")
        if self.outdated is not None:
            raise self.outdated

    def _work_until_stopped(self) -> None:
        self._engine_thread.start()
        self._notifier.ready()
        log.info("fleet.started", slots=self.settings.fleet_slots)
        with self._webhooks.running():
            self._hand_out_until_stopped()
        self._tasks.stop()
        self._end_runs(self._engine_thread)

    def overview(self) -> Overview:
        """
        Read how all accounts stand.

        Raises:
            DatabaseUnavailable: It can't be read.
        """
        with transactions.short_read(self.engine) as connection:
            return overview.read(connection, self.settings)

    def slots_in_use(self) -> list[SlotsInUse]:
        """
        Return what each lane of this worker does now.
        """
        used = {lane: sum(self.running.by_host(lane).values()) for lane in self.slots}
        return [SlotsInUse(lane, used[lane], every) for lane, every in self.slots.items()]

    def readiness(self) -> FleetReadiness:
        """
        Check the database, and the tables of the service and of the task engine.
        """
        problems = []
        try:
            with transactions.short_read(self.engine) as connection:
                migrate.require_current(connection)
                task_schema.require_current(connection)
        except SyncError as exc:
            problems.append(str(exc))
        return FleetReadiness(ready=not problems, problems=problems)

    def is_progressing(self) -> bool:
        """
        Return whether the hand-out and the task engine are alive.
        """
        engine_ended = self._engine_thread.ident is not None and not self._engine_thread.is_alive()
        return not engine_ended and time.monotonic() < self._handed_out_at + OVERDUE_AFTER

    def _wait_for_database(self) -> bool:
        """
        Wait until the database answers; it must have all tables then. Return False after a signal.
        """
        wait = FIRST_WAIT
        while not (self._is_usable() or self._stopping.is_set()):
            self._handed_out_at = time.monotonic()
            self._stopping.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        return not self._stopping.is_set()

    def _is_usable(self) -> bool:
        """
        Return whether the database answers.

        Raises:
            SchemaNotCurrent: It does, but lacks tables.
        """
        try:
            with transactions.short_read(self.engine) as connection:
                migrate.require_current(connection)
                task_schema.require_current(connection)
            delivery_threads.adopt(self.engine, self.settings)
        except DatabaseUnavailable as exc:
            log.warning("fleet.database_lost", error=str(exc))
            return False
        return True

    def _hand_out_until_stopped(self) -> None:
        rescued_at = 0.0
        while not self._stopping.is_set():
            self._handed_out_at = time.monotonic()
            with self._logging_losses():
                if time.monotonic() > rescued_at + RESCUE_EVERY:
                    rescued_at = time.monotonic()
                    hand_out.rescue(self.engine, self._queue)
                    hand_out.remove_ended(self.engine, self._queue, self._tasks.ended)
                hand_out.hand_out(
                    self.engine, self._queue, self.running, self.slots, self.settings.api_url
                )
            self._stopping.wait(HAND_OUT_PAUSE)
            self._wake.wait(HAND_OUT_EVERY)
            self._wake.clear()

    def _run_ended(self) -> None:
        self._wake.set()
        self._webhooks.wake()

    @contextmanager
    def _logging_losses(self) -> Iterator[None]:
        try:
            with transactions.translated():
                yield
        except DatabaseUnavailable as exc:
            log.warning("fleet.database_lost", error=str(exc))

    def _end_runs(self, engine: threading.Thread) -> None:
        """
        Wait for the runs in progress, shorten them, and end the process if they hang.
        """
        self.running.end_within(RUNS_END)
        engine.join(RUNS_END)
        if not engine.is_alive():
            return
        self.hosts.close()  # whoever waits for a provider fails now
        engine.join(HARD_STOP - RUNS_END)
        if engine.is_alive():
            log.warning("fleet.runs_abandoned", accounts=self.running.names())
            sys.stderr.flush()
            os._exit(0)

    def _end_outdated(self, problem: SchemaNotCurrent) -> None:
        """
        End the process, since a newer version has migrated the database.
        """
        self.outdated = problem
        self.stop()

    def stop(self) -> None:
        """
        Take no further work, and end. May be called from any thread, and from a signal handler.
        """
        self._stopping.set()
        self._wake.set()
        self._notifier.stopping()

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        handlers = {
            number: signal.signal(number, lambda *_: self._on_signal())
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _on_signal(self) -> None:
        """
        Stop; at a second signal, end at once: the server rolls back, and others take over.
        """
        if self._stopping.is_set():
            os._exit(130)
        self.stop()
