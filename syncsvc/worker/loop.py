"""
The worker's loop: one account's runs on schedule, until a signal stops it.

Runs are done on the main thread, one after the other, because only there a
signal can end one. APScheduler's thread only requests them.
"""

from __future__ import annotations

import random
import signal
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from syncsvc import clock
from syncsvc.vocabulary import Trigger
from syncsvc.worker import schedule
from syncsvc.worker.scheduled_run import RunOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from syncsvc.metrics import Metrics
    from syncsvc.worker.scheduled_run import ScheduledRuns
    from syncsvc.worker.systemd import Notifier

log = structlog.get_logger(__name__)

STOP_TIMEOUT = 10.0  # seconds that a run may still take after SIGTERM or SIGINT
FIRST_RETRY = 5.0  # seconds after a failed run; doubled after each further failure
POLL_INTERVAL = 10.0  # seconds between checks of the leader lock and of the clock
OVERDUE_AFTER = 60.0  # seconds past its time after which a run counts as stuck
JOB = "sync"


class Request(StrEnum):
    """
    What the main thread is to do next.
    """

    START = "start"
    RUN = "run"
    RELOAD = "reload"
    STOP = "stop"


class Worker:
    """
    The loop of one worker process.

    Attributes:
        interrupted: Whether a second signal ended the run in progress.
        interval: The longest time between two scheduled runs.
    """

    def __init__(self, scheduled_runs: ScheduledRuns, notifier: Notifier, metrics: Metrics) -> None:
        self.interrupted = False
        self._scheduled_runs = scheduled_runs
        self._notifier = notifier
        self._metrics = metrics
        self._requests: SimpleQueue[Request] = SimpleQueue()
        self._stopping = False
        self._busy_since: float | None = None
        self._failures = 0
        settings = scheduled_runs.settings
        self._trigger = schedule.trigger_for(settings.schedule, settings.interval)
        self.interval = schedule.longest_wait(self._trigger, clock.now())
        self._scheduler = BackgroundScheduler(timezone=UTC)

    def run(self) -> None:
        """
        Sync at once and then on schedule, until SIGTERM or SIGINT.

        Raises:
            SchemaNotCurrent: The schema is not the current one.
            ConfigurationError: A setting can't be used.
        """
        with ExitStack() as stack:
            stack.enter_context(self._handling_signals())
            stack.callback(self._scheduled_runs.close)
            stack.enter_context(self._on_schedule())
            stack.enter_context(self._notifier.pinging_watchdog(self.is_progressing))
            self._requests.put(Request.START)
            self._handle_requests()
        log.info("worker.stopped")

    def is_progressing(self) -> bool:
        """
        Return whether no run, and no scheduled time, is long overdue.
        """
        busy_since = self._busy_since
        if busy_since is not None:
            deadline = self._scheduled_runs.settings.run_deadline.total_seconds()
            return time.monotonic() < busy_since + deadline + OVERDUE_AFTER
        due = self.next_run
        return due is not None and clock.now() < due + timedelta(seconds=OVERDUE_AFTER)

    @property
    def next_run(self) -> datetime | None:
        """
        The time of the next scheduled run.
        """
        job = self._scheduler.get_job(JOB)
        moment: datetime | None = job.next_run_time if job else None
        return moment

    def _handle_requests(self) -> None:
        while not self._stopping:
            match self._next_request():
                case Request.START:
                    self._attempt(Trigger.STARTUP)
                case Request.RUN:
                    self._attempt(Trigger.SCHEDULE)
                case Request.RELOAD:
                    self._scheduled_runs.reload_credentials()
                    if self._failures:
                        self._attempt(Trigger.SCHEDULE)

    def _next_request(self) -> Request:
        """
        Wait for a request, while checking whether a leader has ended or the clock has jumped.
        """
        on_standby = self._scheduled_runs.role == "standby"
        timeout = min(POLL_INTERVAL, self.interval.total_seconds())
        while True:
            try:
                return self._requests.get(timeout=timeout)
            except Empty:
                if on_standby:
                    return Request.START
                self._follow_the_clock()

    def _follow_the_clock(self) -> None:
        """
        Run now if the system clock jumped forward past the next run, or far back from it.
        """
        due = self.next_run
        if due is not None and due > clock.now() + self.interval + timedelta(seconds=OVERDUE_AFTER):
            self._scheduler.modify_job(JOB, next_run_time=clock.now())
        self._scheduler.wakeup()

    def _attempt(self, trigger: Trigger) -> None:
        """
        Do the due run; if it failed, schedule an earlier retry.
        """
        try:
            outcome = self._interruptible(trigger)
        except KeyboardInterrupt:
            outcome = RunOutcome.FAILED
        self._failures = self._failures + 1 if outcome is RunOutcome.FAILED else 0
        if self._failures:
            self._retry_early()
        self._report_status()

    def _interruptible(self, trigger: Trigger) -> RunOutcome:
        """
        Do a run that a signal may end; before and after it, the alarm does nothing.
        """
        self._busy_since = time.monotonic()
        try:
            return RunOutcome.SKIPPED if self._stopping else self._scheduled_runs.attempt(trigger)
        finally:
            self._busy_since = None
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _retry_early(self) -> None:
        """
        Bring the next run forward, with a delay that doubles with each failure.
        """
        wait = FIRST_RETRY * 2 ** min(self._failures - 1, 30) * random.uniform(1.0, 1.2)  # noqa: S311 - no secret
        at = clock.now() + timedelta(seconds=min(wait, self.interval.total_seconds()))
        due = self.next_run
        if due is not None and at < due:
            self._scheduler.modify_job(JOB, next_run_time=at)

    def _report_status(self) -> None:
        self._metrics.scheduled(self.next_run, self.interval.total_seconds())
        next_run = f" Next run at {self.next_run:%Y-%m-%d %H:%M:%S} UTC." if self.next_run else ""
        self._notifier.status(f"{self._scheduled_runs.last_result}{next_run}")

    @contextmanager
    def _on_schedule(self) -> Iterator[None]:
        self._scheduler.add_job(
            self._request_run,
            self._trigger,
            id=JOB,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        self._scheduler.start()
        self._report_status()
        log.info(
            "worker.started",
            account=self._scheduled_runs.settings.account,
            schedule=self._scheduled_runs.settings.schedule,
        )
        try:
            yield
        finally:
            self._scheduler.shutdown(wait=False)

    def _request_run(self) -> None:
        """
        Request a run, unless one is in progress.
        """
        if self._busy_since is not None:
            log.warning("worker.run_skipped", reason="the previous run is still in progress")
            return
        self._requests.put(Request.RUN)

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        handlers = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: lambda *_: self._requests.put(Request.RELOAD),
            signal.SIGALRM: lambda *_: self._interrupt_run(),
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, *_: object) -> None:
        """
        Start no further run; end the one in progress after STOP_TIMEOUT, or now on a second signal.
        """
        if self._stopping:
            self.interrupted = self._busy_since is not None
            self._interrupt_run()
            return
        self._stopping = True
        self._notifier.stopping()
        self._requests.put(Request.STOP)
        if self._busy_since is not None:
            signal.setitimer(signal.ITIMER_REAL, STOP_TIMEOUT)

    def _interrupt_run(self) -> None:
        if self._busy_since is not None:
            raise KeyboardInterrupt
