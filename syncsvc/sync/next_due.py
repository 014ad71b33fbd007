"""
When an account runs next, and in which lane, going by how its last run ended.

These functions know no clock and no database: a run calls them to write its account's status, a
fleet to hand out accounts, and a simulation to live through a day in seconds.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import msgspec

from syncsvc.settings.crontab import Crontab
from syncsvc.vocabulary import Lane

if TYPE_CHECKING:
    from datetime import datetime

FIRST_WAIT = timedelta(seconds=30)  # after one failure; doubled by each further one
LONGEST_WAIT = timedelta(hours=6)
FAILURES_WITHIN_INTERVAL = 9  # up to which the interval is the longest wait
DOUBLINGS = 15  # of a second, which is the shortest interval: more than 6 hours
SLOW_SECONDS = 60.0
SHORTEST_DEADLINE = timedelta(minutes=5)
DEADLINE_FACTOR = 20  # by which a run may take longer than the one before


class Ending(StrEnum):
    """
    How a run ended, as far as the next one depends on it.
    """

    PUBLISHED = "published"  # with or without withheld cancellations
    UNAVAILABLE = "unavailable"  # the provider can't be reached, or sends no usable response
    OUT_OF_TIME = "out_of_time"  # the deadline ended it
    REFUSED = "refused"  # the provider rejects the request, and would do so again
    FAILED = "failed"  # anything else, an interrupt too


class EndedRun(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the next run depends on.

    Attributes:
        seconds: How long it took.
        error: Why it published nothing; None if it published.
    """

    ending: Ending
    seconds: float
    error: str | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """
    The columns of `account_status` that decide when an account runs next.

    Attributes:
        failures: Ended runs in a row that published nothing.
        attention: Why somebody has to act.
        next_run_at: When it is due; None if no run has said so.
    """

    lane: Lane = Lane.FAST
    failures: int = 0
    attention: str | None = None
    next_run_at: datetime | None = None


class Schedule(msgspec.Struct, frozen=True):
    """
    The times at which runs are due.

    Attributes:
        interval: The time between two runs; of a crontab, the shortest one.
        crontab: None if runs are due at intervals.
    """

    interval: timedelta
    crontab: Crontab | None = None

    @classmethod
    def of(cls, schedule: str, interval: timedelta | None) -> Self:
        """
        Return the times of SYNCSVC_SCHEDULE.

        Args:
            interval: The schedule as an interval; None if it is a crontab.
        """
        if interval is not None:
            return cls(interval)
        crontab = _crontab(schedule)
        return cls(crontab.shortest_gap, crontab)

    def next_time(self, began_at: datetime, now: datetime) -> datetime:
        """
        Return the first time after now. Missed times are not made up.

        Args:
            began_at: The start of the last run, from which intervals count: accounts that were
                due at once are no longer so after they had to wait for each other.
        """
        if self.crontab is not None:
            return next(self.crontab.times(now))
        return now + self.interval - (now - began_at) % self.interval


@lru_cache(maxsize=1000)  # to find its shortest gap takes longer than all the rest
def _crontab(text: str) -> Crontab:
    return Crontab(text)


def after_run(before: Standing, run: EndedRun, schedule: Schedule, now: datetime) -> Standing:
    """
    Return how an account stands after a run that has just ended.
    """
    if run.ending is Ending.PUBLISHED:
        began_at = now - timedelta(seconds=run.seconds)
        return Standing(lane=lane_after(run), next_run_at=schedule.next_time(began_at, now))
    failures = before.failures + 1
    is_refused = run.ending is Ending.REFUSED
    wait = LONGEST_WAIT if is_refused else wait_after(failures, schedule.interval)
    return Standing(
        lane=lane_after(run),
        failures=failures,
        attention=run.error if is_refused else before.attention,
        next_run_at=now + wait,
    )


def lane_after(run: EndedRun) -> Lane:
    """
    Return the lane of the next run: slow after one that took long, or would have.
    """
    waited = run.ending in {Ending.UNAVAILABLE, Ending.OUT_OF_TIME}
    return Lane.SLOW if waited or run.seconds > SLOW_SECONDS else Lane.FAST


def wait_after(failures: int, interval: timedelta) -> timedelta:
    """
    Return how long an account waits after so many failures in a row, at least one.

    The wait doubles up to the interval, and from the tenth failure on up to 6 hours. So it is
    never longer than the account has failed already, and 30 s.
    """
    within = min(failures, FAILURES_WITHIN_INTERVAL)
    wait = min(FIRST_WAIT * (1 << (within - 1)), interval)
    return min(wait * (1 << min(failures - within, DOUBLINGS)), LONGEST_WAIT)


def fleet_deadline(longest: timedelta, last_seconds: float | None) -> timedelta:
    """
    Return how long a run may take in a fleet, so that one that hangs gives its slot back.

    Args:
        longest: SYNCSVC_RUN_DEADLINE.
        last_seconds: How long the account's last run took; None if it never had one.
    """
    if last_seconds is None:
        return longest
    return min(longest, max(SHORTEST_DEADLINE, timedelta(seconds=DEADLINE_FACTOR * last_seconds)))
