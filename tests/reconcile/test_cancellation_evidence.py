"""
On what evidence a number is cancelled, and when that is withheld.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from support.build import (
    NEW_YEAR,
    STAMP,
    address,
    api_for,
    number_row,
    published,
    rows_of,
    uuid_at,
)
from support.listings import (
    GONE,
    GONE_AT,
    UNREADABLE,
    Blind,
    Split,
    entry,
    live,
    searches,
    show,
)
from syncsvc.reconcile.cancellation_evidence import SEARCHES_AT_MOST
from syncsvc.reconcile.withhold_cancellations import Guard
from syncsvc.sandbox import Behaviour, Fault, Inventory
from syncsvc.schema.tables import (
    number_history,
    numbers,
    sync_rejects,
    sync_runs,
    withheld_cancellations,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from support.build import Clock, Result, Row, Watch
    from syncsvc.sandbox import Sandbox

pytestmark = pytest.mark.neighbour
BEGAN = datetime(2016, 1, 3, 17, 48, 59, tzinfo=UTC)
NEVER = Guard(percent=100.0, count=10**6)


def asked(sandbox: Sandbox) -> set[str]:
    """
    The paths that were asked for.
    """
    return {each.path for each in sandbox.requests}


def detail(watch: Watch) -> dict[str, Any]:
    """
    What the last run's row says beside its counts.
    """
    found: dict[str, Any] = watch.last_run()["detail"]
    return found


def last(watch: Watch, place: int = 1) -> Row:
    """
    The newest history row of a number.
    """
    return watch.history(place)[-1]


def told(row: Row) -> tuple[Any, ...]:
    """
    What a history row rests on, and since when.
    """
    return row["event"], row["evidence"], row["occurred_at_source"], row["occurred_at"]


@pytest.mark.parametrize(
    "row",
    [
        number_row(status="CANCELLED"),
        number_row(details={"cancelled": GONE_AT}),
        number_row(cancelled=GONE_AT),
    ],
    ids=["status", "stamp in details", "stamp"],
)
def test_a_numbers_own_row_is_evidence(watch: Watch, clock: Clock, row: Row) -> None:
    """
    A row that says the number is cancelled cancels it, without a search.
    """
    watch.see(number_row())
    start = clock.pass_by(hours=1)
    summary = watch.see(row)

    stamped = row["status"] == "Reserved"
    by = ("provider", GONE) if stamped else ("observed", start)
    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 1, 0)
    assert told(last(watch)) == ("cancelled", "listing", *by)
    assert searches(watch.sandbox) == []


def test_own_rows_are_no_matter_of_the_guard(watch: Watch) -> None:
    """
    A listing that shows every number as cancelled is believed.
    """
    watch.see(*live(20))
    summary = watch.see(*(number_row(place, status="Cancelled") for place in range(1, 21)))

    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 20, 0)


def test_the_cancelled_listing_is_evidence(watch: Watch, clock: Clock) -> None:
    """
    An entry's stamp is when the number was cancelled, and what it sends is kept.
    """
    first = clock.time
    show(watch, [number_row(1, number_address=address(1)), number_row(2)])
    clock.pass_by(hours=1)
    summary = show(watch, [number_row(2)], [entry(1, monthly_charge="9")])

    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 1, 0)
    assert told(last(watch)) == ("cancelled", "cancelled_listing", "provider", GONE)
    row = watch.number()
    assert (row["lifecycle"], row["status"], row["cancelled_at"]) == (
        "cancelled",
        "Cancelled",
        GONE,
    )
    assert (row["monthly_charge"], row["number_address_id"]) == (9, 1)
    assert (row["provisioned_at"], row["first_seen_at"]) == (BEGAN, first)
    assert detail(watch)["cancelled_listing"] == "1 rows on 1 pages"


def test_an_entry_without_a_stamp_is_evidence_as_of_the_run(watch: Watch, clock: Clock) -> None:
    """
    If the entry does not say when, the number was cancelled when the run saw it.
    """
    show(watch, live(2))
    start = clock.pass_by(hours=1)
    show(watch, [number_row(2)], [entry(1, cancelled="")])

    assert told(last(watch)) == ("cancelled", "cancelled_listing", "observed", start)


def test_numbers_cancelled_long_ago_get_both_rows_on_the_first_run(watch: Watch) -> None:
    """
    A number that was never seen live is provisioned, then cancelled, each when the provider says.
    """
    summary = show(watch, [number_row(2)], [entry(1)])

    assert [told(row) for row in watch.history(1)] == [
        ("provisioned", "cancelled_listing", "provider", BEGAN),
        ("cancelled", "cancelled_listing", "provider", GONE),
    ]
    beginning, end = watch.history(1)
    assert (beginning["valid_to"], end["valid_to"]) == (beginning["valid_from"], None)
    assert (summary.provisioned, summary.cancelled, summary.listed) == (2, 1, 1)


def test_a_second_run_over_the_same_entries_writes_nothing(watch: Watch, engine: Engine) -> None:
    """
    An entry that was taken once is no news.
    """
    show(watch, live(3), [entry(9)])
    show(watch, live(2), [entry(9), entry(3)])
    before = published(engine)
    summary = watch.run()

    assert published(engine) == before
    assert (summary.state, summary.cancelled, summary.unchanged) == ("succeeded", 0, 2)


def test_off_leaves_the_cancelled_listing_alone(watch: Watch) -> None:
    """
    With `off` nothing is asked of the cancelled listing, and its absence has to be confirmed.
    """
    show(watch, live(2), cancelled_listing="off")
    show(watch, [number_row(2)], [entry(1), entry(7)], cancelled_listing="off")

    assert asked(watch.sandbox) == {"/api/numbers"}
    assert last(watch)["evidence"] == "absence"
    assert rows_of(watch.engine, numbers, uuid=uuid_at(7)) == []
    assert detail(watch)["cancelled_listing"] == "off"


@pytest.mark.parametrize(("way", "status"), [("forbidden", 403), ("not_found", 404)])
def test_auto_goes_without_a_listing_that_there_is_not(watch: Watch, way: Any, status: int) -> None:
    """
    An account without a cancelled listing is synced all the same, and the run says so.
    """
    show(watch, live(2))
    watch.sandbox.behaviour = Behaviour(cancelled_listing=way)
    summary = show(watch, [number_row(2)], [entry(1)])

    assert (summary.state, summary.cancelled) == ("succeeded", 1)
    assert last(watch)["evidence"] == "absence"
    said = detail(watch)["cancelled_listing"]
    assert said.startswith("not available: ")
    assert f"{status} from /api/numbers/cancelled" in said


@pytest.mark.parametrize("way", ["forbidden", "not_found"])
def test_on_needs_the_cancelled_listing(watch: Watch, engine: Engine, way: Any) -> None:
    """
    With `on` a run without the cancelled listing fails and publishes nothing.
    """
    show(watch, live(2))
    before = published(engine)
    watch.sandbox.behaviour = Behaviour(cancelled_listing=way)
    summary = show(watch, live(3), cancelled_listing="on")

    assert summary.state == "failed"
    assert "/api/numbers/cancelled" in str(summary.error)
    assert published(engine) == before


@pytest.mark.parametrize("setting", ["auto", "on"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="status", endpoint="cancelled", status=500, times=100),
        Fault(kind="status", endpoint="cancelled", status=400, times=100),
        Fault(kind="html", endpoint="cancelled", status=200, times=100),
    ],
    ids=["unavailable", "refused", "proxy page"],
)
def test_any_other_failure_of_the_cancelled_listing_fails_the_run(
    watch: Watch, engine: Engine, fault: Fault, setting: str
) -> None:
    """
    A cancelled listing that there is, but that can't be had, is a failure in `auto`, too.
    """
    show(watch, live(2))
    before = published(engine)
    watch.sandbox.inject(fault)
    summary = show(watch, live(3), cancelled_listing=setting)

    assert (summary.state, watch.last_run()["state"]) == ("failed", "failed")
    assert published(engine) == before


def test_a_second_page_that_is_forbidden_does_not_make_half_a_listing(watch: Watch) -> None:
    """
    With `auto` a cancelled listing that is refused midway is told as not available.
    """
    watch.sandbox.inject(Fault(kind="status", endpoint="cancelled", status=403, skip=1, times=9))
    with api_for(watch.sandbox, page_size=1, concurrency=1) as api:
        summary = show(watch, live(2), [entry(7), entry(8)], api=api)

    assert summary.state == "succeeded"
    assert detail(watch)["cancelled_listing"].startswith("not available: ")


def test_a_listed_number_wins_over_its_older_entry(watch: Watch) -> None:
    """
    What the listing shows as live is live, although the cancelled listing has an entry for it.
    """
    show(watch, live(2), [entry(1)])
    summary = watch.run()

    assert watch.number()["lifecycle"] == "live"
    assert watch.events() == ["provisioned"]
    assert (summary.state, summary.unchanged) == ("succeeded", 2)


@pytest.mark.parametrize(
    ("provisioned", "searched"), [("2025-07-01 00:00:00", False), (STAMP, True)]
)
def test_an_older_entry_does_not_cancel_what_slips_out_of_an_incomplete_walk(
    watch: Watch, provisioned: str, *, searched: bool
) -> None:
    """
    A listed number that an incomplete walk missed stays live, whatever its old entry says.
    """
    row = number_row(1, provisioned=provisioned)
    show(watch, [row, number_row(2)], [entry(1)])
    watch.sandbox.behaviour = Behaviour(num_results="absent")
    with api_for(watch.sandbox, page_size=1) as api:
        summary = show(watch, [number_row(2)], [entry(1)], [row], api=api)

    assert detail(watch)["complete"] is False
    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 0, 0)
    assert watch.events() == ["provisioned"]
    assert bool(searches(watch.sandbox)) is searched


def test_an_entry_beside_an_incomplete_walk_needs_a_search(watch: Watch) -> None:
    """
    Without a proof of the listing an entry is believed if a search confirms it, else withheld.
    """
    show(watch, live(3))
    watch.sandbox.behaviour = Behaviour(num_results="absent")
    refused = Fault(kind="status", endpoint="search", status=403)
    watch.sandbox.inject(refused)
    doubtful = show(watch, [number_row(2), number_row(3)], [entry(1)])
    watch.sandbox.behaviour = Behaviour()
    confirmed = show(watch, [number_row(2), number_row(3)], [entry(1)])

    assert (doubtful.state, doubtful.cancelled, doubtful.withheld) == ("withheld", 0, 1)
    assert (confirmed.state, confirmed.cancelled, confirmed.withheld) == ("succeeded", 1, 0)


def test_an_entry_that_is_live_by_its_own_status_is_no_evidence(watch: Watch) -> None:
    """
    A host that sends its usual listing instead of the cancelled one ends no number.
    """
    show(watch, live(40))
    watch.sandbox.inject(Fault(kind="status", endpoint="search", status=403, times=100))
    mirrored = [*live(40), number_row(41, status="Active")]
    summary = show(watch, live(20), mirrored)

    assert (summary.state, summary.cancelled, summary.withheld) == ("withheld", 0, 20)
    assert watch.history(41) == []
    assert "41 of them live" in detail(watch)["cancelled_listing"]


@pytest.mark.parametrize("said", [{"status": None}, {"status": " "}, {"status": "cancelled"}])
def test_an_entry_that_says_nothing_else_is_evidence(watch: Watch, said: Row) -> None:
    """
    An entry needs neither a status nor a stamp of its own.
    """
    show(watch, live(2))
    summary = show(watch, [number_row(2)], [entry(cancelled="", **said)])

    assert (summary.cancelled, last(watch)["evidence"]) == (1, "cancelled_listing")


def test_the_story_of_a_cancellation_is_told_once(watch: Watch, clock: Clock) -> None:
    """
    A number that came back is not cancelled again by the entry that cancelled it before.
    """
    show(watch, live(2))
    clock.pass_by(hours=1)
    show(watch, [number_row(2)], [entry(1)])
    clock.pass_by(hours=1)
    show(watch, live(2), [entry(1)])
    clock.pass_by(hours=1)
    summary = show(watch, [number_row(2)], [entry(1)], [number_row(1)])

    assert watch.events() == ["provisioned", "cancelled", "reinstated"]
    assert (summary.state, summary.cancelled) == ("succeeded", 0)


def test_a_search_contradicts_an_entry_that_may_be_old(watch: Watch) -> None:
    """
    A number that is not listed, but that a search finds, is live although an entry has it as gone.
    """
    show(watch, live(2))
    summary = show(watch, [number_row(2)], [entry(1)], [number_row(1, status="Active")])

    assert (summary.state, summary.cancelled, summary.changed) == ("succeeded", 0, 1)
    assert watch.number()["status"] == "Active"


def test_a_new_entry_is_told_after_a_search_that_does_not_return_the_number(
    watch: Watch, clock: Clock
) -> None:
    """
    An entry from after the last run is believed too only if nothing contradicts it.
    """
    show(watch, live(2))
    clock.pass_by(hours=2)
    gone = show(watch, [number_row(2)], [entry(1, cancelled="2026-01-01 01:00:00")])

    assert (gone.state, gone.cancelled) == ("succeeded", 1)
    assert len(searches(watch.sandbox)) == 1


def test_an_absence_that_a_search_confirms_is_a_cancellation(watch: Watch, clock: Clock) -> None:
    """
    The number is cancelled as of the run, and keeps its status and all the rest.
    """
    show(watch, [number_row(1, number_address=address(1), status="Active"), number_row(2)])
    start = clock.pass_by(hours=1)
    summary = show(watch, [number_row(2)])

    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 1, 0)
    assert told(last(watch)) == ("cancelled", "absence", "observed", start)
    row = watch.number()
    assert (row["status"], row["number_address_id"], row["cancelled_at"]) == ("Active", 1, start)
    assert searches(watch.sandbox) == ["000001"]
    assert detail(watch) | {"missing": 1, "searches": 1, "found": 0, "withheld": 0} == detail(watch)


@pytest.mark.parametrize(
    ("local", "digits"),
    [
        ("01245 000-001", "01245000001"),
        ("01245 X 001", "01245001"),
        ("", "441245000001"),
        (None, "441245000001"),
    ],
)
def test_the_search_is_for_the_local_numbers_digits(
    watch: Watch, local: str | None, digits: str
) -> None:
    """
    What is no digit is left out, and if there are none the E.164 number takes their place.
    """
    show(watch, [number_row(1, number=local), number_row(2)])
    show(watch, [number_row(2)])

    assert searches(watch.sandbox) == [digits]


def test_a_search_reads_more_than_one_page(watch: Watch) -> None:
    """
    A number on the second page of a search result was found.
    """
    rows = [number_row(1, number_e164="+44124500000100"), *live(4, first=10)]
    show(watch, rows)
    watch.sandbox.inventory = Blind(rows[1:])
    watch.sandbox.inventory.found = (*live(2, first=50), rows[0])
    with api_for(watch.sandbox, page_size=2) as api:
        summary = watch.run(api=api)

    assert (summary.state, summary.cancelled, detail(watch)["found"]) == ("succeeded", 0, 1)


def test_a_number_that_a_search_finds_is_published_as_it_stands(watch: Watch) -> None:
    """
    The listing forgot it, yet it is live, with what changed in it and an address of its own.
    """
    show(watch, live(4))
    found = [number_row(1), number_row(2, status="Active", number_address=address(1))]
    summary = show(watch, [number_row(3, status="Active"), number_row(4)], found=found)

    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 0, 0)
    assert (summary.changed, summary.address_changes) == (2, 1)
    assert (summary.listed, summary.unchanged) == (2, 1)  # neither was read from the listing
    assert watch.events(1) == ["provisioned"]
    assert last(watch, 2)["changes"].keys() == {"status", "number_address_id"}
    assert detail(watch)["found"] == 2


def test_a_number_that_a_search_finds_cancelled_is_cancelled_by_its_own_row(watch: Watch) -> None:
    """
    A search result may itself say that the number is gone.
    """
    show(watch, live(2))
    summary = show(watch, [number_row(2)], found=[number_row(1, cancelled=GONE_AT)])

    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 1, 0)
    assert told(last(watch)) == ("cancelled", "listing", "provider", GONE)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="status", endpoint="search", status=403, times=1),
        Fault(kind="status", endpoint="search", status=503, times=4),
        Fault(kind="reset", endpoint="search", times=4),
        Fault(kind="html", endpoint="search", status=200, times=4),
        Fault(kind="body", endpoint="search", status=200, body=b'{"numbers": []}', times=1),
    ],
    ids=["refused", "unavailable", "reset", "proxy page", "no count"],
)
def test_a_search_that_fails_leaves_its_number_as_it_was(watch: Watch, fault: Fault) -> None:
    """
    The number stays live and is withheld; the rest is published, and the next run settles it.
    """
    show(watch, live(3))
    watch.sandbox.inject(fault)
    before = watch.number()
    summary = show(watch, [number_row(2), number_row(3, status="Active"), number_row(4)])

    row = watch.last_run()
    assert (summary.state, summary.cancelled, summary.withheld) == ("withheld", 0, 1)
    assert (row["state"], row["withheld"], row["error"]) == ("withheld", 1, None)
    assert (summary.changed, summary.provisioned) == (1, 1)
    assert watch.number() == before
    assert detail(watch)["first_withheld"] == ["+441245000001"]
    again = watch.run()
    assert (again.state, again.cancelled, again.withheld) == ("succeeded", 1, 0)


def test_an_unreadable_row_without_a_uuid_in_a_search_result_proves_nothing(watch: Watch) -> None:
    """
    Whether that row is the number's own can't be told, so that the number stays as it was.
    """
    show(watch, live(2))
    before = watch.number()
    summary = show(watch, [number_row(2)], found=[{"number_e164": "+441245000001"}])

    assert (summary.state, summary.cancelled, summary.withheld) == ("withheld", 0, 1)
    assert watch.number() == before


@pytest.mark.parametrize("entries", [[], [entry()]], ids=["absent", "entered"])
def test_a_number_that_a_search_shows_unreadably_stays_as_it_was(
    watch: Watch, engine: Engine, entries: list[Row]
) -> None:
    """
    Its row is kept as a reject, and nothing is taken for a cancellation.
    """
    show(watch, live(2))
    before = watch.number()
    summary = show(watch, [number_row(2)], entries, [number_row(1, **UNREADABLE)])

    assert (summary.cancelled, summary.rejected, summary.listed) == (0, 1, 1)
    assert (summary.state, summary.withheld) == ("withheld", 1)
    assert watch.number() == before
    evidence = "cancelled_listing" if entries else "absence"
    (doubtful,) = rows_of(engine, withheld_cancellations)
    assert (doubtful["evidence"], doubtful["reason"]) == (evidence, "contradicted")
    assert doubtful["number_e164"] == "+441245000001"
    (reject,) = rows_of(engine, sync_rejects)
    assert (reject["uuid"], json.loads(reject["payload"])["monthly_charge"]) == (uuid_at(1), "x")
    assert reject["reason"].startswith("search: monthly_charge: ")


def test_a_run_searches_for_200_numbers_at_most(watch: Watch) -> None:
    """
    Absences beyond the 200th are withheld, and taken by the next run.
    """
    count = SEARCHES_AT_MOST + 5
    show(watch, live(count + 1))
    first = show(watch, live(1, first=count + 1), guard=NEVER)
    asked_first = len(searches(watch.sandbox))
    second = watch.run(guard=NEVER)

    assert (SEARCHES_AT_MOST, asked_first, len(searches(watch.sandbox))) == (200, 200, 205)
    assert (first.state, first.cancelled, first.withheld) == ("withheld", 200, 5)
    assert (second.state, second.cancelled, second.withheld) == ("succeeded", 5, 0)


def test_the_first_200_numbers_are_searched_for_in_their_own_order(watch: Watch) -> None:
    """
    Which absences wait for the next run depends on the numbers, not on their uuids.
    """
    count = SEARCHES_AT_MOST + 2
    e164 = {place: f"+4412450{999 - place:05d}" for place in range(1, count + 1)}
    rows = [number_row(place, number_e164=e164[place]) for place in e164]
    show(watch, [*rows, *live(1, first=count + 1)])
    show(watch, live(1, first=count + 1), guard=NEVER)

    assert detail(watch)["first_withheld"] == [e164[2], e164[1]]


def test_what_the_cancelled_listing_tells_takes_no_search_from_an_absence(watch: Watch) -> None:
    """
    Absences are searched for first, since an entry beside a proved listing is evidence by itself.
    """
    show(watch, live(SEARCHES_AT_MOST + 2))
    entries = [entry(place) for place in range(1, SEARCHES_AT_MOST)]
    summary = show(watch, live(1, first=SEARCHES_AT_MOST + 2), entries, guard=NEVER)

    assert (summary.state, summary.withheld) == ("succeeded", 0)
    assert summary.cancelled == SEARCHES_AT_MOST + 1
    assert len(searches(watch.sandbox)) == SEARCHES_AT_MOST
    assert {f"{SEARCHES_AT_MOST + n:06d}" for n in (0, 1)} <= set(searches(watch.sandbox))


@pytest.mark.parametrize(
    ("absences", "size", "percent", "count", "trips"),
    [
        (10, 10, 10.0, 10, False),
        (11, 11, 10.0, 10, True),
        (11, 110, 10.0, 10, False),
        (11, 109, 10.0, 10, True),
        (12, 110, 10.0, 10, True),
        (0, 0, 0.0, 0, False),
        (1, 1000, 0.0, 0, True),
        (1, 1, 100.0, 0, False),
        (29, 1000, 2.9, 10, False),
        (30, 1000, 2.9, 10, True),
        (100, 100, 10.0, 100, False),
    ],
)
def test_when_the_guard_trips(
    absences: int, size: int, percent: float, count: int, *, trips: bool
) -> None:
    """
    Share and count both have to be exceeded, and neither if it was lifted.
    """
    assert Guard(percent=percent, count=count).trips(absences, size) is trips
    assert Guard(percent=percent, count=count, lifted=True).trips(absences, size) is False


@pytest.mark.parametrize(
    ("absences", "size", "withheld"), [(10, 20, 0), (11, 20, 11), (11, 110, 0), (11, 109, 11)]
)
def test_the_guard_withholds_what_exceeds_share_and_count(
    watch: Watch, absences: int, size: int, withheld: int
) -> None:
    """
    10 absences pass whatever their share, and 10 % whatever their count.
    """
    show(watch, live(size))
    summary = show(watch, live(size - absences, first=absences + 1))

    assert (summary.withheld, summary.cancelled) == (withheld, absences - withheld)
    assert summary.state == ("withheld" if withheld else "succeeded")


def test_what_a_search_finds_does_not_count_for_the_guard(watch: Watch) -> None:
    """
    Of 12 missing numbers two are found, so that 10 are absent, which passes.
    """
    show(watch, live(20))
    summary = show(watch, live(8, first=13), found=live(2))

    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 10, 0)


def test_the_guard_goes_by_the_settings(watch: Watch) -> None:
    """
    Another share and another count are what a run goes by.
    """
    show(watch, live(20))
    strict = show(watch, live(18, first=3), guard=Guard(percent=5.0, count=1))
    loose = watch.run(guard=Guard(percent=10.0, count=1))

    assert (strict.withheld, loose.withheld, loose.cancelled) == (2, 0, 2)


def test_an_empty_listing_is_always_withheld(watch: Watch, engine: Engine) -> None:
    """
    A listing of nothing cancels not even one number, and asks no search about it.
    """
    show(watch, live(1))
    before = published(engine)
    summary = show(watch, [], guard=NEVER)

    assert (summary.state, summary.cancelled, summary.withheld) == ("withheld", 0, 1)
    assert published(engine) == before
    assert searches(watch.sandbox) == []


def test_the_guard_lets_the_rest_through(watch: Watch) -> None:
    """
    New numbers, changes and what the cancelled listing tells are published; absences are not.
    """
    show(watch, live(40))
    rows = [number_row(40, status="Active"), number_row(41)]
    summary = show(watch, rows, [entry(place) for place in range(1, 21)])

    assert (summary.state, summary.withheld) == ("withheld", 19)
    assert (summary.cancelled, summary.changed, summary.provisioned) == (20, 1, 1)
    assert {last(watch, place)["evidence"] for place in range(1, 21)} == {"cancelled_listing"}
    assert {watch.number(place)["lifecycle"] for place in range(21, 41)} == {"live"}


def test_the_cancelled_listing_counts_beside_an_empty_listing(watch: Watch) -> None:
    """
    If the provider says that every number was cancelled, an empty listing is no surprise.
    """
    show(watch, live(15))
    summary = show(watch, [], [entry(place) for place in range(1, 16)])

    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 15, 0)


def test_the_next_run_judges_afresh(watch: Watch) -> None:
    """
    What was withheld stays live, is withheld again, and is no story once it is listed again.
    """
    show(watch, live(20))
    once = show(watch, live(5))
    twice = watch.run()
    back = show(watch, live(20))

    assert (once.withheld, twice.withheld, twice.state) == (15, 15, "withheld")
    assert (back.state, back.withheld, back.unchanged) == ("succeeded", 0, 20)
    assert watch.events(20) == ["provisioned"]


def test_lifting_the_guard_accepts(watch: Watch) -> None:
    """
    With the guard lifted what would be withheld is cancelled, on the evidence that there is.
    """
    show(watch, live(20))
    withheld = show(watch, live(5))
    accepted = watch.run(guard=Guard(lifted=True))

    assert (withheld.withheld, accepted.withheld, accepted.cancelled) == (15, 0, 15)
    assert (accepted.state, last(watch, 20)["evidence"]) == ("succeeded", "absence")


def test_lifting_the_guard_accepts_an_empty_listing(watch: Watch) -> None:
    """
    An account that was closed can be told so.
    """
    show(watch, live(3))
    summary = show(watch, [], guard=Guard(lifted=True))

    assert (summary.state, summary.cancelled) == ("succeeded", 3)


def test_lifting_the_guard_lifts_the_limit_of_searches(watch: Watch) -> None:
    """
    Absences beyond the 200 that are searched for are accepted with them.
    """
    count = SEARCHES_AT_MOST + 5
    show(watch, live(count + 1))
    summary = show(watch, live(1, first=count + 1), guard=Guard(lifted=True))

    assert len(searches(watch.sandbox)) == SEARCHES_AT_MOST
    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", count, 0)


def test_a_lifted_guard_takes_nothing_where_a_search_finds_a_number(watch: Watch) -> None:
    """
    One number that a search finds shows that the listing is not to be trusted.
    """
    show(watch, live(20))
    summary = show(watch, live(5), found=[number_row(20)], guard=Guard(lifted=True))

    assert (summary.state, summary.cancelled, summary.withheld) == ("withheld", 0, 14)
    assert detail(watch)["found"] == 1


def test_a_lifted_guard_does_not_believe_a_search_that_failed(watch: Watch) -> None:
    """
    A number whose search failed stays live, and the others go.
    """
    show(watch, live(20))
    watch.sandbox.inject(Fault(kind="status", endpoint="search", status=403))
    summary = show(watch, live(5), guard=Guard(lifted=True))

    assert (summary.state, summary.cancelled, summary.withheld) == ("withheld", 14, 1)


def test_an_incomplete_walk_infers_nothing_even_with_a_lifted_guard(watch: Watch) -> None:
    """
    Without a proof that the listing is whole no absence means anything.
    """
    show(watch, live(20))
    watch.sandbox.behaviour = Behaviour(num_results="absent")
    summary = show(watch, live(5), guard=Guard(lifted=True))

    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 0, 0)
    assert searches(watch.sandbox) == []


def test_the_warning_names_ten_numbers_and_both_commands(watch: Watch) -> None:
    """
    Whoever reads the log knows what was withheld, how to look and how to accept.
    """
    show(watch, live(20))
    with capture_logs() as logs:
        show(watch, live(5))

    (warning,) = [each for each in logs if each["event"] == "sync.cancellations_withheld"]
    assert warning["see"] == "withheld_cancellations"
    assert (warning["log_level"], warning["count"]) == ("warning", 15)
    first = [f"+441245{place:06d}" for place in range(6, 16)]
    assert warning["first"] == detail(watch)["first_withheld"] == first
    assert warning["to_list"] == "syncsvc report withheld"
    assert warning["to_look"] == "syncsvc sync --dry-run --allow-mass-cancel"
    assert warning["to_accept"] == "syncsvc sync --allow-mass-cancel"


@pytest.fixture
def command(
    watch: Watch,
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Result]:
    """
    The command over the same provider and the same database, if 15 of 20 numbers are missing.
    """
    url = watch.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("SYNCSVC_API_URL", watch.sandbox.url)
    monkeypatch.setenv("SYNCSVC_API_TOKEN", watch.sandbox.token)
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", url)
    show(watch, live(20))
    watch.sandbox.inventory = Inventory(live(5))
    capsys.readouterr()
    return cli


def test_withheld_cancellations_exit_with_3(watch: Watch, command: Callable[..., Result]) -> None:
    """
    The command says what was withheld and both ways on, planned or done.
    """
    planned = command("sync", "--dry-run")
    runs_after_plan = len(rows_of(watch.engine, sync_runs))
    done = command("sync")

    assert (planned.code, done.code, runs_after_plan) == (3, 3, 1)
    for result in (planned, done):
        assert "syncsvc report withheld" in result.out
        assert "syncsvc sync --dry-run --allow-mass-cancel" in result.out
        assert "syncsvc sync --allow-mass-cancel" in result.out
        assert "+441245000006" in result.err
    assert watch.last_run()["state"] == "withheld"


def test_json_counts_what_was_withheld(command: Callable[..., Result]) -> None:
    """
    `--json` gives state and count, a plan also the numbers, and exits alike.
    """
    planned = command("sync", "--json", "--dry-run")
    done = command("sync", "--json")

    assert (planned.code, done.code) == (3, 3)
    found = [json.loads(result.out) for result in (planned, done)]
    assert [each["state"] for each in found] == ["planned", "withheld"]
    assert [(each["withheld"], each["cancelled"]) for each in found] == [(15, 0)] * 2
    withheld = [row["number_e164"] for row in found[0]["withheld_cancellations"]]
    assert withheld == [f"+441245{place:06d}" for place in range(6, 21)]
    assert found[0]["number_history"] == []
    assert found[0].keys() - found[1].keys() == {
        "number_history",
        "address_history",
        "withheld_cancellations",
    }


def test_allow_mass_cancel_accepts(watch: Watch, command: Callable[..., Result]) -> None:
    """
    The flag accepts what was withheld, and the command is done.
    """
    planned = command("sync", "--allow-mass-cancel", "--dry-run", "--json")
    done = command("sync", "--allow-mass-cancel", "--json")

    assert (planned.code, done.code) == (0, 0)
    assert json.loads(planned.out)["cancelled"] == json.loads(done.out)["cancelled"] == 15
    written = rows_of(watch.engine, number_history, event="cancelled")
    assert [row["uuid"] for row in json.loads(planned.out)["number_history"]] == [
        row["uuid"] for row in written
    ]
    assert watch.number(20)["lifecycle"] == "cancelled"


def test_the_settings_reach_the_run(
    watch: Watch, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Guard and cancelled listing are as the environment says.
    """
    monkeypatch.setenv("SYNCSVC_CANCEL_GUARD_PERCENT", "75")
    monkeypatch.setenv("SYNCSVC_CANCELLED_LISTING", "off")
    watch.sandbox.requests.clear()
    result = command("sync", "--json")

    assert (result.code, json.loads(result.out)["cancelled"]) == (0, 15)
    assert asked(watch.sandbox) == {"/api/numbers"}


