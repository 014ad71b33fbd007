"""
The time by this machine's clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

TOLERANCE = timedelta(minutes=5)  # by which the clocks of two machines may differ


def now() -> datetime:
    """
    Return the current time in UTC; the only place that reads the clock.
    """
    return datetime.now(tz=UTC)  # noqa: TID251 - here and nowhere else
