"""
Parse a five-field crontab with cron's own rules.

Sunday is 0 and 7, and if both day of month and day of week are restricted, one
match is enough. Times are UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = 5
LOOKED_AHEAD = 100  # times, to find the shortest gap between two


class Crontab:
    """
    A valid crontab that keeps coming due.

    Attributes:
        shortest_gap: The shortest time between two of its first times.

    Raises:
        ValueError: It has too few or too many fields, cannot be parsed, or hardly ever
            comes due.
    """

    def __init__(self, text: str) -> None:
        if len(text.split()) != FIELDS:
            raise ValueError(f"has {len(text.split())} fields; a crontab has {FIELDS}")
        self._text = text
        try:
            times = list(islice(self.times(datetime(2024, 1, 1, tzinfo=UTC)), LOOKED_AHEAD))
        except CronSimError as exc:
            raise ValueError(f"is not a valid crontab: {exc}") from None
        if len(times) < LOOKED_AHEAD:
            raise ValueError("is a crontab that never comes due, or almost never")
        self.shortest_gap: timedelta = min(b - a for a, b in pairwise(times))

    def times(self, after: datetime) -> Iterator[datetime]:
        """
        Yield the times after a moment at which it comes due, in UTC.
        """
        return CronSim(self._text, after.astimezone(UTC))
