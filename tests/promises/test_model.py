"""
Promises that hold whatever a provider that changes and lies does to a run.

What the provider truly holds is kept apart from what it shows: pages shift
while they are walked over, listings are cut short or blind, requests fail.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.build import (
    NEW_YEAR,
    Row,
    address,
    api_for,
    number_row,
    profile,
    published,
    rows_of,
    uuid_at,
)
from support.oracle import assert_history_replays, read_number
from syncsvc.reconcile.withhold_cancellations import Guard
from syncsvc.sandbox import Behaviour, Fault, Inventory
from syncsvc.schema.tables import sync_rejects, sync_runs, withheld_cancellations
from syncsvc.vocabulary import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from support.build import Clock, Watch
    from syncsvc.sync.progress_and_summary import Summary

pytestmark = pytest.mark.neighbour
PLACES = range(1, 11)

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "comes",
                "comes",
                "edited",
                "cancelled",
                "cancelled unstamped",
                "vanishes",
                "forgotten",
            ]
        ),
        st.sampled_from(PLACES),
        st.integers(0, 3),
    ),
    max_size=5,
)
# What happens when a page is asked for, by how many were asked for before it.
SHIFTS = st.dictionaries(st.integers(0, 6), CHANGES, max_size=2)
GLITCHES = st.one_of(
    st.none(),
    st.sampled_from(["empty", "half", "repeated page", "forbidden", "not_found", "cancelled 500"]),
    st.frozensets(st.sampled_from(PLACES), min_size=1),  # permission lost to these
)
FAULTS = st.lists(
    st.builds(
        Fault,
        kind=st.sampled_from(["status", "reset", "cut"]),
        endpoint=st.sampled_from(["numbers", "search", "cancelled", "any"]),
        skip=st.integers(0, 4),
        times=st.integers(1, 4),
    ),
    max_size=2,
)
RUNS = st.fixed_dictionaries(
    {"changes": CHANGES},
    optional={
        "shifts": SHIFTS,
        "glitch": GLITCHES,
        "faults": FAULTS,
        "lifted": st.booleans(),
        "page_size": st.integers(1, 4),
        "concurrency": st.integers(1, 3),
    },
)


class Provider(Inventory):
    """
    An account that changes as it is told, and shows what a glitch makes of it.
    """

    def __init__(self, clock: Clock, size: int) -> None:
        """
        Begin with this many live numbers.
        """
        super().__init__()
        self.truth: dict[int, Row] = {place: number_row(place) for place in range(1, size + 1)}
        self.entries: dict[int, Row] = {}
        self.broken: set[int] = set()  # not live all the time from before this run to its end
        self.page_size = 200
        self._glitch: str | frozenset[int] | None = None
        self._shifts: dict[int, Any] = {}
        self._clock_of_runs = clock
        self._guarded = threading.Lock()

    def prepare(self, shifts: dict[int, Any], glitch: str | frozenset[int] | None) -> None:
        """
        Show the next run these things.
        """
        self.broken = set(PLACES) - set(self.truth)
        self._shifts, self._glitch = dict(enumerate(map(shifts.get, range(10)))), glitch

    def turn(self, _page: int) -> None:
        """
        Let happen what is due before another page is listed.
        """
        with self._guarded:
            if self._shifts:
                self.change(self._shifts.pop(min(self._shifts)) or [], minutes=1)

    def change(self, changes: list[tuple[str, int, int]], minutes: int = -1) -> None:
        """
        Make these changes, that many minutes after the run's start.
        """
        for kind, place, detail in changes:
            moment = self._clock_of_runs.time.replace(minute=minutes % 60)
            self._change(kind, place, detail, f"{moment:%Y-%m-%d %H:%M:%S}")

    def _change(self, kind: str, place: int, detail: int, stamp: str) -> None:
        if kind == "forgotten":
            self.entries.pop(place, None)
        elif kind == "comes" and place not in self.truth:
            stamps: list[Row] = [
                {"provisioned": stamp},
                {"provisioned": None},
                {},
                {"provisioned": stamp},
            ]
            new = {place: number_row(place, stamps[detail], **stamps[detail])}
            self.truth = new | self.truth if detail > 1 else self.truth | new
        elif kind == "edited" and place in self.truth:
            edits: list[Row] = [
                {"monthly_charge": "0.5"},
                {"status": "Active", "label": stamp},
                {"number_address": address(1, name=None)},
                {"monthly_charge": stamp[-4:-3]},
            ]
            edited = self.truth[place] | edits[detail]
            # Every other edit moves the number to the end, and all behind it forward.
            others = {each: row for each, row in self.truth.items() if each != place}
            moved = others | {place: edited}
            self.truth = moved if detail % 2 else self.truth | {place: edited}
        elif kind in {"cancelled", "cancelled unstamped", "vanishes"} and place in self.truth:
            row = self.truth[place]
            self.truth = {each: row for each, row in self.truth.items() if each != place}
            self.broken.add(place)
            if kind != "vanishes":
                ended = stamp if kind == "cancelled" else ""
                kept = {name: value for name, value in row.items() if name != "details"}
                entry = {place: kept | {"status": "Cancelled", "cancelled": ended}}
                self.entries = self.entries | entry

    def listing(
        self, *, cancelled: bool = False, digits: str | None = None, shuffled: bool = False
    ) -> list[Any]:
        """
        Give the rows as the glitch has them.
        """
        del shuffled
        glitch = self._glitch
        lost = glitch if isinstance(glitch, frozenset) else frozenset()
        shown = (self.entries if cancelled else self.truth).items()
        rows = [row for place, row in shown if place not in lost]
        if cancelled:
            return rows
        if digits is not None:
            return [row for row in rows if digits in row["number_e164"]]
        if glitch == "empty":
            return []
        if glitch == "half":
            return rows[::2]
        if glitch == "repeated page":
            return rows[: self.page_size] + rows[: -self.page_size]
        return rows


class Model:
    """
    What has to be true after every run, of runs one after the other.
    """

    def __init__(self, watch: Watch, clock: Clock, provider: Provider, guard: Row) -> None:
        """
        Begin before the first run.
        """
        self._watch, self._clock, self._provider = watch, clock, provider
        self._guard = guard
        self._steady: dict[int, int] = {}  # numbers live without a break, and their former ends
        self._tables = published(watch.engine)

    def run(
        self,
        *,
        changes: list[Any],
        shifts: dict[int, Any] | None = None,
        glitch: str | frozenset[int] | None = None,
        faults: list[Fault] | None = None,
        lifted: bool = False,
        page_size: int = 200,
        concurrency: int = 1,
    ) -> Summary:
        """
        Run once, and hold all promises against the tables.
        """
        self._clock.pass_by(hours=1)
        provider, sandbox = self._provider, self._watch.sandbox
        provider.page_size = page_size
        provider.prepare(shifts or {}, glitch)
        provider.change(changes)
        lost = glitch if isinstance(glitch, frozenset) else frozenset()
        answer: Any = glitch if glitch in ("forbidden", "not_found") else "ok"
        sandbox.reset(provider, Behaviour(cancelled_listing=answer))
        sandbox.before_page = provider.turn
        sandbox.inject(*(faults or []))
        if glitch == "cancelled 500":
            sandbox.inject(Fault(kind="status", endpoint="cancelled", times=1000))
        guard = Guard(**self._guard, lifted=lifted and not lost)
        protected = self._guarded(lost, guard, shifted=bool(shifts))
        with api_for(sandbox, page_size=page_size, concurrency=concurrency) as api:
            summary = self._watch.run(api=api, guard=guard)
        assert sandbox.failures == []
        tables = published(self._watch.engine)
        if summary.state == "failed":
            assert faults or glitch == "cancelled 500", summary.error
            assert tables == self._tables
        else:
            assert summary.state in {"succeeded", "withheld"}
            assert glitch != "cancelled 500"
        self._hold(tables, summary, set() if protected else set(lost))
        return summary

    def _guarded(self, lost: frozenset[int], guard: Guard, *, shifted: bool) -> bool:
        """
        Whether so many numbers are lost that none of them may be taken for cancelled.

        Be it that the guard trips, or that nothing is listed: what comes during the walk is.
        """
        live = {row["uuid"] for row in self._tables["numbers"] if row["lifecycle"] == "live"}
        gone = {uuid_at(place) for place in lost if place in self._provider.truth} & live
        many = len(gone) > guard.count and len(gone) * 100 > guard.percent * len(live)
        nothing_listed = not shifted and lost >= set(self._provider.truth)
        return many or nothing_listed

    def _hold(self, tables: dict[str, list[Row]], summary: Summary, exposed: set[int]) -> None:
        """
        The promises that hold after every run.
        """
        self._tables = tables
        assert_history_replays(tables)
        ends = Counter(
            row["uuid"] for row in tables["number_history"] if row["event"] == Event.CANCELLED
        )
        broken = self._provider.broken | exposed
        for place in set(self._steady) - broken:
            assert self._steady[place] == ends[uuid_at(place)], f"{place} is live all the time"
        self._steady = {n: count for n, count in self._steady.items() if n not in broken}
        if summary.state != "failed":
            live = {row["uuid"] for row in tables["numbers"] if row["lifecycle"] == "live"}
            for place in set(PLACES) - broken:
                if uuid_at(place) in live:
                    self._steady[place] = ends[uuid_at(place)]
        self._assert_counts(tables, summary)

    def _assert_counts(self, tables: dict[str, list[Row]], summary: Summary) -> None:
        """
        The run's record counts the rows that the run wrote.
        """
        engine, run_id = self._watch.engine, summary.run_id
        (run,) = rows_of(engine, sync_runs, id=run_id)
        assert summary.state == run["state"]
        written = Counter(
            row["event"] for row in tables["number_history"] if row["run_id"] == run_id
        )
        addresses = [row for row in tables["address_history"] if row["run_id"] == run_id]
        rejects = rows_of(engine, sync_rejects, run_id=run_id)
        if summary.state == "failed":
            assert (written.total(), len(addresses), len(rejects)) == (0, 0, 0)
            return
        assert {event: run[event] for event in Event} == {event: written[event] for event in Event}
        assert (run["address_changes"], run["rejected"]) == (len(addresses), len(rejects))
        assert (run["state"] == "withheld") == (run["withheld"] > 0)
        withheld = rows_of(engine, withheld_cancellations)
        assert len(withheld) == run["withheld"]
        assert {row["run_id"] for row in withheld} <= {run_id}

    def assert_the_truth_is_told(self) -> None:
        """
        After a quiet run without the guard, all numbers are as the provider has them.
        """
        truth = {uuid_at(place): read_number(row)[0] for place, row in self._provider.truth.items()}
        held = {row["uuid"]: row for row in self._tables["numbers"]}
        for uuid, number in truth.items():
            assert number == {name: held[uuid][name] for name in number}
        for uuid in set(held) - set(truth):
            assert held[uuid]["lifecycle"] == "cancelled"


@pytest.fixture
def watch(watch: Watch, reader: Engine) -> Watch:
    """
    Runs whose tables are looked at over a session that is kept.
    """
    watch.engine = reader
    return watch


@pytest.mark.timeout(1200)  # many sequences of runs, on a machine that may be busy
@profile
@given(
    size=st.integers(0, 9),
    guard=st.fixed_dictionaries(
        {"percent": st.sampled_from([10.0, 50.0, 0.0]), "count": st.sampled_from([10, 1, 3])}
    ),
    runs=st.lists(RUNS, min_size=1, max_size=4),
)
def test_no_lie_of_the_provider_cancels_a_number(
    *,
    watch: Watch,
    clock: Clock,
    reader: Engine,
    wipe: Callable[[], None],
    tally: Counter[str],
    size: int,
    guard: Row,
    runs: list[Row],
) -> None:
    """
    After any runs against a provider that lies, live numbers are live, and a quiet run is right.
    """
    wipe()
    clock.time = NEW_YEAR
    provider = Provider(clock, size)
    model = Model(watch, clock, provider, guard)

    for run in runs:
        model.run(**run)

    quiet = model.run(changes=[])
    assert quiet.state != "failed"
    accepted = model.run(changes=[], lifted=True)
    assert accepted.state == "succeeded"
    assert quiet.withheld == accepted.cancelled
    model.assert_the_truth_is_told()

    tables = published(reader)
    model.run(changes=[])
    assert published(reader) == tables
    tally["sequences"] += 1
    tally["runs"] += len(runs) + 3
