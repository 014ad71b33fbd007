"""
The schedule of runs: an interval or a crontab, as a trigger of APScheduler. Times are UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from syncsvc.settings.crontab import Crontab

DELAY_LIMIT = 30.0  # seconds
DELAY_SHARE = 0.1  # of the time between two runs
LOOKED_AHEAD = 100  # runs, to find the longest time between two


class CrontabTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """
    APScheduler's trigger for a crontab.

    APScheduler's own one counts weekdays from Monday, and requires day of month and day of week
    to match both.

    Raises:
        ValueError: The text is not a valid crontab.
    """

    def __init__(self, text: str) -> None:
        self._crontab = Crontab(text)
        self._delay = _delay(self._crontab.shortest_gap)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """
        Return the first time after the previous one, plus a random delay.
        """
        due = next(self._crontab.times(previous_fire_time or now))
        moment: datetime = self._apply_jitter(due, self._delay, now)
        return moment


def trigger_for(schedule: str, interval: timedelta | None) -> BaseTrigger:
    """
    Return APScheduler's trigger for SYNCSVC_SCHEDULE.

    Runs start with a random delay of up to 30 s or a tenth of the interval, so that many workers
    don't call the provider in the same second.

    Args:
        interval: The schedule as an interval; None if it is a crontab.
    """
    if interval is None:
        return CrontabTrigger(schedule)
    seconds = interval.total_seconds()
    return IntervalTrigger(seconds=seconds, timezone=UTC, jitter=_delay(interval))


def longest_wait(trigger: BaseTrigger, now: datetime) -> timedelta:
    """
    Return the longest time between two of the next runs.
    """
    times = [now]
    for _ in range(LOOKED_AHEAD):
        times.append(trigger.get_next_fire_time(times[-1], times[-1]))
    return max(later - sooner for sooner, later in pairwise(times))


def _delay(interval: timedelta) -> float:
    """
    Return the seconds by which a run may be delayed.
    """
    return min(interval.total_seconds() * DELAY_SHARE, DELAY_LIMIT)
