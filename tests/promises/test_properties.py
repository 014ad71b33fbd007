"""
Promises that hold for whatever the provider lists, one run after the other.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.build import (
    NEW_YEAR,
    Lying,
    Row,
    address,
    api_for,
    number_row,
    profile,
    published,
    rows_of,
)
from support.oracle import Oracle, View, assert_history_replays, canonical
from syncsvc.reconcile.withhold_cancellations import Guard
from syncsvc.schema.tables import sync_rejects, sync_runs, withheld_cancellations

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from sqlalchemy import Engine

    from support.build import Clock, Watch
    from syncsvc.sync.progress_and_summary import Summary

pytestmark = pytest.mark.neighbour

# The second property tells nothing new about single rows, and takes fewer examples.
fewer = settings(profile, max_examples=profile.max_examples // 3)

PLACES = range(1, 7)
STAMPS = ("2016-01-03 17:48:59", "2020-02-29 23:59:59", "2099-01-01 00:00:00")
ENDS = ("2019-05-06 07:08:09", "2021-01-01 00:00:00")
# Before any `provisioned`, a day and an hour after the first run, and years ahead.
STRANGE_ENDS = ("1970-01-01 00:00:00", "2026-01-02 01:30:00", "2098-01-01 00:00:00")
ABSENT = object()

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "number_e164": st.sampled_from(["+441245000001", "+35312345678"]),
    "range_name": st.sampled_from(["London", "", None]),
    "country_iso": st.sampled_from(["UK", "GB", "IE", "??", None]),
    "monthly_charge": st.sampled_from(["0.3", 0.3, 1, "1.00000", 12.5, None]),
    "setup_charge": st.sampled_from(["0", 0, "99999999.9999", None]),
    "status": st.sampled_from(["Reserved", "Reserved", "Active", "Cancelled", "cANCELLED", None]),
    "provisioned": st.sampled_from(["", None, *STAMPS]),
    "cancelled": st.sampled_from([None, None, None, "", *ENDS, *STRANGE_ENDS]),
    "number_address": st.sampled_from([None, None, 1, 2]),
    "label": st.sampled_from([ABSENT, ABSENT, None, 1, True, 0.5, "1", {"a": [1, "é"]}]),
    "details.status": st.sampled_from(["Reserved", "Active", "Cancelled", None]),
    "details.provisioned": st.sampled_from(["", None, *STAMPS]),
    "details.cancelled": st.sampled_from([None, None, None, "", *ENDS]),
    "details.number_address": st.sampled_from([None, 2, 3]),
    "details.emergency_number_address": st.sampled_from([None, 1, 2, 3]),
    "details.porting": st.sampled_from([ABSENT, ABSENT, "in"]),
    "spoilt": st.sampled_from([*[None] * 10, "charge", "uuid"]),
}
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["Main office", None]),
        "useForProofOfAddress": st.sampled_from([True, False, None]),
        "addressCity": st.sampled_from(["York", ""]),
        "addressCountry": st.sampled_from([{"name": "Ireland", "iso": "IE"}, None]),
        "floor": st.sampled_from([1, True]),
    },
)
ENDINGS = st.one_of(
    st.fixed_dictionaries(
        {"status": st.just("Cancelled")}, optional={"cancelled": FIELDS["cancelled"]}
    ),
    st.fixed_dictionaries({"details.cancelled": st.sampled_from([*ENDS, *STRANGE_ENDS])}),
)
RETURNS = st.fixed_dictionaries(
    {
        "status": st.just("Active"),
        "cancelled": st.none(),
        "details.cancelled": st.none(),
    },
    optional={"provisioned": FIELDS["provisioned"], "label": st.sampled_from([1, True])},
)
# An entry of the cancelled listing: no stamp, one from before the first run, or one between runs.
ENTRIES = st.fixed_dictionaries(
    {
        "cancelled": st.sampled_from(
            [None, "", *ENDS, *STRANGE_ENDS, "2026-01-01 01:30:00", "2026-01-01 03:30:00"]
        )
    },
    optional={
        "status": st.sampled_from(["Cancelled", "Cancelled", None, "Active"]),
        "monthly_charge": FIELDS["monthly_charge"],
        "provisioned": FIELDS["provisioned"],
        "spoilt": FIELDS["spoilt"],
    },
)
# What happens to a number between two runs, and the fields that it does this with.
EDITS = st.one_of(
    ENDINGS,
    RETURNS,
    st.fixed_dictionaries(FIELDS),
    st.fixed_dictionaries({}, optional=FIELDS),
    st.sampled_from(sorted(FIELDS)).flatmap(
        lambda name: st.fixed_dictionaries({name: FIELDS[name]})
    ),
)
HAPPENINGS = st.one_of(
    st.tuples(st.just("edited"), EDITS),  # it comes, too, where it is not there
    st.tuples(st.sampled_from(["vanished", "left out", "forgotten"]), st.just({})),
    st.tuples(st.just("cancelled"), ENTRIES),
    st.tuples(st.just("edited"), EDITS),
)
GUARDS: st.SearchStrategy[Row] = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {
            "percent": st.sampled_from([0, 25, 50, 100]),
            "count": st.sampled_from([0, 1, 2]),
            "lifted": st.sampled_from([False, False, True]),
        }
    ),
)
STEPS = st.tuples(
    st.dictionaries(st.sampled_from(PLACES), HAPPENINGS, max_size=6),
    st.dictionaries(st.sampled_from([1, 2, 3]), CONTENTS, max_size=1),
    st.randoms(use_true_random=False),
    GUARDS,
)


def on_the_wire(place: int, fields: Row, contents: dict[int, Row]) -> Row:
    """
    A number as the provider sends it.
    """

    def value(name: str) -> object:
        found = fields[name]
        if name.endswith("_address") and found is not None:
            return address(found, **contents.get(found, {}))
        return found

    sent = {name: value(name) for name in fields if fields[name] is not ABSENT}
    spoilt = sent.pop("spoilt", None)
    details = {name[8:]: it for name, it in sent.items() if name.startswith("details.")}
    top = {name: it for name, it in sent.items() if not name.startswith("details.")}
    if spoilt == "charge":
        top["monthly_charge"] = "free"
    if spoilt == "uuid":
        top |= {"uuid": f"number {place}", "number_e164": "+15550100"}
    return number_row(place, details, **top)


def views(steps: list[Any]) -> list[View]:
    """
    What each run is shown, by what happened before it, the listing in any order.
    """
    fields: dict[int, Row] = {}
    contents: dict[int, Row] = {}
    entries: dict[int, Row] = {}
    made = []
    for happenings, rewritten, random, guard in steps:
        contents |= rewritten
        left_out = set()
        for place, (kind, changes) in happenings.items():
            if kind == "edited":
                fields[place] = fields.get(place, {}) | changes
            elif kind == "left out":
                left_out.add(place)
            elif kind == "forgotten":
                entries.pop(place, None)
            elif kind == "vanished":
                fields.pop(place, None)
            else:
                last = fields.pop(place, {})
                entries[place] = _entry(on_the_wire(place, last | changes, contents))
        rows = {n: _consistent(on_the_wire(n, each, contents)) for n, each in fields.items()}
        listed = [row for place, row in rows.items() if place not in left_out]
        random.shuffle(listed)
        unlisted = [row for place, row in rows.items() if place in left_out]
        made.append(View(listed=listed, entries=[*entries.values()], unlisted=unlisted, **guard))
    return made


def _entry(row: Row) -> Row:
    """
    A number's row in the cancelled listing, which shows no details.
    """
    return _consistent({name: value for name, value in row.items() if name != "details"})


def show(watch: Watch, view: View, **options: Any) -> Summary:
    """
    Run once over what the provider shows.
    """
    watch.sandbox.inventory = Lying(view.listed, view.entries, unlisted=view.unlisted)
    guard = Guard(percent=view.percent, count=view.count, lifted=view.lifted)
    return watch.run(guard=guard, **options)


def _consistent(row: Row) -> Row:
    """
    JSON as it arrives, so that no two rows share an object.
    """
    sent: Row = json.loads(json.dumps(row))
    return sent


def by_key(rows: list[Row], key: str, *left_out: str) -> dict[Any, list[str]]:
    """
    Rows of one account in one spelling, under their keys, in the order written.
    """
    found: dict[Any, list[str]] = {}
    for row in rows:
        columns = {n: v for n, v in row.items() if n not in {"account", key, *left_out}}
        found.setdefault(row[key], []).append(canonical(columns))
    return found


def told(oracle: Oracle) -> dict[str, dict[Any, list[str]]]:
    """
    The tables as the oracle has them.
    """
    numbers = {uuid: [canonical(row | oracle.seen[uuid])] for uuid, row in oracle.numbers.items()}
    addresses = {
        each: [canonical(row | oracle.addresses_seen[each])]
        for each, row in oracle.addresses.items()
    }
    return {
        "numbers": numbers,
        "addresses": addresses,
        "number_history": {n: list(map(canonical, rows)) for n, rows in oracle.history.items()},
        "address_history": {
            n: list(map(canonical, rows)) for n, rows in oracle.address_history.items()
        },
    }


def found(tables: dict[str, list[Row]], *left_out: str) -> dict[str, dict[Any, list[str]]]:
    """
    The tables as they are, in the oracle's form.
    """
    return {
        "numbers": by_key(tables["numbers"], "uuid", *left_out),
        "addresses": by_key(tables["addresses"], "id", *left_out),
        "number_history": by_key(tables["number_history"], "uuid", "id", *left_out),
        "address_history": by_key(tables["address_history"], "address_id", "id", *left_out),
    }


HOUR, TICK = {"hours": 1}, {"microseconds": 1}


@pytest.fixture
def watch(watch: Watch, reader: Engine) -> Watch:
    """
    Runs whose tables are looked at over a session that is kept.
    """
    watch.engine = reader
    return watch


@profile
@given(steps=st.lists(STEPS, min_size=1, max_size=5))
def test_the_tables_are_what_the_contract_says(
    *,
    watch: Watch,
    clock: Clock,
    reader: Engine,
    wipe: Callable[[], None],
    tally: Counter[str],
    steps: list[Any],
) -> None:
    """
    After each run of any sequence the tables and counts are the oracle's, and history replays.
    """
    wipe()
    clock.time = NEW_YEAR
    oracle = Oracle()
    tables: dict[str, list[Row]] = {}

    before = tables
    row: Row = {}
    shown = views(steps)
    # The last one comes again at once: an hour later a stamp far ahead may have become credible.
    for view, pause in [*((each, HOUR) for each in shown), (shown[-1], TICK)]:
        before = tables
        at = clock.pass_by(**pause)
        summary = show(watch, view)
        oracle.run(view, summary.run_id or 0, at)

        tables = published(reader)
        assert found(tables) == told(oracle)
        assert_history_replays(tables)
        row = watch.last_run()
        assert {name: row[name] for name in oracle.counts} == oracle.counts
        state = "withheld" if oracle.counts["withheld"] else "succeeded"
        assert (row["state"], row["walks"]) == (state, 1)
        assert row["detail"]["early_stamps"] == oracle.early_stamps
        withheld = rows_of(reader, withheld_cancellations)
        assert {each["run_id"] for each in withheld} <= {summary.run_id}
        assert {
            each["uuid"]: (each["evidence"], each["reason"]) for each in withheld
        } == oracle.withheld

    assert tables == before or row["withheld"] < rows_of(reader, sync_runs)[-2]["withheld"]
    rejects = [(row["run_id"], row["uuid"]) for row in rows_of(reader, sync_rejects)]
    assert sorted(rejects, key=str) == sorted(oracle.rejects, key=str)
    assert len(rows_of(reader, sync_runs)) == len(steps) + 1
    tally["sequences"] += 1
    tally["runs"] += len(steps) + 1


PAGINGS = st.fixed_dictionaries({"page_size": st.integers(1, 13), "concurrency": st.integers(1, 5)})


@fewer
@given(
    steps=st.lists(STEPS, min_size=1, max_size=3),
    paging=PAGINGS,
    order=st.randoms(use_true_random=False),
)
def test_how_a_listing_is_paged_makes_no_difference(
    *,
    watch: Watch,
    clock: Clock,
    wipe: Callable[[], None],
    tally: Counter[str],
    steps: list[Any],
    paging: dict[str, int],
    order: Any,
) -> None:
    """
    Page size, order and concurrency change nothing in what two accounts' tables hold in the end.
    """
    wipe()
    clock.time = NEW_YEAR

    with api_for(watch.sandbox, **paging) as paged:
        for view in views(steps):
            clock.pass_by(hours=1)
            show(watch, view)
            order.shuffle(view.listed)
            show(watch, view, account="other", api=paged)

    tables = published(watch.engine)
    assert of_account(tables, "default") == of_account(tables, "other")
    tally["sequences"] += 1
    tally["runs"] += 2 * len(steps)


def of_account(tables: dict[str, list[Row]], account: str) -> dict[str, dict[Any, list[str]]]:
    """
    One account's rows, without the ids of the runs that wrote them.
    """
    rows = {n: [row for row in of if row["account"] == account] for n, of in tables.items()}
    return found(rows, "run_id", "first_run_id", "changed_run_id")