def test_a_number_whose_row_turned_unreadable_stays_as_it_was(watch: Watch) -> None:
    """
    It is neither changed nor cancelled, not even by an entry; other absences count.
    """
    show(watch, live(3))
    before = watch.number(1), watch.history(1)
    summary = show(watch, [number_row(1, **UNREADABLE, status="Active"), number_row(2)], [entry(1)])

    assert (watch.number(1), watch.history(1)) == before
    assert (summary.state, summary.rejected, summary.withheld) == ("succeeded", 1, 0)
    assert (summary.listed, summary.unchanged) == (1, 1)
    assert watch.events(3) == ["provisioned", "cancelled"]


@pytest.mark.parametrize("where", ["listing", "cancelled listing"])
def test_a_row_without_a_readable_uuid_stops_absence(watch: Watch, where: str) -> None:
    """
    It may be any number's, so that nothing is taken from absence in that run.
    """
    show(watch, live(3))
    nameless = [{"uuid": "?", "number_e164": "+4400"}]
    listed = [number_row(2), number_row(3), *(nameless if where == "listing" else [])]
    summary = show(watch, listed, nameless if where == "cancelled listing" else [])

    assert (summary.state, summary.cancelled, summary.rejected) == ("succeeded", 0, 1)
    assert watch.number(1)["lifecycle"] == "live"
    assert searches(watch.sandbox) == []
    (row,) = rows_of(watch.engine, sync_rejects)
    assert row["uuid"] is None
    assert row["reason"].startswith("cancelled listing: ") is (where == "cancelled listing")


