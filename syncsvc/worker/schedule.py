"""
When runs are due: after every interval, or as a crontab says. Times are UTC.
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

    Its own one counts weekdays from Monday and wants both days to fit.

    Raises:
        ValueError: The text is not a valid crontab.
    """

    def __init__(self, text: str) -> None:
        self._crontab = Crontab(text)
        self._delay = _delay(self._crontab.shortest_gap)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """
        The first time after the previous one, a little later at random.
        """
        due = next(self._crontab.times(previous_fire_time or now))
        moment: datetime = self._apply_jitter(due, self._delay, now)
        return moment


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
