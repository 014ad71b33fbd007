"""
A run's own row: begun later than the one before, and ended once.
"""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, insert, select, update
from structlog.testing import capture_logs

from syncsvc import __version__
from syncsvc import clock as clock_module
from syncsvc.database import runs
from syncsvc.schema.tables import sync_runs
from syncsvc.vocabulary import RunState, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

NOON = datetime(2024, 7, 15, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)


class Clock:
    """
    A clock that shows what it is set to.
    """

    time = NOON

    def __call__(self) -> datetime:
        """
        What it shows.
        """
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """
    This machine's clock, to be set by the test.
    """
    clock = Clock()
    monkeypatch.setattr("syncsvc.clock.now", clock)
    return clock


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """
    A transaction that is given up at the end.
    """
    with engine.connect() as connection:
        yield connection
        connection.rollback()


def kept(connection: Connection, run_id: int) -> dict[str, Any]:
    """
    A run's row, without the fields that are NULL.
    """
    found = connection.execute(select(sync_runs).where(sync_runs.c.id == run_id))
    return {name: value for name, value in found.mappings().one().items() if value is not None}


def test_the_clock_is_read_in_utc() -> None:
    """
    A run's time is this machine's, aware and in UTC.
    """
    before = datetime.fromtimestamp(datetime.timestamp(clock_module.now()), tz=UTC)

    assert UTC is clock_module.now().tzinfo
    assert before <= clock_module.now() + TICK


def test_a_run_is_noted_when_it_begins(connection: Connection, clock: Clock) -> None:
    """
    A run under way says whose it is, why and since when it runs, where, and which version.
    """
    run = runs.begin(connection, "default", Trigger.SCHEDULE)

    assert ("default", clock.time) == (run.account, run.started_at)
    assert {
        "id": run.id,
        "account": "default",
        "trigger": "schedule",
        "state": "running",
        "started_at": NOON,
        "service_version": __version__,
        "detail": {"host": socket.gethostname(), "pid": os.getpid()},
    } == kept(connection, run.id)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (NOON + MINUTE, NOON + MINUTE),
        (NOON + TICK, NOON + TICK),
        (NOON, NOON + TICK),
        (NOON - TICK, NOON + TICK),
        (NOON - timedelta(days=4000), NOON + TICK),
    ],
)
def test_a_run_starts_later_than_the_one_before(
    connection: Connection, clock: Clock, shown: datetime, expected: datetime
) -> None:
    """
    Whatever the clock does, a run starts at its time or just after the run before.
    """
    runs.begin(connection, "default", Trigger.MANUAL)
    clock.time = shown

    run = runs.begin(connection, "default", Trigger.MANUAL)

    assert expected == run.started_at == kept(connection, run.id)["started_at"]


def test_runs_stay_in_order_while_the_clock_stands(connection: Connection, clock: Clock) -> None:
    """
    Any number of runs at one time of the clock have times of their own, in their order.
    """
    begun = [runs.begin(connection, "default", Trigger.MANUAL) for _ in range(5)]

    assert [clock.time + n * TICK for n in range(5)] == [run.started_at for run in begun]
    assert sorted(run.id for run in begun) == [run.id for run in begun]


@pytest.mark.usefixtures("clock")
def test_other_accounts_have_times_of_their_own(connection: Connection) -> None:
    """
    A run's start does not depend on runs of other accounts.
    """
    runs.begin(connection, "other", Trigger.MANUAL)

    assert runs.begin(connection, "default", Trigger.MANUAL).started_at == NOON


def test_runs_left_behind_are_marked_as_crashed(connection: Connection, clock: Clock) -> None:
    """
    What still claims to run is told as crashed, of this account only, and ended runs stay.
    """
    ended = runs.begin(connection, "default", Trigger.MANUAL)
    runs.finish(connection, ended, {"withheld": 0}, {})
    left = runs.begin(connection, "default", Trigger.MANUAL)
    others = runs.begin(connection, "other", Trigger.MANUAL)
    clock.time += MINUTE

    found = runs.mark_crashed(connection, "default")

    states = [kept(connection, run.id)["state"] for run in (ended, left, others)]
    row = kept(connection, left.id)
    assert (found, states) == ([left.id], ["succeeded", "crashed", "running"])
    assert clock.time == row["finished_at"]
    assert "process ended" in row["error"]
    assert runs.mark_crashed(connection, "default") == []