def test_an_unreadable_entry_cancels_nothing(watch: Watch) -> None:
    """
    A row of the cancelled listing that can't be read leaves its number alone, listed or not.
    """
    show(watch, live(3))
    summary = show(watch, [number_row(2), number_row(3)], [entry(1, **UNREADABLE)])

    assert (summary.state, summary.cancelled, summary.rejected) == ("succeeded", 0, 1)
    assert watch.number(1)["lifecycle"] == "live"
    (row,) = rows_of(watch.engine, sync_rejects)
    assert row["uuid"] == uuid_at(1)


def test_old_rejects_are_forgotten(watch: Watch, clock: Clock) -> None:
    """
    A run removes the rejects of runs from before `keep_rejects`, and no others.
    """
    keep = timedelta(days=90)
    rows = [number_row(1, **UNREADABLE)]
    old = show(watch, rows, keep_rejects=keep)
    clock.pass_by(days=1)
    show(watch, rows, keep_rejects=keep, account="other")
    show(watch, rows, keep_rejects=keep)
    clock.pass_by(days=90)
    show(watch, rows, keep_rejects=keep)

    runs = [row["run_id"] for row in rows_of(watch.engine, sync_rejects)]
    assert runs == [2, 3, 4]
    assert old.run_id == 1
    assert clock.time == NEW_YEAR + timedelta(days=91)


