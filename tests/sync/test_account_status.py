"""
What a run writes into its account's status, whatever becomes of the run.

That the counts agree with the tables is looked at after each run of every `Watch`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import Engine, delete, event, func, insert, select, update

from support import standing
from support.build import Row, number_row, rows_of, uuid_at
from syncsvc.build_from_settings import origin
from syncsvc.errors import RunInProgress
from syncsvc.sandbox import Fault, Inventory
from syncsvc.schema.tables import account_status, numbers
from syncsvc.sync.next_due import Schedule
from syncsvc.sync.run import run_once

if TYPE_CHECKING:
    from support.build import Watch

pytestmark = pytest.mark.neighbour
QUARTER = timedelta(minutes=15)
DRIFT = timedelta(milliseconds=10)  # of the clock that times a run and the one that says the time
REFUSAL = Fault(kind="status", endpoint="numbers", status=403, times=100)
OUTAGE = Fault(kind="status", endpoint="numbers", status=503, times=100)


def status_of(watch: Watch) -> Row:
    """
    The row of the test's account.
    """
    [row] = rows_of(watch.engine, account_status, account=watch.job.account)
    return row


def now_of(engine: Engine) -> datetime:
    """
    The time by the clock that accounts are due by.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            return datetime.now(tz=UTC)  # noqa: TID251 - the test's own look
        moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return moment


def due_in(watch: Watch, began: datetime) -> tuple[timedelta, timedelta]:
    """
    The shortest and the longest time after which the next run may be due, from its start and end.
    """
    due = status_of(watch)["next_run_at"]
    return due - now_of(watch.engine) - DRIFT, due - began + DRIFT


def test_a_run_says_when_the_next_one_is_due(watch: Watch) -> None:
    """
    An interval counts from the start of the run, by the database's clock.
    """
    began = now_of(watch.engine)
    watch.see(number_row(1), number_row(2, status="Cancelled"), host="https://one.example")

    status = status_of(watch)
    least, most = due_in(watch, began)
    assert least <= QUARTER <= most
    assert (status["lane"], status["failures"], status["attention"]) == ("fast", 0, None)
    assert (status["live_numbers"], status["cancelled_numbers"]) == (1, 1)
    assert status["host"] == "https://one.example"
    assert 0 < status["last_seconds"] < 60


@pytest.mark.parametrize("kind", ["postgresql"])
@pytest.mark.parametrize("fault", [None, OUTAGE], ids=["published", "failed"])
def test_a_wrong_clock_does_not_decide_when_an_account_is_due(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, fault: Fault | None
) -> None:
    """
    A machine whose clock is a day ahead hands out the next run like any other.
    """
    began = now_of(watch.engine)
    if fault is not None:
        watch.sandbox.inject(fault)
    monkeypatch.setattr(
        "syncsvc.clock.now",
        lambda: datetime.now(tz=UTC) + timedelta(days=1),  # noqa: TID251 - the wrong clock itself
    )
    watch.see(number_row())

    least, most = due_in(watch, began)
    wait = QUARTER if fault is None else timedelta(seconds=30)
    assert least <= wait <= most


def test_a_crontab_says_when_the_next_run_is_due(watch: Watch) -> None:
    """
    The account is due at the crontab's next time.
    """
    schedule = Schedule.of("0 3 1 1 *", None)
    assert schedule.crontab is not None
    watch.see(number_row(), schedule=schedule)

    assert status_of(watch)["next_run_at"] == next(schedule.crontab.times(now_of(watch.engine)))


@pytest.mark.parametrize(
    ("fault", "lane", "wait"),
    [
        (REFUSAL, "fast", timedelta(hours=6)),
        (OUTAGE, "slow", timedelta(seconds=30)),
    ],
    ids=["refused", "unavailable"],
)
def test_a_failure_says_why_and_for_how_long_to_wait(
    watch: Watch, fault: Fault, lane: str, wait: timedelta
) -> None:
    """
    A refusal needs somebody and waits for long, an outage goes to the slow lane; a success ends it.
    """
    watch.see(number_row())
    watch.sandbox.inject(fault)
    began = now_of(watch.engine)
    error = watch.see(number_row(), number_row(2)).error

    status = status_of(watch)
    least, most = due_in(watch, began)
    assert least <= wait <= most
    assert (status["lane"], status["failures"], status["last_error"]) == (lane, 1, error)
    assert status["attention"] == (error if fault is REFUSAL else None)
    assert (status["live_numbers"], status["cancelled_numbers"]) == (1, 0)
    watch.sandbox.reset(Inventory([number_row()]))
    watch.run()
    status = status_of(watch)
    assert (status["lane"], status["failures"], status["attention"]) == ("fast", 0, None)


def test_a_run_without_time_goes_to_the_slow_lane(watch: Watch) -> None:
    """
    A run that its deadline ends is slow, however short the deadline was.
    """
    watch.sandbox.inject(Fault(kind="delay", endpoint="numbers", seconds=1.5))
    watch.see(number_row(), deadline=timedelta(seconds=0.3))

    assert (status_of(watch)["lane"], status_of(watch)["failures"]) == ("slow", 1)


