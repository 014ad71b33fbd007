"""
When runs are due.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.worker.schedule import CrontabTrigger, longest_wait, trigger_for

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


def due(crontab: str, after: datetime = MONDAY) -> datetime:
    """
    When a crontab comes due next, to the minute.
    """
    return CrontabTrigger(crontab).get_next_fire_time(None, after).replace(second=0, microsecond=0)


@pytest.mark.parametrize("number", range(8))
def test_weekdays_count_from_sunday(number: int) -> None:
    """
    0 and 7 are Sunday, as cron has it, and not Monday.
    """
    assert due(f"0 3 * * {DAYS[number % 7]}") == due(f"0 3 * * {number}")
    assert (due(f"0 3 * * {number}").isoweekday() % 7) == number % 7


def test_either_day_will_do() -> None:
    """
    A day of the month and a day of the week are alternatives, as cron has it.
    """
    assert datetime(2026, 1, 9, tzinfo=UTC) == due("0 0 13 * fri")
    saturday = datetime(2026, 1, 10, tzinfo=UTC)
    assert datetime(2026, 1, 13, tzinfo=UTC) == due("0 0 13 * fri", saturday)


def test_a_crontab_is_utc() -> None:
    """
    Three o'clock is three o'clock UTC, wherever the machine stands.
    """
    assert due("0 3 * * *", MONDAY.astimezone()).astimezone(UTC).hour == 3


@pytest.mark.parametrize(
    "wrong", ["", "* * * *", "* * * * * *", "99 * * * *", "0 0 31 2 *", "a b c d e"]
)
def test_what_is_no_crontab_is_refused(wrong: str) -> None:
    """
    Five fields that come due at some time, or an error.
    """
    with pytest.raises(ValueError, match=r"[Cc]rontab"):
        CrontabTrigger(wrong)


@pytest.mark.parametrize("schedule", ["*/5 * * * *", "0 3 * * *", "* * * * *"])
def test_a_run_is_never_early_and_hardly_late(schedule: str) -> None:
    """
    Runs begin at most 30 s late, or a tenth of the time between two, and come one after another.
    """
    trigger = CrontabTrigger(schedule)
    moment = MONDAY
    for _ in range(50):
        moment = trigger.get_next_fire_time(moment, moment)
        late = timedelta(seconds=moment.second, microseconds=moment.microsecond)
        assert late <= timedelta(seconds=6 if schedule == "* * * * *" else 30)


@given(st.integers(1, 10 * 86400))
def test_intervals_are_kept(seconds: int) -> None:
    """
    Two runs of an interval lie that far apart, and a tenth or 30 s more at most.
    """
    interval = timedelta(seconds=seconds)
    trigger = trigger_for("unused", interval)
    times = [MONDAY]
    for _ in range(5):
        times.append(trigger.get_next_fire_time(times[-1], times[-1]))

    most = interval + min(interval / 10, timedelta(seconds=30)) + timedelta(milliseconds=1)
    assert all(interval <= later - sooner <= most for sooner, later in pairwise(times))


def test_the_longest_wait_is_found() -> None:
    """
    Over a weekend without runs it is the weekend.
    """
    wait = longest_wait(CrontabTrigger("0 9-17 * * mon-fri"), MONDAY)

    assert abs(wait - timedelta(days=2, hours=16)) <= timedelta(seconds=30)