def test_rejects_are_forgotten_in_the_publishing_transaction(watch: Watch, clock: Clock) -> None:
    """
    A run that fails at its very end has forgotten no reject.
    """

    def stumble(*_found: object) -> None:
        raise ZeroDivisionError

    show(watch, [number_row(1, **UNREADABLE)])
    before = rows_of(watch.engine, sync_rejects)
    clock.pass_by(days=100)
    deleted: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("DELETE FROM sync_rejects"):
            deleted.append(statement)

    event.listen(watch.engine, "before_cursor_execute", listen)
    summary = show(watch, live(1), on_found=stumble)
    event.remove(watch.engine, "before_cursor_execute", listen)

    assert summary.state == "failed"
    assert len(deleted) == 1
    assert rows_of(watch.engine, sync_rejects) == before
    assert show(watch, live(1)).state == "succeeded"
    assert rows_of(watch.engine, sync_rejects) == []


def test_every_row_of_a_search_is_in_the_history_with_its_evidence(watch: Watch) -> None:
    """
    One run may take evidence of all three kinds, each number by its own.
    """
    show(watch, live(5))
    listed = [number_row(1, cancelled=GONE_AT), number_row(5)]
    show(watch, listed, [entry(2)], [number_row(3, cancelled=GONE_AT)])

    rows = rows_of(watch.engine, number_history, event="cancelled")
    found = {row["uuid"]: row["evidence"] for row in rows}
    assert found == {
        uuid_at(1): "listing",
        uuid_at(2): "cancelled_listing",
        uuid_at(3): "listing",
        uuid_at(4): "absence",
    }