def test_failures_in_a_row_are_counted(watch: Watch) -> None:
    """
    Each waits for twice as long as the one before, and the count begins anew after a success.
    """
    watch.sandbox.inject(OUTAGE)
    waits = []
    for _ in range(3):
        watch.see(number_row())
        waits.append(status_of(watch)["next_run_at"] - now_of(watch.engine))

    assert status_of(watch)["failures"] == 3
    assert [round(wait / timedelta(seconds=30)) for wait in waits] == [1, 2, 4]


def test_a_dry_run_leaves_the_status_as_it_was(watch: Watch) -> None:
    """
    What is rolled back is not told either, and an account that only tried has no row.
    """
    assert watch.see(number_row(), dry_run=True).provisioned == 1
    assert rows_of(watch.engine, account_status) == []

    watch.see(number_row())
    before = status_of(watch)
    assert watch.see(number_row(), number_row(2), dry_run=True).provisioned == 1
    assert status_of(watch) == before


def test_a_run_that_is_refused_the_lock_writes_nothing(watch: Watch) -> None:
    """
    While a run is in progress the status says so, and another one's attempt changes nothing.
    """
    watch.see(number_row())
    seen: list[Row] = []

    def attempt(_page: int) -> None:
        watch.sandbox.before_page = None
        seen.append(status_of(watch))
        with pytest.raises(RunInProgress):
            run_once(msgspec.structs.replace(watch.job, host="https://other.example"))
        seen.append(status_of(watch))

    watch.sandbox.before_page = attempt
    summary = watch.run()

    during, after = seen
    assert during == after
    assert (during["last_run_id"], during["last_state"]) == (summary.run_id, "running")
    assert during["last_success_at"] < status_of(watch)["last_success_at"]


def test_an_interrupted_run_is_told_as_failed(watch: Watch) -> None:
    """
    Ctrl-C ends the run, and the status says what the run's row says.
    """
    watch.see(number_row())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch.run(on_page=interrupt)

    assert (status_of(watch)["last_state"], status_of(watch)["failures"]) == ("failed", 1)
    assert status_of(watch)["last_error"] == "Interrupted."
    assert standing.kept(watch.engine) == standing.counted(watch.engine)


@pytest.mark.parametrize("listed", [2, 1])
def test_numbers_that_another_program_wrote_are_counted(watch: Watch, listed: int) -> None:
    """
    Whether a run changes anything or not, it tells what is there, not what it has added itself.
    """
    rows = [number_row(1), number_row(2), number_row(3, status="Cancelled")]
    watch.see(*rows)
    watch.see(*rows[:2])
    known = watch.number(3)
    with watch.engine.begin() as connection:
        for place in (4, 5, 6):
            connection.execute(insert(numbers).values({**known, "uuid": uuid_at(place)}))

    summary = watch.see(*rows[:listed])

    assert (summary.unchanged, summary.cancelled) == (listed, 2 - listed)
    assert status_of(watch)["live_numbers"] == listed
    assert status_of(watch)["cancelled_numbers"] == 4 + 2 - listed


def test_a_status_that_was_edited_is_right_after_the_next_run(watch: Watch) -> None:
    """
    A run does not trust its account's row, whether it finds changes or not.
    """
    watch.see(number_row())
    nonsense = {"live_numbers": 77, "cancelled_numbers": 77, "failures": 77, "withheld": 77}
    with watch.engine.begin() as connection:
        mine = account_status.c.account == "default"
        connection.execute(update(account_status).where(mine).values(nonsense))
    assert watch.run().unchanged == 1

    with watch.engine.begin() as connection:
        connection.execute(delete(account_status).where(mine))
    assert watch.run().unchanged == 1


def test_a_run_without_changes_counts_no_number_a_second_time(watch: Watch) -> None:
    """
    It reads the account's numbers once, before it asks the provider, and then writes one row more.
    """
    watch.see(number_row(1), number_row(2, status="Cancelled"))
    watch.see(number_row(1))
    statements: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        statements.append(" ".join(statement.split()))

    event.listen(watch.engine, "before_cursor_execute", listen)
    try:
        assert run_once(watch.job).unchanged == 1
    finally:
        event.remove(watch.engine, "before_cursor_execute", listen)

    assert len([each for each in statements if "FROM numbers" in each]) == 1
    writes = [each for each in statements if "INSERT INTO account_status" in each]
    assert len(writes) == 2  # as it begins and as it ends


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://cloudlx.epsilontel.com", "https://cloudlx.epsilontel.com"),
        ("https://Cloudlx.Epsilontel.com:443/api/", "https://cloudlx.epsilontel.com"),
        ("http://127.0.0.1:8080/x?y=z", "http://127.0.0.1:8080"),
        ("https://user:secret@one.example:444", "https://one.example:444"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_a_host_is_told_by_its_origin(address: str, told: str) -> None:
    """
    Scheme, host and an unusual port tell hosts apart; path, user and secrets don't belong there.
    """
    assert origin(address) == told