def test_a_finished_run_says_what_it_found(connection: Connection, clock: Clock) -> None:
    """
    A run that succeeded has an end, its counts and its detail, and no error.
    """
    run = runs.begin(connection, "default", Trigger.MANUAL)
    clock.time += MINUTE

    runs.finish(connection, run, {"listed": 7, "num_results": None}, {"complete": True})

    row = kept(connection, run.id)
    assert (row["state"], row["listed"], row["detail"]["complete"]) == ("succeeded", 7, True)
    assert clock.time == row["finished_at"]
    assert not {"error", "num_results"} & row.keys()


def test_a_failed_run_says_why(connection: Connection, clock: Clock) -> None:
    """
    A run that failed has an end, an error, and how far it came.
    """
    run = runs.begin(connection, "default", Trigger.MANUAL)
    clock.time += MINUTE

    runs.fail(connection, run, {"pages": 3}, "The provider did not answer.")

    row = kept(connection, run.id)
    assert (row["state"], row["pages"]) == ("failed", 3)
    assert ("The provider did not answer.", clock.time) == (row["error"], row["finished_at"])


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.WITHHELD, RunState.CRASHED])
@pytest.mark.usefixtures("clock")
def test_a_failure_after_the_end_changes_nothing(connection: Connection, state: RunState) -> None:
    """
    A run that has published, or was declared crashed, is not called failed afterwards.
    """
    run = runs.begin(connection, "default", Trigger.MANUAL)
    connection.execute(update(sync_runs).values(state=state, listed=7))
    before = kept(connection, run.id)

    runs.fail(connection, run, {"listed": 0}, "Interrupted.")

    assert before == kept(connection, run.id)


def test_a_run_does_not_end_before_it_began(connection: Connection, clock: Clock) -> None:
    """
    If the clock went back meanwhile, the end is the start.
    """
    run = runs.begin(connection, "default", Trigger.MANUAL)
    clock.time -= MINUTE

    runs.finish(connection, run, {"withheld": 0}, {})

    assert kept(connection, run.id)["finished_at"] == NOON


@pytest.mark.usefixtures("clock")
def test_a_run_ends_by_itself_alone(connection: Connection) -> None:
    """
    The end of one run is written to no other.
    """
    first = runs.begin(connection, "default", Trigger.MANUAL)
    second = runs.begin(connection, "default", Trigger.MANUAL)

    runs.fail(connection, second, {}, "x")

    assert kept(connection, first.id)["state"] == "running"


@pytest.mark.usefixtures("clock")
def test_starts_are_compared_as_moments(connection: Connection) -> None:
    """
    The newest start counts, not that of the newest row.
    """
    for number, start in enumerate([NOON + MINUTE, NOON - MINUTE], start=101):
        row = {"id": number, "account": "default", "trigger": "manual", "state": "failed"}
        values = {**row, "started_at": start, "service_version": "1"}
        connection.execute(insert(sync_runs).values(values))

    assert runs.begin(connection, "default", Trigger.MANUAL).started_at == NOON + MINUTE + TICK


def test_a_clock_that_was_ahead_dates_the_next_runs_and_is_logged(
    connection: Connection, clock: Clock
) -> None:
    """
    History goes on after the wrong run, the real time is recorded, and a warning names both.
    """
    clock.time = NOON + timedelta(days=3650)
    runs.finish(connection, runs.begin(connection, "default", Trigger.MANUAL), {}, {})
    clock.time = NOON

    with capture_logs() as logs:
        run = runs.begin(connection, "default", Trigger.MANUAL)
    runs.finish(connection, run, {}, {})

    row = kept(connection, run.id)
    assert run.started_at == NOON + timedelta(days=3650) + TICK
    assert (row["finished_at"], row["recorded_at"]) == (run.started_at, NOON)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("sync.clock_behind_last_run", "warning")
    ]
    assert logs[0]["clock"] == str(NOON)


@pytest.mark.parametrize("apart", [timedelta(0), timedelta(minutes=4)])
def test_clocks_that_differ_by_little_are_not_logged(
    connection: Connection, clock: Clock, apart: timedelta
) -> None:
    """
    Hosts that take turns need not agree to the second.
    """
    clock.time = NOON + apart
    runs.begin(connection, "default", Trigger.MANUAL)
    clock.time = NOON

    with capture_logs() as logs:
        runs.begin(connection, "default", Trigger.MANUAL)

    assert logs == []