FAR_AHEAD = "2031-01-01 00:00:00"
EARLY_STAMPS = ["1970-01-01 00:00:00", "2016-01-03 17:48:58", STAMP]


def stamped(place: int, stamp: str, *, inside: bool = True, **fields: Any) -> Row:
    """
    A number with a cancelled stamp beside a live status, in its details or on top.
    """
    return number_row(place, **_stamp_fields(stamp, inside=inside), **fields)


def _stamp_fields(stamp: str, *, inside: bool) -> Row:
    return {"details": {"cancelled": stamp}} if inside else {"cancelled": stamp}


def withheld(watch: Watch) -> dict[str, tuple[str, str]]:
    """
    The withheld cancellations by uuid: evidence and reason.
    """
    rows = rows_of(watch.engine, withheld_cancellations)
    assert {row["run_id"] for row in rows} <= {watch.last_run()["id"]}
    assert len(rows) == watch.last_run()["withheld"]
    return {row["uuid"]: (row["evidence"], row["reason"]) for row in rows}


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("stamp", EARLY_STAMPS)
def test_a_stamp_from_before_the_number_was_provisioned_cancels_nothing(
    watch: Watch, engine: Engine, stamp: str, *, inside: bool
) -> None:
    """
    It is left out, counted in each run and logged with ten numbers, on one number as on all.
    """
    show(watch, live(12))
    before = published(engine)
    rows = [stamped(place, stamp, inside=inside) for place in range(1, 13)]
    with capture_logs() as logs:
        summary = show(watch, rows)
    again = watch.run()

    assert published(engine) == before
    assert (summary.state, summary.withheld, summary.unchanged) == ("succeeded", 0, 12)
    assert (again.state, again.unchanged, detail(watch)["early_stamps"]) == ("succeeded", 12, 12)
    (warning,) = [each for each in logs if each["event"] == "sync.early_cancelled_stamps"]
    assert warning["count"] == 12
    assert warning["first"] == [f"+441245{place:06d}" for place in range(1, 11)]


