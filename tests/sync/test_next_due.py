"""
When an account runs next, and in which lane.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.sync import next_due
from syncsvc.sync.next_due import EndedRun, Ending, Schedule, Standing
from syncsvc.vocabulary import Lane

NOW = datetime(2026, 1, 5, 12, 7, tzinfo=UTC)
QUARTER = Schedule(timedelta(minutes=15))
SIX_HOURS = timedelta(hours=6)
CRONTABS = ["*/10 * * * *", "0 3 * * *", "30 6 * * 1-5", "0,5 3 1 * *"]
PUBLISHED = EndedRun(ending=Ending.PUBLISHED, seconds=2)
REFUSED = EndedRun(ending=Ending.REFUSED, seconds=1, error="Check the credentials.")

moments = st.datetimes(
    datetime(2020, 1, 1),  # noqa: DTZ001 - hypothesis wants it naive
    datetime(2035, 1, 1),  # noqa: DTZ001 - hypothesis wants it naive
    timezones=st.just(UTC),
)
intervals = st.timedeltas(timedelta(seconds=1), timedelta(days=365))
schedules = st.builds(Schedule, intervals) | st.sampled_from(
    [Schedule.of(crontab, None) for crontab in CRONTABS]
)
seconds = st.floats(0, 100_000)
endings = st.sampled_from(Ending)


@st.composite
def ended_runs(draw: st.DrawFn, of: st.SearchStrategy[Ending] = endings) -> EndedRun:
    """
    A run that ended in any way.
    """
    ending = draw(of)
    error = None if ending is Ending.PUBLISHED else draw(st.sampled_from(["one", "another"]))
    return EndedRun(ending=ending, seconds=draw(seconds), error=error)


failed_runs = ended_runs(st.sampled_from([each for each in Ending if each != "published"]))


def after(*runs: EndedRun, schedule: Schedule = QUARTER) -> Standing:
    """
    How an account stands after runs that each began when it was due.
    """
    standing, now = Standing(), NOW
    for run in runs:
        now += timedelta(seconds=run.seconds)
        standing = next_due.after_run(standing, run, schedule, now)
        assert standing.next_run_at is not None
        now = standing.next_run_at
    return standing


def failed(ending: Ending = Ending.FAILED, seconds: float = 1) -> EndedRun:
    """
    A run that published nothing.
    """
    return EndedRun(ending=ending, seconds=seconds, error="It failed.")


def waits(number: int, interval: timedelta) -> list[timedelta]:
    """
    How long an account waits after each of so many failures.
    """
    return [next_due.wait_after(failures, interval) for failures in range(1, number + 1)]


@given(st.lists(ended_runs(), min_size=1, max_size=12), schedules, moments)
def test_the_next_run_is_never_in_the_past(
    runs: list[EndedRun], schedule: Schedule, now: datetime
) -> None:
    """
    Whatever an account went through, its next run is later than the last one's end.
    """
    standing = Standing()
    for run in runs:
        standing = next_due.after_run(standing, run, schedule, now)
        assert standing.next_run_at is not None
        assert standing.next_run_at > now
        now = standing.next_run_at + timedelta(seconds=run.seconds)


@given(intervals, moments, seconds)
def test_intervals_count_from_the_start_of_a_run(
    interval: timedelta, now: datetime, took: float
) -> None:
    """
    The next run is the first that is a whole number of intervals later, and not over yet.
    """
    run = EndedRun(ending=Ending.PUBLISHED, seconds=took)

    due = next_due.after_run(Standing(), run, Schedule(interval), now).next_run_at

    assert due is not None
    assert now < due <= now + interval
    assert (due - (now - timedelta(seconds=took))) % interval == timedelta(0)


@given(st.sampled_from(CRONTABS), moments, seconds)
def test_a_crontab_keeps_to_its_times(crontab: str, now: datetime, took: float) -> None:
    """
    The next run is at the first of the crontab's times after the end of the last one.
    """
    schedule = Schedule.of(crontab, None)
    run = EndedRun(ending=Ending.PUBLISHED, seconds=took)

    due = next_due.after_run(Standing(), run, schedule, now).next_run_at

    assert schedule.crontab is not None
    assert due == next(schedule.crontab.times(now))


def test_accounts_that_had_to_wait_are_not_due_at_once_again() -> None:
    """
    Two accounts that were due together and ran one after the other stay apart by that.
    """
    one, other = (
        next_due.after_run(Standing(), PUBLISHED, QUARTER, NOW + timedelta(seconds=late))
        for late in (0, 40)
    )

    assert one.next_run_at is not None
    assert other.next_run_at == one.next_run_at + timedelta(seconds=40)


@given(st.lists(ended_runs(), max_size=12), ended_runs(st.just(Ending.PUBLISHED)), schedules)
def test_a_success_ends_all_trouble(
    runs: list[EndedRun], success: EndedRun, schedule: Schedule
) -> None:
    """
    After a run that publishes, nothing of the failures before is left.
    """
    standing = after(*runs, success, schedule=schedule)

    assert (standing.failures, standing.attention) == (0, None)
    assert standing.lane == (Lane.SLOW if success.seconds > 60 else Lane.FAST)


@given(st.lists(failed_runs, min_size=1, max_size=20))
def test_every_failure_counts(runs: list[EndedRun]) -> None:
    """
    Failures in a row are counted, of whatever kind.
    """
    assert after(*runs).failures == len(runs)
    assert after(PUBLISHED, *runs).failures == len(runs)


@given(intervals)
def test_waits_double_up_to_the_interval_and_then_up_to_six_hours(interval: timedelta) -> None:
    """
    The first wait is 30 s, each is at most twice the one before, and none is shorter.
    """
    every = waits(40, interval)

    assert every[0] == min(timedelta(seconds=30), interval)
    assert every[-1] == SIX_HOURS
    assert max(every[:9]) <= interval
    assert all(one <= other <= 2 * one for one, other in pairwise(every))
    for one, other in pairwise(every):
        assert other in {2 * one, interval, SIX_HOURS}


@given(intervals)
def test_no_wait_is_longer_than_the_trouble_before_it(interval: timedelta) -> None:
    """
    Whoever was away for an hour is asked again within an hour.
    """
    every = waits(40, interval)
    so_far = accumulate(every, initial=timedelta(seconds=30))

    assert all(wait <= before for wait, before in zip(every, so_far, strict=False))


def test_the_waits_of_a_quarter_of_an_hour() -> None:
    """
    What an account with the default schedule goes through.
    """
    minutes = [wait / timedelta(minutes=1) for wait in waits(15, QUARTER.interval)]

    assert minutes == [0.5, 1, 2, 4, 8, 15, 15, 15, 15, 30, 60, 120, 240, 360, 360]


@given(st.integers(1, 10**6), intervals)
def test_any_number_of_failures_has_a_wait(failures: int, interval: timedelta) -> None:
    """
    An account that has failed for years is still asked.
    """
    assert timedelta(0) < next_due.wait_after(failures, interval) <= SIX_HOURS


@pytest.mark.parametrize("before", [(), (PUBLISHED,), (failed(),) * 3])
def test_a_refusal_calls_somebody_and_waits_for_six_hours(before: tuple[EndedRun, ...]) -> None:
    """
    Asking again soon would not help: the first refusal says why, and waits for the longest time.
    """
    standing = after(*before)
    began = standing.next_run_at or NOW

    refused = next_due.after_run(standing, REFUSED, QUARTER, began)

    assert refused.attention == "Check the credentials."
    assert refused.next_run_at == began + SIX_HOURS


@given(st.lists(failed_runs, max_size=5))
def test_a_refusal_stays_on_record_until_a_run_publishes(runs: list[EndedRun]) -> None:
    """
    What else fails after it does not say that the credentials are right.
    """
    refusals = [run for run in (REFUSED, *runs) if run.ending is Ending.REFUSED]

    assert after(REFUSED, *runs).attention == refusals[-1].error


@pytest.mark.parametrize(
    ("run", "lane"),
    [
        (EndedRun(ending=Ending.PUBLISHED, seconds=60), Lane.FAST),
        (EndedRun(ending=Ending.PUBLISHED, seconds=60.5), Lane.SLOW),
        (failed(seconds=60), Lane.FAST),
        (failed(seconds=61), Lane.SLOW),
        (failed(Ending.UNAVAILABLE), Lane.SLOW),
        (failed(Ending.OUT_OF_TIME), Lane.SLOW),
        (REFUSED, Lane.FAST),
    ],
)
@pytest.mark.parametrize("before", [(), (failed(Ending.OUT_OF_TIME),)])
def test_what_took_long_or_would_have_goes_to_the_slow_lane(
    before: tuple[EndedRun, ...], run: EndedRun, lane: Lane
) -> None:
    """
    The last run alone decides on the lane, so that one quick run leads back to the fast one.
    """
    assert after(*before, run).lane == lane


@given(
    st.timedeltas(timedelta(seconds=1), timedelta(days=1)), st.none() | seconds, st.floats(0, 1e4)
)
def test_a_run_in_a_fleet_has_twenty_times_the_last_one_s_time(
    longest: timedelta, took: float | None, more: float
) -> None:
    """
    At least 5 minutes, never more than the setting, and never less because the last took longer.
    """
    deadline = next_due.fleet_deadline(longest, took)

    assert min(longest, timedelta(minutes=5)) <= deadline <= longest
    if took is None:
        assert deadline == longest
    else:
        assert deadline in {longest, timedelta(minutes=5), timedelta(seconds=20 * took)}
        assert deadline <= next_due.fleet_deadline(longest, took + more)
