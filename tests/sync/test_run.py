"""
One run, from the lock to the summary.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import Connection, Engine, event, func, insert, select, text, true
from structlog.testing import capture_logs

from support import standing
from support.build import (
    NEW_YEAR,
    address,
    api_for,
    number_row,
    published,
    rows_of,
    uuid_at,
)
from syncsvc.database import locks
from syncsvc.database.engine import open_engine
from syncsvc.errors import RunInProgress, SchemaNotCurrent
from syncsvc.reconcile.withhold_cancellations import Guard
from syncsvc.sandbox import Behaviour, Fault, Inventory
from syncsvc.schema.tables import number_history, numbers, sync_rejects, sync_runs
from syncsvc.sync.progress_and_summary import Summary
from syncsvc.sync.run import run_once
from syncsvc.vocabulary import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL

    from support.build import Clock, Watch
    from syncsvc.provider.client import NumberApi
    from syncsvc.sandbox import Sandbox
    from syncsvc.sync.run_inputs import Job

pytestmark = pytest.mark.neighbour
COUNTS = (
    "walks",
    "pages",
    "num_results",
    "listed",
    "added",
    "provisioned",
    "cancelled",
    "reinstated",
    "changed",
    "unchanged",
    "address_changes",
    "rejected",
    "withheld",
)
BEFORE = [
    number_row(1, number_address=address(1)),
    number_row(2),
    number_row(3),
    number_row(4, status="Cancelled"),
    number_row(5, number_address=address(2)),
    number_row(6),
]
AFTER = [
    number_row(1, number_address=address(1, name="Other")),
    number_row(2, status="Active"),
    number_row(3, provisioned="2020-01-01 00:00:00"),
    number_row(4),
    number_row(6, monthly_charge="x"),
    number_row(7, provisioned="", details={"provisioned": ""}),
    number_row(8, status="Cancelled", number_address=address(3)),
    number_row(9),
]


@pytest.fixture
def paged(sandbox: Sandbox) -> Iterator[NumberApi]:
    """
    A client that takes two numbers at a time, and one page after the other.
    """
    with api_for(sandbox, page_size=2, concurrency=1) as api:
        yield api


def counts(found: Summary | dict[str, Any]) -> dict[str, Any]:
    """
    The counts of a summary, or of a row of `sync_runs`.
    """
    columns = msgspec.structs.asdict(found) if isinstance(found, Summary) else found
    return {name: columns[name] for name in COUNTS}


def test_the_documented_example_ends_in_the_tables(
    sandbox: Sandbox, job: Job, engine: Engine
) -> None:
    """
    The provider's own example becomes one number, provisioned when it says.
    """
    sandbox.inventory = Inventory.example()

    summary = run_once(job)

    assert (summary.listed, summary.provisioned, summary.address_changes) == (1, 1, 2)
    assert [row["country_alpha2"] for row in rows_of(engine, numbers)] == ["GB"]


def test_a_summary_counts_each_outcome(watch: Watch) -> None:
    """
    Each number is counted under what became of it, and the run's row says the same.
    """
    watch.see(*BEFORE)
    summary = watch.see(*AFTER)

    expected = {
        "walks": 1,
        "pages": 1,
        "num_results": 8,
        "listed": 7,
        "added": 1,
        "provisioned": 3,  # 3 anew, 8 before its end, 9
        "cancelled": 2,  # 5 by absence, 8 at first sight
        "reinstated": 1,
        "changed": 1,
        "unchanged": 1,
        "address_changes": 2,
        "rejected": 1,
        "withheld": 0,
    }
    assert counts(summary) == expected
    assert counts(watch.last_run()) == expected
    assert (summary.state, summary.error, summary.account) == ("succeeded", None, "default")


def test_a_run_leaves_its_record(watch: Watch, clock: Clock) -> None:
    """
    The run's row says when, how and where it ran.
    """
    clock.pass_by(hours=1)
    summary = watch.see(number_row(), trigger=Trigger.SCHEDULE)

    row = watch.last_run()
    assert (row["id"], row["state"], row["trigger"]) == (summary.run_id, "succeeded", "schedule")
    assert (row["started_at"], row["finished_at"], row["error"]) == (clock.time, clock.time, None)
    assert {"host", "pid", "complete", "address_conflicts"} <= row["detail"].keys()
    assert row["detail"]["complete"] is True


def test_a_second_run_writes_nothing_but_its_own_row(watch: Watch, engine: Engine) -> None:
    """
    The same listing again leaves all tables as they are, but for the run and its rejects.
    """
    watch.see(*BEFORE)
    watch.see(*AFTER)
    before = published(engine)
    summary = watch.run()

    assert published(engine) == before
    assert len(rows_of(engine, sync_runs)) == 3
    rejects = rows_of(engine, sync_rejects)
    assert [(row["run_id"], row["uuid"]) for row in rejects] == [
        (summary.run_id - 1 if summary.run_id else None, uuid_at(6)),
        (summary.run_id, uuid_at(6)),
    ]
    assert (summary.unchanged, summary.rejected) == (6, 1)


def test_an_empty_listing_of_a_new_account_is_a_run_too(watch: Watch, engine: Engine) -> None:
    """
    An account without numbers has a run that succeeded and found nothing.
    """
    summary = watch.see()

    assert (summary.state, summary.num_results, summary.listed) == ("succeeded", 0, 0)
    assert all(rows == [] for rows in published(engine).values())


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="status", endpoint="numbers", status=503, skip=2, times=100),
        Fault(kind="html", endpoint="numbers", status=200, skip=2, times=100),
        Fault(kind="cut", endpoint="numbers", skip=2, times=100),
        Fault(kind="status", endpoint="numbers", status=403, skip=2, times=100),
    ],
    ids=["unavailable", "proxy page", "cut off", "refused"],
)
def test_a_run_that_fails_on_the_last_page_publishes_nothing(
    watch: Watch, engine: Engine, paged: NumberApi, fault: Fault
) -> None:
    """
    A provider that fails on the last page leaves the tables as they were, and the run as failed.
    """
    watch.see(*BEFORE[:5])
    before = published(engine)
    watch.sandbox.inject(fault)
    summary = watch.see(*AFTER[:6], api=paged)

    assert published(engine) == before
    assert rows_of(engine, sync_rejects) == []
    row = watch.last_run()
    assert (summary.state, row["state"]) == ("failed", "failed")
    assert summary.error
    assert (row["error"], row["id"]) == (summary.error, summary.run_id)
    assert (row["walks"], row["pages"], row["num_results"]) == (1, 2, 6)
    assert row["finished_at"] >= row["started_at"]


def test_after_a_failed_run_the_next_one_does_it_all(
    watch: Watch, engine: Engine, clock: Clock
) -> None:
    """
    The run after a failed one publishes, later than it.
    """
    watch.sandbox.inject(Fault(kind="status", endpoint="numbers", status=403))
    assert watch.see(*BEFORE).state == "failed"
    summary = watch.run()

    assert (summary.state, summary.provisioned) == ("succeeded", 6)
    assert watch.number()["first_seen_at"] == clock.time + timedelta(microseconds=1)
    assert [row["state"] for row in rows_of(engine, sync_runs)] == ["failed", "succeeded"]


def test_a_failed_run_gives_its_lock_back_without_a_warning(watch: Watch) -> None:
    """
    A run that fails because of the provider warns of no lost database session.
    """
    watch.sandbox.inject(Fault(kind="status", endpoint="numbers", status=403))
    with capture_logs() as logs:
        watch.see(number_row())

    assert [entry["event"] for entry in logs] == ["sync.started", "sync.failed"]


def test_a_failed_run_is_never_taken_for_a_crashed_one(watch: Watch) -> None:
    """
    The lock is held until the failure is on record, so that nobody comes in between.
    """
    looks: list[str] = []

    def look(_connection: Connection, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("UPDATE sync_runs") and "error" in statement and armed.is_set():
            armed.clear()
            with pytest.raises(RunInProgress):
                watch.run()
            looks.append("refused")

    armed = threading.Event()
    watch.sandbox.inject(Fault(kind="status", endpoint="numbers", status=403, skip=1))
    event.listen(watch.engine, "before_cursor_execute", look)
    watch.sandbox.before_page = lambda _page: armed.set()
    with api_for(watch.sandbox, page_size=1) as api:
        summary = watch.see(number_row(1), number_row(2), api=api)
    event.remove(watch.engine, "before_cursor_execute", look)

    assert looks == ["refused"]
    assert (summary.state, watch.last_run()["state"]) == ("failed", "failed")


def test_a_run_that_waits_beyond_its_deadline_fails(watch: Watch, engine: Engine) -> None:
    """
    A page that does not come before the run's deadline fails the run.
    """
    watch.see(*BEFORE)
    before = published(engine)
    watch.sandbox.inject(Fault(kind="delay", endpoint="numbers", seconds=1.5))
    began = time.monotonic()
    summary = watch.see(*AFTER, deadline=timedelta(seconds=0.5))

    assert time.monotonic() - began < 1.4
    assert (summary.state, watch.last_run()["state"]) == ("failed", "failed")
    assert "waiting for page 1" in str(summary.error)
    assert published(engine) == before


def test_a_run_that_would_publish_after_its_deadline_fails(
    watch: Watch, engine: Engine, paged: NumberApi
) -> None:
    """
    A run whose time is up after its last page publishes nothing.
    """

    def dawdle(pages: int, *_more: object) -> None:
        if pages == len(AFTER) // 2:
            time.sleep(0.8)

    watch.see(*BEFORE)
    before = published(engine)
    summary = watch.see(*AFTER, api=paged, deadline=timedelta(seconds=0.7), on_page=dawdle)

    assert "SYNCSVC_RUN_DEADLINE" in str(summary.error)
    assert watch.last_run()["state"] == "failed"
    assert published(engine) == before


def test_a_listing_that_changes_during_a_walk_is_walked_again(
    watch: Watch, paged: NumberApi
) -> None:
    """
    A number that slips from one page to the one before is found by the second walk.
    """
    watch.see(*(number_row(place) for place in range(1, 5)))

    def remove_the_first(page: int) -> None:
        if page == 2:
            watch.sandbox.before_page = None
            watch.sandbox.inventory.rows = watch.sandbox.inventory.rows[1:]

    watch.sandbox.before_page = remove_the_first
    summary = watch.run(api=paged)

    assert (summary.walks, summary.pages, summary.num_results) == (2, 4, 3)
    assert (summary.listed, summary.unchanged, summary.cancelled) == (3, 3, 1)
    assert watch.events(1) == ["provisioned", "cancelled"]
    assert watch.last_run()["detail"]["complete"] is True


def test_the_cancelled_listing_is_requested_beside_the_last_page(watch: Watch) -> None:
    """
    An account with one known page waits once for both listings.
    """
    watch.see(number_row(1), number_row(2))
    watch.sandbox.requests.clear()

    def answer_later(_page: int) -> None:
        wait_for_the_cancelled_listing(watch)
        together.append(cancelled_requests(watch))

    together: list[int] = []
    watch.sandbox.before_page = answer_later
    with api_for(watch.sandbox, concurrency=2) as api:
        summary = watch.run(api=api)

    assert (summary.state, summary.unchanged) == ("succeeded", 2)
    assert together[0] == 1
    assert cancelled_requests(watch) == 1
    assert watch.last_run()["detail"]["cancelled_listing"].startswith("0 rows")


def test_after_a_further_walk_the_cancelled_listing_is_requested_again(watch: Watch) -> None:
    """
    An entry read beside an incomplete walk is older than the walk that counts.
    """
    watch.see(*(number_row(place) for place in range(1, 5)))

    def cancel_the_first(page: int) -> None:
        if page == 2:
            watch.sandbox.before_page = None
            wait_for_the_cancelled_listing(watch)
            inventory = watch.sandbox.inventory
            inventory.rows = inventory.rows[1:]
            inventory.cancelled = [number_row(1, status="Cancelled")]

    watch.sandbox.before_page = cancel_the_first
    watch.sandbox.requests.clear()
    with api_for(watch.sandbox, page_size=2, concurrency=2) as api:
        summary = watch.run(api=api)

    assert (summary.state, summary.walks, summary.cancelled) == ("succeeded", 2, 1)
    assert cancelled_requests(watch) == 2
    assert watch.history(1)[-1]["evidence"] == "cancelled_listing"


def wait_for_the_cancelled_listing(watch: Watch) -> None:
    """
    Wait until the cancelled listing was requested, 10 s at most.
    """
    deadline = time.monotonic() + 10
    while not cancelled_requests(watch) and time.monotonic() < deadline:
        time.sleep(0.005)


def cancelled_requests(watch: Watch) -> int:
    """
    How often the first page of the cancelled listing was requested.
    """
    return sum(
        request.path.endswith("/cancelled") and request.query["page"] == "1"
        for request in watch.sandbox.requests
    )


def test_a_number_that_comes_twice_makes_a_walk_incomplete(watch: Watch, paged: NumberApi) -> None:
    """
    A number added in front while the pages are walked repeats another; the next walk settles it.
    """

    def add_in_front(page: int) -> None:
        if page == 2:
            watch.sandbox.before_page = None
            watch.sandbox.inventory.rows = [number_row(9), *watch.sandbox.inventory.rows]

    watch.sandbox.before_page = add_in_front
    summary = watch.see(*(number_row(place) for place in range(1, 5)), api=paged)

    assert (summary.walks, summary.listed, summary.provisioned) == (2, 5, 5)


def test_a_listing_that_never_stands_still_cancels_nothing(
    watch: Watch, engine: Engine, paged: NumberApi
) -> None:
    """
    After three incomplete walks a run publishes what any of them read, and infers no absence.
    """
    watch.see(number_row(1), number_row(2), number_row(3), number_row(99))
    more = iter(range(10, 20))

    def add_in_front(page: int) -> None:
        if page == 2:
            rows = watch.sandbox.inventory.rows
            watch.sandbox.inventory.rows = [number_row(next(more)), *rows]

    watch.sandbox.before_page = add_in_front
    summary = watch.see(number_row(1), number_row(2), number_row(3, status="Active"), api=paged)

    assert (summary.state, summary.walks, summary.cancelled) == ("succeeded", 3, 0)
    assert (summary.changed, summary.provisioned, summary.unchanged) == (1, 2, 2)
    assert watch.events(99) == ["provisioned"]
    assert watch.events(10) == ["provisioned"]
    assert watch.last_run()["detail"]["complete"] is False
    assert {row["uuid"] for row in rows_of(engine, numbers)} == {
        uuid_at(place) for place in (1, 2, 3, 10, 11, 99)
    }


def test_of_a_number_read_several_times_the_last_row_counts(watch: Watch, paged: NumberApi) -> None:
    """
    If no walk is complete a number is published as the latest page that held it shows it.
    """
    charges = iter(range(1, 10))

    def recharge(page: int) -> None:
        charge = str(next(charges))
        other = number_row(3, monthly_charge=charge) if page == 2 else number_row(2)
        watch.sandbox.inventory.rows = [
            number_row(1, monthly_charge=charge),
            number_row(2),
            number_row(1, monthly_charge=charge),
            other,
        ]

    watch.sandbox.before_page = recharge
    summary = watch.see(api=paged)

    assert (summary.walks, summary.listed) == (3, 3)
    # Three requests a walk, the third for the page after a full one: the last page 2 is the 8th.
    assert watch.number(1)["monthly_charge"] == 8
    assert len(watch.history(1)) == 1


def test_a_reject_that_a_later_walk_could_read_is_none(watch: Watch, paged: NumberApi) -> None:
    """
    A row that one incomplete walk could not read and the next one could is not a reject.
    """
    listings = iter([["x"], ["x"], ["5"]])

    def mend(page: int) -> None:
        if page == 1:
            (charge,) = next(listings)
            rows = [number_row(1), number_row(2), number_row(1)]
            watch.sandbox.inventory.rows = [number_row(3, monthly_charge=charge), *rows]

    watch.sandbox.before_page = mend
    summary = watch.see(api=paged)

    assert (summary.walks, summary.listed, summary.rejected) == (3, 3, 0)


@pytest.mark.parametrize("num_results", ["page", "absent"])
def test_a_provider_that_does_not_say_how_many_there_are_proves_nothing(
    watch: Watch,
    paged: NumberApi,
    num_results: Any,
) -> None:
    """
    Without the listing's size no walk is complete: all is read, and nothing is absent.
    """
    watch.see(*(number_row(place) for place in range(1, 7)))
    watch.sandbox.behaviour = Behaviour(num_results=num_results)
    summary = watch.see(*(number_row(place, status="Active") for place in range(1, 6)), api=paged)

    assert (summary.state, summary.walks, summary.pages) == ("succeeded", 3, 9)
    assert (summary.changed, summary.cancelled, summary.listed) == (5, 0, 5)
    assert watch.events(6) == ["provisioned"]


def test_a_dry_run_writes_nothing_and_finds_the_same(watch: Watch, engine: Engine) -> None:
    """
    A dry run sums up what the run after it then does, and leaves no trace.
    """
    watch.see(*BEFORE)
    before = published(engine), rows_of(engine, sync_runs)
    planned = watch.see(*AFTER, dry_run=True)
    after = published(engine), rows_of(engine, sync_runs)
    done = watch.run()

    assert after == before
    assert (planned.state, planned.run_id) == ("planned", None)
    assert counts(planned) == counts(done)
    assert [row["run_id"] for row in rows_of(engine, sync_rejects)] == [done.run_id]


def test_a_dry_run_that_fails_leaves_no_trace(watch: Watch, engine: Engine) -> None:
    """
    A failed dry run says so, and is on no record.
    """
    watch.sandbox.inject(Fault(kind="status", endpoint="numbers", status=403))
    summary = watch.see(*BEFORE, dry_run=True)

    assert (summary.state, summary.run_id) == ("failed", None)
    assert rows_of(engine, sync_runs) == []


def test_only_one_run_of_an_account_at_a_time(watch: Watch, engine: Engine) -> None:
    """
    While the account's lock is held a run refuses to start, and writes nothing.
    """
    with (
        engine.connect() as connection,
        locks.run_lock(connection, "default"),
        pytest.raises(RunInProgress),
    ):
        watch.see(number_row())

    assert rows_of(engine, sync_runs) == []
    assert watch.see(number_row()).state == "succeeded"


def test_a_refused_run_names_the_one_under_way(watch: Watch) -> None:
    """
    Whoever is refused is told which run holds the lock.
    """
    refusals: list[str] = []

    def try_another(*_page: object) -> None:
        with pytest.raises(RunInProgress) as refused:
            watch.run()
        refusals.append(str(refused.value))

    summary = watch.see(number_row(), on_page=try_another)

    assert summary.state == "succeeded"
    assert [f"run {summary.run_id} " in refusal for refusal in refusals] == [True]


def test_another_account_is_not_kept_waiting(watch: Watch, engine: Engine) -> None:
    """
    The lock of one account does not stop another one.
    """
    with engine.connect() as connection, locks.run_lock(connection, "other"):
        summary = watch.see(number_row())

    assert summary.state == "succeeded"


def test_a_run_whose_process_died_is_marked_by_the_next(watch: Watch, engine: Engine) -> None:
    """
    A run left as running, with nobody holding the lock, has crashed; the other account's has not.
    """
    left = {"trigger": "manual", "state": "running", "service_version": "0"}
    with engine.begin() as connection:
        for account in ("default", "other"):
            row = {"account": account, "started_at": NEW_YEAR, **left}
            connection.execute(insert(sync_runs).values(row))
        standing.fill(connection)
    watch.see(number_row())

    rows = rows_of(engine, sync_runs)
    assert [(row["account"], row["state"]) for row in rows] == [
        ("default", "crashed"),
        ("other", "running"),
        ("default", "succeeded"),
    ]
    assert rows[0]["finished_at"] is not None
    assert rows[0]["error"]


def test_two_accounts_in_one_database_leave_each_other_alone(watch: Watch, engine: Engine) -> None:
    """
    The same numbers and addresses under two accounts have two states and two histories.
    """
    watch.see(*BEFORE)
    before = published(engine)
    other = watch.see(*AFTER[:2], account="other")
    theirs = {name: rows[:] for name, rows in published(engine).items()}
    watch.see(*AFTER)
    mine = published(engine)

    of_default = {n: [r for r in rows if r["account"] == "default"] for n, rows in theirs.items()}
    of_other = {n: [r for r in rows if r["account"] == "other"] for n, rows in theirs.items()}
    assert of_default == before
    assert (other.listed, other.provisioned, other.cancelled) == (2, 2, 0)
    assert of_other == {
        name: [row for row in rows if row["account"] == "other"] for name, rows in mine.items()
    }


def test_valid_from_moves_forward_although_the_clock_goes_back(
    watch: Watch, clock: Clock, engine: Engine
) -> None:
    """
    A run starts later than the one before it, whatever the machine's clock says.
    """
    watch.see(number_row())
    clock.pass_by(days=-1)
    watch.see(number_row(status="Active"))
    watch.see(number_row())

    microsecond = timedelta(microseconds=1)
    expected = [NEW_YEAR, NEW_YEAR + microsecond, NEW_YEAR + 2 * microsecond]
    assert [row["valid_from"] for row in watch.history()] == expected
    assert [row["valid_to"] for row in watch.history()] == [*expected[1:], None]
    runs = rows_of(engine, sync_runs)
    assert [row["started_at"] for row in runs] == expected
    assert all(row["finished_at"] >= row["started_at"] for row in runs)


@pytest.mark.parametrize(
    ("off", "logged"),
    [
        (timedelta(days=3650), True),
        (timedelta(hours=-1), True),
        (timedelta(minutes=4), False),
        (timedelta(minutes=-4), False),
    ],
)
def test_a_run_warns_of_its_own_wrong_clock(
    watch: Watch, clock: Clock, kind: str, off: timedelta, *, logged: bool
) -> None:
    """
    Already the first run compares its clock with those of the provider and the database server.
    """
    clock.time = datetime.now(tz=UTC) + off  # noqa: TID251 - the true time

    with capture_logs() as logs:
        watch.see(number_row())

    others = ["the provider", *(["the database server"] if kind == "postgresql" else [])]
    warnings = [entry for entry in logs if entry["event"] == "sync.clock_differs"]
    assert [entry["other"] for entry in warnings] == (others if logged else [])
    for entry in warnings:
        assert entry["log_level"] == "warning"
        assert entry["seconds_ahead"] == pytest.approx(off.total_seconds(), abs=60)


def test_an_interrupted_run_is_recorded_as_failed(watch: Watch, engine: Engine) -> None:
    """
    A Ctrl-C during a walk is passed on, after the run was recorded as failed.
    """

    def interrupt(*_page: object) -> None:
        raise KeyboardInterrupt

    watch.see(*BEFORE)
    before = published(engine)
    with pytest.raises(KeyboardInterrupt):
        watch.see(*AFTER, on_page=interrupt)

    row = watch.last_run()
    assert (row["state"], row["error"]) == ("failed", "Interrupted.")
    assert published(engine) == before
    assert watch.run().state == "succeeded"


def test_a_bug_is_recorded_without_its_values(watch: Watch) -> None:
    """
    An unexpected failure is recorded by its name; the log has the rest.
    """

    def stumble(*_page: object) -> None:
        raise ZeroDivisionError("secret")

    with capture_logs() as logs:
        summary = watch.see(number_row(), on_page=stumble)

    assert summary.error == "Unexpected ZeroDivisionError; the log has its traceback."
    assert watch.last_run()["error"] == summary.error
    (failure,) = [entry for entry in logs if entry["event"] == "sync.failed"]
    assert isinstance(failure["exc_info"], ZeroDivisionError)


@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_run_that_loses_its_database_session_is_recorded_as_failed(
    watch: Watch, engine: Engine
) -> None:
    """
    A session that the server ends during a walk fails the run, on record, and frees the lock.
    """

    def end_session(*_page: object) -> None:
        with engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

    summary = watch.see(*BEFORE, on_page=end_session)

    assert (summary.state, watch.last_run()["state"]) == ("failed", "failed")
    assert watch.run().state == "succeeded"


def test_a_database_without_the_schema_is_refused(watch: Watch, empty_url: URL) -> None:
    """
    No run starts on a database that needs a migration.
    """
    with pytest.raises(SchemaNotCurrent):
        watch.see(number_row(), engine=open_engine(empty_url))


def test_a_reader_never_sees_half_a_run(watch: Watch, engine: Engine) -> None:
    """
    Whoever reads while a run publishes sees all that was before it or all that it wrote.
    """
    size = 2000
    watch.see(*(number_row(place) for place in range(size)))
    seen: set[tuple[int, ...]] = set()
    done = threading.Event()

    def reads() -> None:
        with engine.connect() as connection:
            while not done.is_set():
                seen.add(_state(connection))
                connection.rollback()

    with _in_background(reads, done):
        rows = (number_row(place, status="Active") for place in range(size, 2 * size))
        watch.see(*rows, guard=Guard(lifted=True))

    with engine.connect() as connection:
        after = _state(connection)
    assert after == (2 * size, size, 3 * size, 2 * size, 2)
    assert seen <= {(size, size, size, size, 1), after}
    assert seen


def _state(connection: Connection) -> tuple[int, ...]:
    """
    How the tables stand, read in one statement.
    """
    live = numbers.c.lifecycle == "live"
    succeeded = sync_runs.c.state == "succeeded"
    is_open = number_history.c.valid_to.is_(None)
    parts = (
        (numbers, true()),
        (numbers, live),
        (number_history, true()),
        (number_history, is_open),
        (sync_runs, succeeded),
    )
    counts = (
        select(func.count()).where(table.c.account == "default", condition).scalar_subquery()
        for table, condition in parts
    )
    row = connection.execute(select(*counts)).one()
    return tuple(row)


@contextmanager
def _in_background(work: Callable[[], None], done: threading.Event) -> Iterator[None]:
    """
    A thread that works until the block is left; what it raises is raised there.
    """
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(work)
        try:
            yield
        finally:
            done.set()
        future.result()