def test_an_early_stamp_does_not_keep_a_row_from_changing(watch: Watch) -> None:
    """
    Whatever else such a row says is published, and a first run takes the number as live.
    """
    first = show(watch, [stamped(1, EARLY_STAMPS[0]), number_row(2)])
    second = show(watch, [stamped(1, EARLY_STAMPS[0], status="Active"), number_row(2)])

    assert (first.provisioned, first.cancelled, second.changed) == (2, 0, 1)
    assert (watch.number()["lifecycle"], watch.number()["cancelled_at"]) == ("live", None)


def test_the_last_known_provisioned_counts_if_the_row_has_none(watch: Watch) -> None:
    """
    A row that lost its stamp of provisioning is held against the one that was known.
    """
    show(watch, live(2))
    bare: Row = {"provisioned": None, "details": {"provisioned": "", "cancelled": EARLY_STAMPS[1]}}
    summary = show(watch, [number_row(1, **bare), number_row(2)])

    assert (summary.cancelled, summary.changed, detail(watch)["early_stamps"]) == (0, 1, 1)
    assert watch.number()["lifecycle"] == "live"


def test_a_stamp_dates_the_cancellation_of_a_number_without_a_known_provisioned(
    watch: Watch,
) -> None:
    """
    Only a stamp from before a known provisioned is early.
    """
    bare: Row = {"provisioned": "", "details": {"provisioned": ""}}
    show(watch, [number_row(1, **bare), number_row(2)])
    bare = {**bare, "details": {"provisioned": "", "cancelled": GONE_AT}}
    summary = show(watch, [number_row(1, **bare), number_row(2)])

    assert (summary.cancelled, detail(watch)["early_stamps"]) == (1, 0)
    assert told(last(watch)) == ("cancelled", "listing", "provider", GONE)


