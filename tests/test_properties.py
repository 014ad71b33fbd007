"""
Promises that hold for whatever the provider lists, one run after the other.
"""

from __future__ import annotations

import json
import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle import TRACKED, Oracle, canonical
from support import (
    NEW_YEAR,
    Row,
    address,
    api_for,
    number_row,
    published,
    rows_of,
)
from syncsvc.schema import sync_rejects, sync_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from support import Clock, Watch

settings.register_profile(
    "usual",
    max_examples=45,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile(
    "soak",
    settings.get_profile("usual"),
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "5000")),
)
# The second property tells nothing new about single rows, and takes fewer examples.
profile = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))
fewer = settings(profile, max_examples=profile.max_examples // 3)

PLACES = range(1, 7)
STAMPS = ("2016-01-03 17:48:59", "2020-02-29 23:59:59", "2099-01-01 00:00:00")
ENDS = ("2019-05-06 07:08:09", "2021-01-01 00:00:00")
ABSENT = object()

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "number_e164": st.sampled_from(["+441245000001", "+35312345678"]),
    "range_name": st.sampled_from(["London", "", None]),
    "country_iso": st.sampled_from(["UK", "GB", "IE", "??", None]),
    "monthly_charge": st.sampled_from(["0.3", 0.3, 1, "1.00000", 12.5, None]),
    "setup_charge": st.sampled_from(["0", 0, "99999999.9999", None]),
    "status": st.sampled_from(["Reserved", "Reserved", "Active", "Cancelled", "cANCELLED", None]),
    "provisioned": st.sampled_from(["", None, *STAMPS]),
    "cancelled": st.sampled_from([None, None, None, "", *ENDS]),
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
    st.fixed_dictionaries({"details.cancelled": st.sampled_from(ENDS)}),
)
RETURNS = st.fixed_dictionaries(
    {
        "status": st.just("Active"),
        "cancelled": st.none(),
        "details.cancelled": st.none(),
    },
    optional={"provisioned": FIELDS["provisioned"], "label": st.sampled_from([1, True])},
)
# What happens to a number between two runs: it goes, comes as another one, or is edited.
HAPPENINGS = st.one_of(
    st.none(),
    ENDINGS,
    RETURNS,
    st.fixed_dictionaries(FIELDS),
    st.fixed_dictionaries({}, optional=FIELDS),
    st.sampled_from(sorted(FIELDS)).flatmap(
        lambda name: st.fixed_dictionaries({name: FIELDS[name]})
    ),
)
STEPS = st.tuples(
    st.dictionaries(st.sampled_from(PLACES), HAPPENINGS, max_size=6),
    st.dictionaries(st.sampled_from([1, 2, 3]), CONTENTS, max_size=1),
    st.randoms(use_true_random=False),
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
        top["uuid"] = f"number {place}"
    return number_row(place, details, **top)


def listings(steps: list[Any]) -> list[list[Row]]:
    """
    The listing of each run, by what happened before it, in any order.
    """
    fields: dict[int, Row] = {}
    contents: dict[int, Row] = {}
    made = []
    for happenings, rewritten, random in steps:
        contents |= rewritten
        for place, happening in happenings.items():
            if happening is None:
                fields.pop(place, None)
            else:
                fields[place] = fields.get(place, {}) | happening
        rows = [_consistent(on_the_wire(n, each, contents)) for n, each in fields.items()]
        random.shuffle(rows)
        made.append(rows)
    return made


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


def assert_history_replays(tables: dict[str, list[Row]]) -> None:
    """
    The last row of a number is its state, and rows follow each other without a gap.
    """
    histories: dict[str, list[Row]] = {}
    for row in tables["number_history"]:
        histories.setdefault(row["uuid"], []).append(row)
    for number in tables["numbers"]:
        rows = histories.pop(number["uuid"])
        assert [row["valid_to"] for row in rows].count(None) == 1
        assert rows[-1]["valid_to"] is None
        assert all(one["valid_to"] == other["valid_from"] for one, other in pairwise(rows))
        assert {name: rows[-1][name] for name in TRACKED} == {
            name: number[name] for name in TRACKED
        }
        assert rows[0]["changes"] is None
        assert all(row["changes"] for row in rows[1:])
        assert len({row["run_id"] for row in rows}) >= len(rows) - 1
    assert histories == {}


@profile
@given(steps=st.lists(STEPS, min_size=1, max_size=5))
def test_the_tables_are_what_the_contract_says(
    watch: Watch, clock: Clock, engine: Engine, wipe: Callable[[], None], steps: list[Any]
) -> None:
    """
    After each run of any sequence the tables and counts are the oracle's, and history replays.
    """
    wipe()
    clock.time = NEW_YEAR
    oracle = Oracle()
    tables: dict[str, list[Row]] = {}

    for listing in listings(steps):
        at = clock.pass_by(hours=1)
        summary = watch.see(*listing)
        oracle.run(listing, summary.run_id or 0, at)

        tables = published(engine)
        assert found(tables) == told(oracle)
        assert_history_replays(tables)
        row = watch.last_run()
        assert {name: row[name] for name in oracle.counts} == oracle.counts
        assert (row["state"], row["walks"]) == ("succeeded", 1)

    rejects = [(row["run_id"], row["uuid"]) for row in rows_of(engine, sync_rejects)]
    assert sorted(rejects, key=str) == sorted(oracle.rejects, key=str)
    clock.pass_by(hours=1)
    watch.run()
    assert published(engine) == tables
    assert len(rows_of(engine, sync_runs)) == len(steps) + 1


PAGINGS = st.fixed_dictionaries({"page_size": st.integers(1, 13), "concurrency": st.integers(1, 5)})


@fewer
@given(
    steps=st.lists(STEPS, min_size=1, max_size=3),
    paging=PAGINGS,
    order=st.randoms(use_true_random=False),
)
def test_how_a_listing_is_paged_makes_no_difference(
    watch: Watch,
    clock: Clock,
    wipe: Callable[[], None],
    steps: list[Any],
    paging: dict[str, int],
    order: Any,
) -> None:
    """
    Page size, order and concurrency change nothing in what two accounts' tables hold in the end.
    """
    wipe()
    clock.time = NEW_YEAR

    with api_for(watch.sandbox, page_size=paging["page_size"]) as paged:
        for listing in listings(steps):
            clock.pass_by(hours=1)
            watch.see(*listing)
            order.shuffle(listing)
            options = {"api": paged, "concurrency": paging["concurrency"]}
            watch.see(*listing, account="other", **options)

    tables = published(watch.engine)
    assert of_account(tables, "default") == of_account(tables, "other")


def of_account(tables: dict[str, list[Row]], account: str) -> dict[str, dict[Any, list[str]]]:
    """
    One account's rows, without the ids of the runs that wrote them.
    """
    rows = {n: [row for row in of if row["account"] == account] for n, of in tables.items()}
    return found(rows, "run_id", "first_run_id", "changed_run_id")
