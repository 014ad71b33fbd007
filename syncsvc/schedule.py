"""
When runs are due: after every interval, or as a crontab says. Times are UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger
from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = 5
DELAY_LIMIT = 30.0  # seconds
DELAY_SHARE = 0.1  # of the time between two runs
LOOKED_AHEAD = 100  # runs, to see how far they lie apart


class CrontabTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """
    A five-field crontab as cron itself reads it.

    Sunday is 0 and 7, and where both a day of the month and a day of the week
    are named either will do. APScheduler's own trigger counts weekdays from
    Monday and wants both days to fit.

    Raises:
        ValueError: It is no crontab, or one that never comes due.
    """

    def __init__(self, crontab: str) -> None:
        if len(crontab.split()) != FIELDS:
            raise ValueError("A crontab has five fields.")
        self._crontab = crontab
        try:
            times = list(islice(self._times(datetime(2024, 1, 1, tzinfo=UTC)), LOOKED_AHEAD))
        except CronSimError as exc:
            raise ValueError(str(exc)) from None
        if len(times) < LOOKED_AHEAD:
            raise ValueError("It does not come due often enough.")
        self._delay = _delay(min(later - sooner for sooner, later in pairwise(times)))

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """
        The first time after the one before, a little later at random.
        """
        due = next(self._times(previous_fire_time or now))
        moment: datetime = self._apply_jitter(due, self._delay, now)
        return moment

    def _times(self, after: datetime) -> Iterator[datetime]:
        return CronSim(self._crontab, after.astimezone(UTC))


def trigger_for(schedule: str, interval: timedelta | None) -> BaseTrigger:
    """
    APScheduler's trigger for the setting SYNCSVC_SCHEDULE.

    Runs begin up to 30 s late, or a tenth of the time between two, so that many
    workers don't call the provider in the same second.

    Args:
        interval: The schedule, where it is an interval and no crontab.
    """
    if interval is None:
        return CrontabTrigger(schedule)
    seconds = interval.total_seconds()
    return IntervalTrigger(seconds=seconds, timezone=UTC, jitter=_delay(interval))


def longest_wait(trigger: BaseTrigger, now: datetime) -> timedelta:
    """
    The longest time between two of the next runs.
    """
    times = [now]
    for _ in range(LOOKED_AHEAD):
        times.append(trigger.get_next_fire_time(times[-1], times[-1]))
    return max(later - sooner for sooner, later in pairwise(times))


def _delay(interval: timedelta) -> float:
    """
    Seconds that a run may begin late.
    """
    return min(interval.total_seconds() * DELAY_SHARE, DELAY_LIMIT)