def test_a_stamp_that_cancelled_nothing_makes_no_entry_old(watch: Watch) -> None:
    """
    Only what cancelled the number before it came back tells entries of its earlier life.
    """
    ended = number_row(1, status="Cancelled", details={"cancelled": "2025-01-01 00:00:00"})
    for first in (stamped(1, FAR_AHEAD), ended, number_row(1)):
        show(watch, [first, number_row(2)])
    show(watch, [number_row(2)], [entry(1)])

    assert told(last(watch)) == ("cancelled", "cancelled_listing", "provider", GONE)


def test_stamps_are_counted_by_what_is_wrong_with_them(watch: Watch) -> None:
    """
    Of an early stamp, one far ahead and a credible one, only the first is named.
    """
    show(watch, live(3))
    stamps = ("2016-01-01 00:00:00", FAR_AHEAD, GONE_AT)
    summary = show(watch, [stamped(place, at) for place, at in enumerate(stamps, 1)])

    found = {"early_stamps": 1, "first_early_stamps": ["+441245000001"], "stamps_ahead": 1}
    assert summary.cancelled == 1
    assert detail(watch) | found == detail(watch)


@pytest.mark.parametrize("inside", [True, False])
def test_a_stamp_far_ahead_cancels_when_its_time_has_come(
    watch: Watch, clock: Clock, engine: Engine, *, inside: bool
) -> None:
    """
    Until a day before, the number stays live with the stamp, whose row is read in every run.
    """
    show(watch, live(2))
    rows = [stamped(1, FAR_AHEAD, inside=inside), number_row(2)]
    planned = show(watch, rows)
    assert detail(watch)["stamps_ahead"] == 1
    ahead = watch.number()
    before = published(engine)
    same = watch.run()
    assert published(engine) == before
    clock.time = datetime(2030, 12, 31, tzinfo=UTC)
    due = watch.run()

    assert (planned.cancelled, planned.changed, same.unchanged) == (0, 1, 2)
    assert (ahead["lifecycle"], ahead["cancelled_at"]) == ("live", datetime(2031, 1, 1, tzinfo=UTC))
    assert (due.state, due.cancelled) == ("succeeded", 1)
    assert told(last(watch)) == (
        *("cancelled", "listing", "provider"),
        datetime(2031, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(("ahead", "cancelled"), [(0, 1), (1, 0)])
def test_a_stamp_is_credible_up_to_24_hours_ahead(
    watch: Watch, clock: Clock, ahead: int, cancelled: int
) -> None:
    """
    Exactly 24 hours after the run's start it cancels, a second later it does not.
    """
    show(watch, live(2))
    start = clock.pass_by(hours=1)
    stamp = f"{start + timedelta(hours=24, seconds=ahead):%Y-%m-%d %H:%M:%S}"

    assert show(watch, [stamped(1, stamp), number_row(2)]).cancelled == cancelled


def test_a_dry_run_judges_stamps_by_its_own_time(watch: Watch) -> None:
    """
    It is not on record, and plans the same.
    """
    show(watch, live(2))
    rows = [stamped(1, GONE_AT), stamped(2, FAR_AHEAD)]
    summary = show(watch, rows, dry_run=True)

    assert (summary.state, summary.cancelled, summary.changed) == ("planned", 1, 1)


@pytest.mark.parametrize("stamp", [EARLY_STAMPS[0], FAR_AHEAD])
def test_a_stamp_beside_the_status_cancelled_is_kept_and_dates_nothing(
    watch: Watch, clock: Clock, stamp: str
) -> None:
    """
    The status cancels at the run, and the stamp is kept as sent.
    """
    show(watch, live(2))
    start = clock.pass_by(hours=1)
    rows = [stamped(1, stamp, status="Cancelled"), number_row(2)]
    show(watch, rows)
    clock.pass_by(hours=1)
    again = watch.run()
    clock.pass_by(hours=1)
    show(watch, [number_row(1, provisioned="2026-01-01 00:30:00"), number_row(2)])

    cancelled, back = watch.history()[1:]
    assert told(cancelled) == ("cancelled", "listing", "observed", start)
    assert f"{cancelled['cancelled_at']:%Y-%m-%d %H:%M:%S}" == stamp
    assert again.changed == 0
    assert told(back) == ("reinstated", "listing", "observed", clock.time)


def test_an_entry_from_before_its_number_was_provisioned_is_no_evidence(watch: Watch) -> None:
    """
    Whatever its status, and whether the entry or the tables know when that was.
    """
    show(watch, [number_row(1), number_row(2, provisioned=""), number_row(3)])
    entries = [
        entry(1, cancelled="2016-01-03 17:48:58", provisioned=None),
        entry(2, cancelled="2019-01-01 00:00:00", provisioned="2020-01-01 00:00:00"),
    ]
    summary = show(watch, [number_row(3)], entries, cancelled_listing="on")

    assert summary.cancelled == 2
    assert {last(watch, place)["evidence"] for place in (1, 2)} == {"absence"}


@pytest.mark.parametrize("stamp", [STAMP, FAR_AHEAD])
def test_an_entry_beside_another_status_needs_a_credible_stamp(watch: Watch, stamp: str) -> None:
    """
    Else it is no evidence, neither of a known number nor of a new one.
    """
    show(watch, live(2))
    watch.sandbox.behaviour = Behaviour(num_results="absent")
    entries = [entry(place, status="Active", cancelled=stamp) for place in (1, 9)]
    with api_for(watch.sandbox, page_size=1) as api:
        summary = show(watch, [number_row(2)], entries, api=api)

    assert (summary.cancelled, summary.withheld, searches(watch.sandbox)) == (0, 0, [])
    assert rows_of(watch.engine, numbers, uuid=uuid_at(9)) == []


def test_an_entry_with_the_status_cancelled_needs_no_credible_stamp(
    watch: Watch, clock: Clock
) -> None:
    """
    It cancels as of the run, and the stamp is kept as sent.
    """
    show(watch, live(2))
    start = clock.pass_by(hours=1)
    summary = show(watch, [number_row(2)], [entry(cancelled=FAR_AHEAD)])

    assert (summary.state, summary.cancelled) == ("succeeded", 1)
    assert told(last(watch)) == ("cancelled", "cancelled_listing", "observed", start)
    assert watch.number()["cancelled_at"] == datetime(2031, 1, 1, tzinfo=UTC)


def test_the_guard_counts_all_weak_evidence_together(watch: Watch) -> None:
    """
    4 stamps in the listing, 4 in the cancelled listing and 4 absences of 40 numbers are withheld.
    """
    show(watch, live(40))
    rows = [stamped(place, GONE_AT, status="Active") for place in range(1, 5)]
    rows += live(27, first=14)
    strong = entry(13)
    entries = [*(entry(place, status="Active") for place in range(5, 9)), strong]
    summary = show(watch, rows, entries)

    assert (summary.state, summary.withheld, summary.cancelled) == ("withheld", 12, 1)
    assert summary.unchanged == 31
    assert {watch.number(place)["status"] for place in range(1, 13)} == {"Reserved"}
    assert last(watch, 13)["evidence"] == "cancelled_listing"
    kinds = {"listing": range(1, 5), "cancelled_listing": range(5, 9), "absence": range(9, 13)}
    assert withheld(watch) == {
        uuid_at(place): (kind, "guard") for kind, places in kinds.items() for place in places
    }


def test_eight_cancellations_on_weak_evidence_pass(watch: Watch) -> None:
    """
    Below the guard's limits all three kinds are believed.
    """
    show(watch, live(40))
    rows = [*(stamped(place, GONE_AT) for place in (1, 2)), *live(34, first=7)]
    summary = show(watch, rows, [entry(place, status="Active") for place in (3, 4)])

    assert (summary.state, summary.cancelled, withheld(watch)) == ("succeeded", 6, {})


def test_stamps_that_were_withheld_are_judged_again(watch: Watch) -> None:
    """
    They stay withheld while they are sent, are accepted by lifting the guard, or go.
    """
    show(watch, live(20))
    rows = [stamped(place, GONE_AT, monthly_charge=9) for place in range(1, 21)]
    once, twice = show(watch, rows), watch.run()
    assert len(withheld(watch)) == 20
    back = show(watch, live(20))
    assert withheld(watch) == {}
    show(watch, rows)
    accepted = watch.run(guard=Guard(lifted=True))

    assert (once.withheld, twice.withheld, back.withheld) == (20, 20, 0)
    assert (once.unchanged, once.changed, back.unchanged) == (20, 0, 20)
    assert (accepted.state, accepted.cancelled, accepted.withheld) == ("succeeded", 20, 0)
    assert told(last(watch, 20)) == ("cancelled", "listing", "provider", GONE)


def test_a_first_run_takes_numbers_that_are_cancelled_already(watch: Watch) -> None:
    """
    The guard withholds cancellations of live numbers; a number that was never live has none.
    """
    summary = show(watch, [stamped(place, GONE_AT) for place in range(1, 21)])

    assert (summary.state, summary.provisioned, summary.cancelled) == ("succeeded", 20, 20)


def test_the_reasons_for_withholding(watch: Watch) -> None:
    """
    A failed search, an unreadable row, a search too many, and a search that finds another number.
    """
    count = SEARCHES_AT_MOST + 2
    show(watch, live(count + 1))
    watch.sandbox.inject(Fault(kind="status", endpoint="search", status=403))
    with api_for(watch.sandbox, concurrency=1) as api:
        options: Row = {"api": api, "guard": NEVER}
        show(watch, live(1, first=count + 1), found=[number_row(2, **UNREADABLE)], **options)

    assert withheld(watch) == {
        uuid_at(1): ("absence", "search_failed"),
        uuid_at(2): ("absence", "contradicted"),
        uuid_at(count - 1): ("absence", "search_limit"),
        uuid_at(count): ("absence", "search_limit"),
    }
    watch.sandbox.inventory = Split(live(1, first=count + 1), (), [number_row(1)])
    lifted = watch.run(guard=Guard(lifted=True))
    assert (lifted.withheld, set(withheld(watch).values())) == (3, {("absence", "contradicted")})


def test_a_run_that_publishes_nothing_leaves_the_withheld_cancellations(watch: Watch) -> None:
    """
    Neither a dry run nor a failed one replaces them, nor does another account's run.
    """
    show(watch, live(20))
    show(watch, live(5))
    before = rows_of(watch.engine, withheld_cancellations)
    show(watch, live(20), dry_run=True)
    show(watch, live(20), account="other")
    watch.sandbox.inject(Fault(kind="status", endpoint="numbers", status=500, times=100))
    failed = show(watch, live(20))

    assert failed.state == "failed"
    assert rows_of(watch.engine, withheld_cancellations) == before
    assert len(before) == 15
