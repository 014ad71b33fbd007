"""
One fault at every point of a run: the tables are those before it or those after it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pytest
from sqlalchemy import event, select
from structlog.testing import capture_logs

from support import standing
from support.build import PUBLISHED, address, number_row
from syncsvc.errors import DatabaseUnavailable
from syncsvc.provider.client import NumberApi
from syncsvc.provider.http.transport import HttpTransport
from syncsvc.provider.tokens import ClientCredentials
from syncsvc.sandbox import Fault, Inventory
from syncsvc.schema.tables import sync_rejects, sync_runs
from syncsvc.sync.run import run_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine, Table

    from support.build import Clock, Row, Watch
    from syncsvc.sandbox import Sandbox
    from syncsvc.sync.progress_and_summary import Summary

    Tables = dict[str, list[Row]]

PAGE_SIZE = 3
BEFORE = [
    number_row(1, number_address=address(1)),
    number_row(2),
    number_row(3),
    number_row(4),
    number_row(5, number_address=address(2)),
    number_row(6),
]
AFTER = [
    number_row(1, number_address=address(1, name="Other")),
    number_row(2, status="Active"),
    number_row(3, provisioned="2020-01-01 00:00:00"),
    number_row(7, number_address=address(3)),
    number_row(8),
    {"uuid": number_row(9)["uuid"]},
    number_row(6),
]  # 4 is gone by the cancelled listing, 5 by absence
ENTRIES = [
    {"status": "Cancelled", "cancelled": "2026-06-01 12:00:00", **row}
    for row in (
        {"uuid": number_row(4)["uuid"], "number_e164": "+441245000004"},
        {"uuid": number_row(20)["uuid"], "number_e164": "+441245000020"},
    )
]
WAYS = {
    "reset": Fault(kind="reset"),
    "timeout": Fault(kind="timeout", seconds=1.2),
    "500": Fault(kind="status", status=500),
    "429": Fault(kind="status", status=429, retry_after="0"),
    "cut": Fault(kind="cut"),
    "html": Fault(kind="html", status=200),
    "401": Fault(kind="status", status=401),
}
CASES = [
    *(("sqlite", way) for way in WAYS),
    *(("postgresql", way) for way in ("reset", "500", "401")),
]
TIMEOUTS = {"timeout": 0.6}  # seconds for one request
REQUESTS = 8  # of one run: a token, 3 pages, the cancelled listing and past its end, 2 searches
SETTLES_EVERY = 15  # failures that leave the tables as they were, before a clean run
STATEMENTS_AT_LEAST = 40
INJECTED = "injected"
OF_THE_RUN = {"id", "run_id", "account", "first_run_id", "changed_run_id"}
FRACTION = re.compile(r"(:\d\d)\.\d{6}")


def client_of(sandbox: Sandbox, *, retries: int, timeout: float = 5.0) -> NumberApi:
    """
    A client that buys its own tokens and takes small pages.
    """
    transport = HttpTransport(sandbox.url, timeout=timeout, concurrency=1)
    tokens = ClientCredentials(transport, sandbox.client_id, sandbox.client_secret)
    return NumberApi(transport, tokens, page_size=PAGE_SIZE, retries=retries, zone=UTC)


def plain(value: Any) -> Any:
    """
    A value without the microseconds by which one run follows another.
    """
    if isinstance(value, datetime):
        return value.replace(microsecond=0)
    return json.loads(FRACTION.sub(r"\1", json.dumps(value))) if isinstance(value, dict) else value


class Rounds:
    """
    The same two listings for one account after the other, in one database.
    """

    def __init__(self, watch: Watch) -> None:
        """
        Take the job to run for each account.
        """
        self.watch = watch
        self.engine = watch.engine
        self.account = ""
        self.count = 0

    def begin(self) -> None:
        """
        Take a new account, whose tables are those before.
        """
        self.count += 1
        self.account = f"round-{self.count}"
        self.watch.sandbox.reset(Inventory(BEFORE))
        assert self.run().state == "succeeded"
        self.go_on()

    def go_on(self) -> None:
        """
        Forget the faults and the requests so far.
        """
        self.watch.sandbox.reset(Inventory(AFTER, ENTRIES))

    def run(self, *, retries: int = 0, timeout: float = 5.0, **options: Any) -> Summary:
        """
        Run once, with one page in flight.
        """
        api = client_of(self.watch.sandbox, retries=retries, timeout=timeout)
        try:
            # not by `Watch`, whose look at the status would be counted among the statements
            job = msgspec.structs.replace(self.watch.job, api=api, account=self.account, **options)
            return run_once(job)
        finally:
            api.close()

    def tables(self) -> Tables:
        """
        All that was published for the account, without what differs from round to round.
        """
        with self.engine.connect() as connection:
            return {
                table.name: self._rows(connection, table) for table in (*PUBLISHED, sync_rejects)
            }

    def _rows(self, connection: Connection, table: Table) -> list[Row]:
        query = select(*(c for c in table.c if c.name not in OF_THE_RUN))
        rows = connection.execute(query.where(table.c.account == self.account)).mappings()
        return sorted(({k: plain(v) for k, v in row.items()} for row in rows), key=repr)

    def states(self) -> list[str]:
        """
        How the account's runs went, oldest first.
        """
        query = (
            select(sync_runs.c.state)
            .where(sync_runs.c.account == self.account)
            .order_by(sync_runs.c.id)
        )
        with self.engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def assert_status(self) -> None:
        """
        The account's status is what its runs and numbers say.
        """
        expected = standing.counted(self.engine, self.account)
        assert standing.kept(self.engine, self.account) == expected

    def settled(self) -> Tables:
        """
        The tables after a clean run, with the newest run's rejects alone.
        """
        self.assert_status()
        summary = self.run()
        assert (summary.state, self.states()[-1]) == ("succeeded", "succeeded")
        self.assert_status()
        found = self.tables()
        return found | {"sync_rejects": found["sync_rejects"][-1:]}


@pytest.fixture
def rounds(watch: Watch, clock: Clock) -> Rounds:
    """
    Rounds on a clock that stands still.
    """
    clock.pass_by(hours=1)
    return Rounds(watch)


@pytest.fixture
def ends(rounds: Rounds) -> tuple[Tables, Tables]:
    """
    The tables before a run without faults, and those after it.
    """
    rounds.begin()
    before = rounds.tables()
    rounds.watch.sandbox.requests.clear()
    summary = rounds.run()
    after = rounds.tables()

    assert (summary.provisioned, summary.changed, summary.cancelled) == (3, 1, 3)
    assert (summary.pages, summary.rejected) == (3, 1)
    assert len(rounds.watch.sandbox.requests) == REQUESTS
    assert before != after
    return before, after


@pytest.fixture
def without_absence(rounds: Rounds, ends: tuple[Tables, Tables]) -> Tables:
    """
    The tables after a run whose searches fail for good.
    """
    rounds.begin()
    rounds.watch.sandbox.inject(Fault(kind="status", endpoint="search", status=403, times=2))
    summary = rounds.run()
    tables = rounds.tables()

    assert (summary.state, summary.withheld, summary.cancelled) == ("withheld", 1, 2)
    assert tables not in ends
    return tables


def fault_at(index: int, way: str) -> Fault:
    """
    A fault of the request at this place, counted from 0.
    """
    return dataclasses.replace(WAYS[way], skip=index)


@pytest.mark.parametrize(("kind", "way"), CASES)
def test_one_fault_at_any_request_is_outlived_with_retries(
    rounds: Rounds, ends: tuple[Tables, Tables], way: str
) -> None:
    """
    Whichever request goes wrong once, the run ends as if none had.
    """
    before, after = ends
    for index in range(REQUESTS):
        rounds.begin()
        rounds.watch.sandbox.inject(fault_at(index, way))
        summary = rounds.run(retries=2, timeout=TIMEOUTS.get(way, 5.0))
        refused = (way, index) == ("401", 0)  # the client's id and secret themselves

        assert (index, summary.state) == (index, "failed" if refused else "succeeded")
        assert rounds.tables() == (before if refused else after)


@pytest.mark.parametrize(("kind", "way"), CASES)
def test_one_fault_at_any_request_is_all_or_nothing_without_retries(
    rounds: Rounds, ends: tuple[Tables, Tables], without_absence: Tables, way: str
) -> None:
    """
    The tables are those before or those after, but for the number that a failed search was about.
    """
    before, after = ends
    tables = {"failed": before, "withheld": without_absence, "succeeded": after}
    rounds.begin()
    for index in range(REQUESTS):
        rounds.go_on()
        rounds.watch.sandbox.inject(fault_at(index, way))
        summary = rounds.run(timeout=TIMEOUTS.get(way, 5.0))
        searched = {REQUESTS - 2: "withheld", REQUESTS - 1: "succeeded"}  # an absence, an entry
        expected = searched.get(index, "failed")
        if way == "401" and index > 0:
            expected = "succeeded"  # a new token is bought at once; that is no retry

        assert (index, summary.state) == (index, expected)
        assert rounds.states()[-1] == summary.state
        assert rounds.tables() == tables[expected]
        if expected != "failed" or index == REQUESTS - 3:
            assert rounds.settled() == after
            rounds.begin()


class Statements:
    """
    All that an engine has its driver do, counted, one of which fails.
    """

    def __init__(self, engine: Engine) -> None:
        """
        Listen to the engine, and let nothing fail yet.
        """
        self.engine = engine
        self.failure: type[Exception] = (
            sqlite3.OperationalError
            if engine.dialect.name == "sqlite"
            else psycopg.OperationalError
        )
        self.count = 0
        self.fails_at = 0
        event.listen(engine, "do_execute", self.pass_on)
        event.listen(engine, "do_executemany", self.pass_on)

    def close(self) -> None:
        """
        Listen no longer.
        """
        event.remove(self.engine, "do_execute", self.pass_on)
        event.remove(self.engine, "do_executemany", self.pass_on)

    def begin(self, fails_at: int) -> None:
        """
        Count from 1, and let the statement at this place fail; 0 lets none.
        """
        self.count, self.fails_at = 0, fails_at

    def pass_on(self, *_statement: object) -> None:
        """
        Fail in the driver's place if it is time.
        """
        self.count += 1
        if self.count == self.fails_at:
            raise self.failure(INJECTED)


@pytest.fixture
def statements(engine: Engine) -> Iterator[Statements]:
    """
    The statements of the database's engine.
    """
    listening = Statements(engine)
    yield listening
    listening.close()


def end_of(rounds: Rounds) -> str:
    """
    How a run ends; one that could not even begin has failed.
    """
    try:
        return rounds.run().state
    except DatabaseUnavailable:
        return "failed"


def test_a_failure_of_any_statement_is_all_or_nothing(
    rounds: Rounds, ends: tuple[Tables, Tables], statements: Statements
) -> None:
    """
    Whichever statement the database refuses, nothing is published, and the next run does it all.
    """
    before, after = ends
    rounds.begin()
    statements.begin(0)
    assert rounds.run().state == "succeeded"
    total = statements.count
    assert total > STATEMENTS_AT_LEAST
    recorded = 0
    rounds.begin()
    for place in range(1, total + 1):
        seen = len(rounds.states())
        statements.begin(place)
        state = end_of(rounds)
        statements.begin(0)
        if place == total and rounds.engine.dialect.name == "postgresql":
            # it gives the lock back, as the session's end does
            assert (state, rounds.tables()) == ("succeeded", after)
            rounds.begin()
            continue

        assert (place, state) == (place, "failed")
        assert rounds.tables() == before
        newest = rounds.states()[seen:]
        assert newest in ([], ["failed"])
        recorded += len(newest)
        if place % SETTLES_EVERY == 0 or place == total:
            assert rounds.settled() == after
            rounds.begin()
    assert recorded > total * 0.8  # all but those before the run is on record


@pytest.mark.parametrize("effective", [False, True], ids=["refused", "answer lost"])
def test_a_failure_of_any_commit_is_all_or_nothing(
    rounds: Rounds,
    ends: tuple[Tables, Tables],
    monkeypatch: pytest.MonkeyPatch,
    *,
    effective: bool,
) -> None:
    """
    A commit that fails, before or after it took effect, leaves a whole run or none, told as it is.
    """
    before, after = ends
    commits = Commits(rounds.engine, effective=effective)
    monkeypatch.setattr(rounds.engine.dialect, "do_commit", commits)
    rounds.begin()
    commits.begin(0)
    rounds.run()
    total = commits.count
    published = unrecorded = 0
    for place in range(1, total + 1):
        rounds.begin()
        commits.begin(place)
        state = end_of(rounds)
        commits.begin(0)
        tables, states = rounds.tables(), rounds.states()
        published += tables == after

        assert tables in (before, after)
        assert (place, state == "succeeded") == (place, tables == after)
        assert states[-1] != "failed" or tables == before
        unrecorded += states[-1] == "running"
        assert rounds.settled() == after
        assert "running" not in rounds.states()
    assert unrecorded == effective  # the commit that put the run on record
    lock_given_back = rounds.engine.dialect.name == "postgresql"
    assert published == effective + lock_given_back


class Commits:
    """
    Commits, counted, one of which fails or loses its answer.
    """

    def __init__(self, engine: Engine, *, effective: bool) -> None:
        """
        Take the place of the engine's own way to commit.
        """
        self.commit = engine.dialect.do_commit
        self.failure: type[BaseException] = Statements(engine).failure
        self.effective = effective
        self.count = 0
        self.fails_at = 0

    def begin(self, fails_at: int) -> None:
        """
        Count from 1, and let the commit at this place fail; 0 lets none.
        """
        self.count, self.fails_at = 0, fails_at

    def __call__(self, connection: Any) -> None:
        """
        Commit, or fail.
        """
        self.count += 1
        fails = self.count == self.fails_at
        if self.effective or not fails:
            self.commit(connection)
        if fails:
            raise self.failure(INJECTED)


@pytest.mark.parametrize("withheld", [0, 1])
def test_a_run_whose_last_answer_was_lost_is_summed_up_as_it_went(
    rounds: Rounds, monkeypatch: pytest.MonkeyPatch, withheld: int
) -> None:
    """
    A run that published is never told as failed, with the counts of its row in `sync_runs`.
    """
    rounds.begin()
    expected = rounds.run()
    rounds.begin()
    if withheld:
        rounds.watch.sandbox.inject(Fault(kind="status", endpoint="search", status=403, times=2))
    commits = Commits(rounds.engine, effective=True)

    def lose_the_answer(*_found: object) -> None:
        commits.begin(1)

    monkeypatch.setattr(rounds.engine.dialect, "do_commit", commits)
    with capture_logs() as logs:
        summary = rounds.run(on_found=lose_the_answer)

    events = [each["event"] for each in logs if each["log_level"] in {"warning", "error"}]
    assert "sync.commit_reply_lost" in events
    assert summary.state == ("withheld" if withheld else "succeeded")
    assert (summary.withheld, summary.error) == (withheld, None)
    assert summary.cancelled == expected.cancelled - withheld
    names = ("walks", "pages", "num_results", "listed", "provisioned", "changed", "rejected")
    assert all(getattr(summary, name) == getattr(expected, name) for name in names)
    assert rounds.states()[-1] == summary.state


def test_an_interrupt_that_meets_the_commit_ends_a_run_that_published(
    rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Who interrupts a run after its commit is told that it published, and not that nothing was.
    """
    rounds.begin()
    commits = Commits(rounds.engine, effective=True)
    commits.failure = KeyboardInterrupt

    monkeypatch.setattr(rounds.engine.dialect, "do_commit", commits)
    summary = rounds.run(on_found=lambda *_found: commits.begin(1))

    assert (summary.state, summary.error) == ("succeeded", None)
    assert rounds.states()[-1] == "succeeded"
