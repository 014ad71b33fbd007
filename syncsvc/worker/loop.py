"""
`syncsvc run`: one account, kept true on schedule until the worker is told to stop.

Runs happen on the main thread, one after the other, where a signal can end
one that takes too long. APScheduler's thread only says when one is due.
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

from syncsvc.database import runs
from syncsvc.vocabulary import Trigger
from syncsvc.worker import schedule
from syncsvc.worker.scheduled_run import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from syncsvc.metrics import Metrics
    from syncsvc.worker.scheduled_run import Duty
    from syncsvc.worker.systemd import Notifier

log = structlog.get_logger(__name__)

GRACE = 10.0  # seconds that a run may still take after SIGTERM or SIGINT
FIRST_RETRY = 5.0  # seconds after a failed run, and twice as long after each further one
LOOK_ROUND = 10.0  # seconds between looks whether the leader is gone, or the clock has jumped
LATE = 60.0  # seconds beyond its time after which something is taken for stuck
JOB = "sync"


class Call(StrEnum):
    """
    What the main thread is asked to do.
    """

    START = "start"
    RUN = "run"
    REREAD = "reread"
    STOP = "stop"


class Worker:
    """
    The loop of one process.

    Attributes:
        cut_short: A second signal ended the run under way.
    """

    def __init__(self, duty: Duty, notifier: Notifier, metrics: Metrics) -> None:
        self.cut_short = False
        self._duty = duty
        self._notifier = notifier
        self._metrics = metrics
        self._calls: SimpleQueue[Call] = SimpleQueue()
        self._stopping = False
        self._busy_since: float | None = None
        self._failures = 0
        settings = duty.settings
        self._trigger = schedule.trigger_for(settings.schedule, settings.interval)
        self._interval = schedule.longest_wait(self._trigger, runs.now())
        self._scheduler = BackgroundScheduler(timezone=UTC)

    def run(self) -> None:
        """
        Sync at once and then on schedule, until SIGTERM or SIGINT.

        Raises:
            SchemaNotCurrent: The database needs `syncsvc migrate`.
            ConfigurationError: The settings can't be used.
        """
        with ExitStack() as stack:
            stack.enter_context(self._heeding_signals())
            stack.callback(self._duty.close)
            stack.enter_context(self._on_schedule())
            stack.enter_context(self._notifier.watched(self.turns))
            self._calls.put(Call.START)
            self._answer_calls()
        log.info("worker.stopped")

    def turns(self) -> bool:
        """
        Whether the worker makes progress: no run, and no schedule, is long overdue.
        """
        busy_since = self._busy_since
        if busy_since is not None:
            deadline = self._duty.settings.run_deadline.total_seconds()
            return time.monotonic() < busy_since + deadline + LATE
        due = self.next_run
        return due is not None and runs.now() < due + timedelta(seconds=LATE)

    @property
    def next_run(self) -> datetime | None:
        """
        When the next scheduled run is due.
        """
        job = self._scheduler.get_job(JOB)
        moment: datetime | None = job.next_run_time if job else None
        return moment

    def _answer_calls(self) -> None:
        while not self._stopping:
            match self._next_call():
                case Call.START:
                    self._attempt(Trigger.STARTUP)
                case Call.RUN:
                    self._attempt(Trigger.SCHEDULE)
                case Call.REREAD:
                    self._duty.reread()
                    if self._failures:
                        self._attempt(Trigger.SCHEDULE)

    def _next_call(self) -> Call:
        """
        Wait for a call; meanwhile look whether a leader is gone, or the clock has jumped.
        """
        standing_by = self._duty.role == "standby"
        while True:
            try:
                return self._calls.get(timeout=min(LOOK_ROUND, self._interval.total_seconds()))
            except Empty:
                if standing_by:
                    return Call.START
                self._mind_the_clock()

    def _mind_the_clock(self) -> None:
        """
        Have a run that is due by a clock that jumped ahead, or far off by one set back, done now.
        """
        due = self.next_run
        if due is not None and due > runs.now() + self._interval + timedelta(seconds=LATE):
            self._scheduler.modify_job(JOB, next_run_time=runs.now())
        self._scheduler.wakeup()

    def _attempt(self, trigger: Trigger) -> None:
        """
        Have the run that is due done, and see to the next one.
        """
        try:
            outcome = self._interruptible(trigger)
        except KeyboardInterrupt:
            outcome = Outcome.FAILED
        self._failures = self._failures + 1 if outcome is Outcome.FAILED else 0
        if self._failures:
            self._retry_sooner()
        self._tell()

    def _interruptible(self, trigger: Trigger) -> Outcome:
        """
        A run that a signal may end; the alarm is harmless before and after it.
        """
        self._busy_since = time.monotonic()
        try:
            return Outcome.LEFT if self._stopping else self._duty.attempt(trigger)
        finally:
            self._busy_since = None
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _retry_sooner(self) -> None:
        """
        Move the next run forward, the less the more often it has failed.
        """
        wait = FIRST_RETRY * 2 ** min(self._failures - 1, 30) * random.uniform(1.0, 1.2)  # noqa: S311 - no secret
        at = runs.now() + timedelta(seconds=min(wait, self._interval.total_seconds()))
        due = self.next_run
        if due is not None and at < due:
            self._scheduler.modify_job(JOB, next_run_time=at)

    def _tell(self) -> None:
        self._metrics.scheduled(self.next_run, self._interval.total_seconds())
        due = f" Next run at {self.next_run:%Y-%m-%d %H:%M:%S} UTC." if self.next_run else ""
        self._notifier.status(f"{self._duty.says}{due}")

    @contextmanager
    def _on_schedule(self) -> Iterator[None]:
        self._scheduler.add_job(
            self._due,
            self._trigger,
            id=JOB,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        self._scheduler.start()
        self._tell()
        log.info(
            "worker.started",
            account=self._duty.settings.account,
            schedule=self._duty.settings.schedule,
        )
        try:
            yield
        finally:
            self._scheduler.shutdown(wait=False)

    def _due(self) -> None:
        """
        Ask for a run; one that is under way serves as well.
        """
        if self._busy_since is not None:
            log.warning("worker.run_skipped", reason="the one before is still under way")
            return
        self._calls.put(Call.RUN)

    @contextmanager
    def _heeding_signals(self) -> Iterator[None]:
        handlers = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: lambda *_: self._calls.put(Call.REREAD),
            signal.SIGALRM: lambda *_: self._cut_short(),
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, *_: object) -> None:
        """
        Begin no further run; end the one under way after a while, or at once when asked twice.
        """
        if self._stopping:
            self.cut_short = self._busy_since is not None
            self._cut_short()
            return
        self._stopping = True
        self._notifier.stopping()
        self._calls.put(Call.STOP)
        if self._busy_since is not None:
            signal.setitimer(signal.ITIMER_REAL, GRACE)

    def _cut_short(self) -> None:
        if self._busy_since is not None:
            raise KeyboardInterrupt
