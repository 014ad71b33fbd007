"""
Guard, searches and entries of the cancelled listing at their limits.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from support.build import STAMP, Row, address, api_for, number_row, published, rows_of, uuid_at
from support.listings import Blind, entry, live, searches, show
from syncsvc.reconcile.cancellation_evidence import SEARCHES_AT_MOST
from syncsvc.sandbox import Fault, Inventory
from syncsvc.schema.tables import address_history, addresses, sync_rejects, withheld_cancellations

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from support.build import Clock, Watch

pytestmark = pytest.mark.neighbour
BEGAN = datetime(2016, 1, 3, 17, 48, 59, tzinfo=UTC)  # `STAMP`
UNSTAMPED: Row = {"provisioned": "", "details": {"provisioned": ""}}


def disproved(*rows: object, times: int = 1) -> Fault:
    """
    A first page of a walk with these rows, or of several, which says that there are more.
    """
    body = json.dumps({"numbers": rows, "num_results": len(rows) + 3})
    return Fault(kind="body", endpoint="numbers", status=200, body=body.encode(), times=times)


@pytest.mark.parametrize("page_size", [200, 1])
def test_a_search_result_with_a_row_twice_proves_nothing(watch: Watch, page_size: int) -> None:
    """
    One that is as long as it says, but has a row twice, may lack another: the number is withheld.
    """
    watch.see(*live(3))
    watch.sandbox.inventory = Blind(live(2, first=2))
    watch.sandbox.inventory.found = (number_row(50), number_row(51), number_row(50))
    with api_for(watch.sandbox, page_size=page_size) as api:
        summary = watch.run(api=api)

    assert (summary.state, summary.cancelled, summary.withheld) == ("withheld", 0, 1)
    assert [row["reason"] for row in rows_of(watch.engine, withheld_cancellations)] == [
        "search_failed"
    ]


@pytest.mark.parametrize(("uuid", "cancelled"), [(uuid_at(51), 1), ("?", 0)])
def test_a_search_result_of_other_numbers_confirms_an_absence(
    watch: Watch, uuid: str, cancelled: int
) -> None:
    """
    Unless the uuid of one of them can't be read.
    """
    watch.see(*live(3))
    watch.sandbox.inventory = Blind(live(2, first=2))
    watch.sandbox.inventory.found = (number_row(50), number_row(51, uuid=uuid))
    summary = watch.run()

    assert (summary.cancelled, summary.withheld) == (cancelled, 1 - cancelled)


def test_the_guard_goes_by_the_accounts_own_live_numbers(watch: Watch) -> None:
    """
    Neither 200 live numbers of another account nor 200 cancelled ones make 12 of 20 few.
    """
    show(watch, live(200), account="other")
    gone = [number_row(place, status="Cancelled") for place in range(21, 221)]
    show(watch, [*live(20), *gone])
    summary = show(watch, [*live(8), *gone])

    assert (summary.state, summary.cancelled, summary.withheld) == ("withheld", 0, 12)


def test_failed_searches_do_not_bring_a_bad_listing_under_the_guard(watch: Watch) -> None:
    """
    Of 15 absences among 20 numbers all are withheld, although 6 searches fail, which are logged.
    """
    show(watch, live(20))
    watch.sandbox.inject(Fault(kind="status", endpoint="search", status=403, times=6))
    with capture_logs() as logs:
        summary = show(watch, live(5))

    assert len(searches(watch.sandbox)) == 15
    assert (summary.state, summary.cancelled, summary.withheld) == ("withheld", 0, 15)
    found = rows_of(watch.engine, withheld_cancellations)
    assert {row["reason"] for row in found} == {"guard"}
    failed = [line for line in logs if line["event"] == "sync.search_failed"]
    assert len({line["uuid"] for line in failed} & {uuid_at(n) for n in range(6, 21)}) == 6
    assert all("403" in line["error"] for line in failed)


def test_entries_do_not_trip_the_guard_for_absences(watch: Watch) -> None:
    """
    Of 40 numbers 12 have an entry in the cancelled listing and 5 are absent: all 17 are cancelled.
    """
    show(watch, live(40))
    summary = show(watch, live(23, first=18), [entry(place) for place in range(1, 13)])

    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 17, 0)


@pytest.mark.parametrize("stamp", ["1970-01-01 00:00:00", "2031-01-01 00:00:00"])
def test_stamps_that_cancel_nothing_do_not_trip_the_guard(watch: Watch, stamp: str) -> None:
    """
    Of 40 numbers 8 have an early stamp, or one far ahead, and 5 are absent: all 5 are cancelled.
    """
    show(watch, live(40))
    stamped = [number_row(place, details={"cancelled": stamp}) for place in range(1, 9)]
    summary = show(watch, [*stamped, *live(27, first=14)])

    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 5, 0)


@pytest.mark.parametrize(("absences", "sent"), [(SEARCHES_AT_MOST, 200), (SEARCHES_AT_MOST + 1, 0)])
def test_what_the_guard_withholds_is_searched_for_if_it_might_still_be_found(
    watch: Watch, absences: int, sent: int
) -> None:
    """
    Searches may bring 200 absences under the guard, but not one more than a run may search for.
    """
    show(watch, live(absences + 1))
    summary = show(watch, live(1, first=absences + 1))

    assert (summary.state, summary.withheld) == ("withheld", absences)
    assert len(searches(watch.sandbox)) == sent


def test_entries_do_not_keep_an_absence_from_being_searched_for(watch: Watch) -> None:
    """
    However many numbers have an entry, an absence is searched for, and cancelled.
    """
    show(watch, live(SEARCHES_AT_MOST + 3))
    entries = [entry(place) for place in range(1, SEARCHES_AT_MOST + 2)]
    summary = show(watch, live(1, first=SEARCHES_AT_MOST + 3), entries)

    assert (summary.state, summary.cancelled) == ("succeeded", SEARCHES_AT_MOST + 2)


def test_an_entry_beside_an_empty_listing_is_searched_for(watch: Watch) -> None:
    """
    A number that a search finds stays live, as does one that an empty listing lacks.
    """
    show(watch, live(3))
    summary = show(watch, [], [entry(1), entry(2)], [number_row(1)])

    assert (summary.cancelled, summary.withheld) == (1, 1)
    assert [row["reason"] for row in rows_of(watch.engine, withheld_cancellations)] == ["guard"]
    assert [watch.number(place)["lifecycle"] for place in (1, 2, 3)] == [
        "live",
        "cancelled",
        "live",
    ]


def test_entries_beyond_the_last_search_are_withheld_beside_an_incomplete_walk(
    watch: Watch,
) -> None:
    """
    There a search has to confirm each entry: of 202 numbers the first 200 are cancelled.
    """
    show(watch, live(SEARCHES_AT_MOST + 3))
    watch.sandbox.inject(disproved(*live(1, first=SEARCHES_AT_MOST + 3), times=100))
    entries = [entry(place) for place in range(1, SEARCHES_AT_MOST + 3)]
    summary = show(watch, [], entries)

    found = rows_of(watch.engine, withheld_cancellations)
    assert (summary.state, summary.cancelled) == ("withheld", SEARCHES_AT_MOST)
    assert [(row["uuid"], row["evidence"], row["reason"]) for row in found] == [
        (uuid_at(SEARCHES_AT_MOST + more), "cancelled_listing", "search_limit") for more in (1, 2)
    ]


def test_a_nameless_reject_of_a_disproved_walk_stops_no_absence(watch: Watch) -> None:
    """
    The second walk proves itself without that row, so that what it lacks is absent.
    """
    watch.see(*live(3))
    watch.sandbox.inject(disproved(number_row(2), {"uuid": "?", "number_e164": "+4400"}))
    with api_for(watch.sandbox, concurrency=1) as api:
        summary = watch.see(*live(2, first=2), api=api)

    assert (summary.walks, summary.rejected) == (2, 0)
    assert watch.last_run()["detail"]["complete"] is True
    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 1, 0)
    assert rows_of(watch.engine, sync_rejects) == []


def test_after_a_second_walk_every_address_is_stored(watch: Watch, engine: Engine) -> None:
    """
    Also those that the first walk, which proved nothing, had read with the same contents.
    """
    rows = [number_row(place, number_address=address(place)) for place in (1, 2, 3)]
    watch.sandbox.inject(disproved(*rows[:2]))
    with api_for(watch.sandbox, concurrency=1) as api:
        summary = watch.see(*rows, api=api)

    assert (summary.walks, summary.address_changes) == (2, 3)
    assert [row["id"] for row in rows_of(engine, addresses)] == [1, 2, 3]
    assert {row["address_id"] for row in rows_of(engine, address_history)} == {1, 2, 3}


def test_an_entry_that_comes_twice_cancels_once(watch: Watch) -> None:
    """
    Of two entries for one number, known or new, the later one counts.
    """
    show(watch, live(2))
    entries = [entry(place, monthly_charge=charge) for charge in (1, 2) for place in (1, 9)]
    summary = show(watch, [number_row(2)], entries)

    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 2, 0)
    assert watch.events(1) == ["provisioned", "cancelled"]
    assert watch.events(9) == ["provisioned", "cancelled"]
    assert [watch.number(place)["monthly_charge"] for place in (1, 9)] == [2, 2]


def test_an_entrys_address_never_replaces_the_listed_one(watch: Watch, engine: Engine) -> None:
    """
    What the listing shows of an address counts; only an address that it lacks is an entry's.
    """
    show(watch, [number_row(1, number_address=address(1, name="Listed")), number_row(2)])
    old = [
        entry(9, number_address=address(1, name="Old")),
        entry(8, number_address=address(2, name="Old")),
    ]
    listed = [number_row(1, number_address=address(1, name="Listed")), number_row(2)]
    show(watch, listed, old)
    unchanged = watch.address_history(1)
    show(watch, [number_row(1, number_address=address(1, name="New")), number_row(2)], old)

    assert [row["name"] for row in unchanged] == ["Listed"]
    assert {row["id"]: row["name"] for row in rows_of(engine, addresses)} == {1: "New", 2: "Old"}


def test_both_addresses_of_an_entry_are_stored_once(watch: Watch, engine: Engine) -> None:
    """
    Although an entry's addresses have the same place in the cancelled listing.
    """
    both = {"number_address": address(1), "emergency_number_address": address(2)}
    summary = show(watch, live(1), [entry(9, **both)])

    assert (summary.state, summary.address_changes) == ("succeeded", 2)
    assert [row["id"] for row in rows_of(engine, addresses)] == [1, 2]


def test_an_entry_with_the_same_stamp_may_have_another_charge(watch: Watch) -> None:
    """
    What an entry says later of the same cancellation changes the number, in a row of its own.
    """
    show(watch, live(2))
    show(watch, [number_row(2)], [entry(1)])
    summary = show(watch, [number_row(2)], [entry(1, monthly_charge="9")])

    assert (summary.changed, summary.cancelled) == (1, 0)
    assert watch.events() == ["provisioned", "cancelled", "changed"]
    assert watch.number()["monthly_charge"] == 9
    assert watch.history()[-1]["changes"].keys() == {"monthly_charge"}


def test_only_its_own_return_makes_an_entry_old(watch: Watch) -> None:
    """
    Neither another number's, nor that of the same number in another account, nor a mere change.
    """
    gone = [entry(1), entry(2)]
    for account in ("default", "other"):
        show(watch, live(3), account=account)
        show(watch, [number_row(3)], gone, account=account)
    show(watch, live(3), account="other")
    show(watch, live(2, first=2), gone)
    for charge in ("9", "10"):
        summary = show(watch, live(2, first=2), [entry(1, monthly_charge=charge)])
        assert (summary.changed, summary.cancelled) == (1, 0)


def test_the_entry_of_an_earlier_life_is_no_evidence(watch: Watch) -> None:
    """
    A number that came back and is absent again is cancelled by its absence.
    """
    for rows in ([number_row(2)], live(2), [number_row(2)]):
        show(watch, live(2))
        show(watch, rows, [entry(1)])

    assert watch.events() == ["provisioned", "cancelled", "reinstated", "cancelled"]
    assert watch.history()[-1]["evidence"] == "absence"


def test_an_entry_of_the_moment_of_provisioning_is_recent(watch: Watch) -> None:
    """
    Only an earlier one is from before the number's life.
    """
    show(watch, live(2))
    show(watch, [number_row(2)], [entry(1, cancelled=STAMP)])

    assert watch.history()[-1]["evidence"] == "cancelled_listing"


def test_rows_with_the_status_cancelled_are_not_judged_by_their_stamps(watch: Watch) -> None:
    """
    Beside a stamp that is judged they don't count for the guard, and keep even an early one.
    """
    show(watch, live(21))
    early = {"cancelled": "1970-01-01 00:00:00"}
    rows = [
        number_row(place, status="Cancelled", cancelled="2025-06-01 12:00:00")
        for place in range(1, 20)
    ]
    rows += [number_row(20, status="Cancelled", details=early)]
    summary = show(watch, [*rows, number_row(21, details={"cancelled": "2025-06-01 12:00:00"})])

    assert (summary.state, summary.cancelled, summary.withheld) == ("succeeded", 21, 0)
    assert f"{watch.number(20)['cancelled_at']:%Y}" == "1970"


def test_another_numbers_return_makes_no_entry_old(watch: Watch) -> None:
    """
    The entry cancels, although another number was cancelled and came back after its stamp.
    """
    show(watch, live(3))
    show(watch, [number_row(1), number_row(3)], [entry(2)])
    show(watch, live(3))
    show(watch, live(2, first=2), [entry(1)])

    assert watch.history()[-1]["evidence"] == "cancelled_listing"


def test_an_entry_is_recent_if_nobody_knows_when_its_number_was_provisioned(watch: Watch) -> None:
    """
    Only a known provisioned can be later than its stamp.
    """
    show(watch, [number_row(1, **UNSTAMPED), number_row(2)])
    show(watch, [number_row(2)], [entry(1, provisioned=None)])

    assert watch.history()[-1]["evidence"] == "cancelled_listing"


def test_an_earlier_date_of_a_second_cancellation_is_taken(watch: Watch) -> None:
    """
    It is later than the first cancellation, and so about this one.
    """
    first, second, earlier = (f"2020-0{month}-01 00:00:00" for month in (1, 6, 3))
    show(watch, live(2))
    show(watch, [number_row(2)], [entry(1, cancelled=first)])
    show(watch, live(2))
    show(watch, [number_row(2)], [entry(1, cancelled=second)])
    summary = show(watch, [number_row(2)], [entry(1, cancelled=earlier)])

    assert watch.events() == ["provisioned", "cancelled", "reinstated", "cancelled", "changed"]
    assert (summary.changed, f"{watch.number()['cancelled_at']:%Y-%m}") == (1, "2020-03")


def test_an_entry_from_before_a_corrected_stamp_is_of_an_earlier_life(watch: Watch) -> None:
    """
    A number that came back is not cancelled by a stamp from before its cancellation was corrected.
    """
    first, corrected, between = (f"2020-0{month}-01 00:00:00" for month in (3, 6, 5))
    show(watch, live(2))
    for stamp in (first, corrected):
        show(watch, [number_row(2)], [entry(1, cancelled=stamp)])
    show(watch, live(2))
    show(watch, [number_row(2)], [entry(1, cancelled=between)])

    assert watch.events() == ["provisioned", "cancelled", "changed", "reinstated", "cancelled"]
    assert watch.history()[-1]["evidence"] == "absence"


def test_a_stamp_between_two_unstamped_cancellations_dates_no_reinstatement(
    watch: Watch, clock: Clock
) -> None:
    """
    A number is back since its stamp only if that is later than the last cancellation.
    """
    watch.see(number_row(1, **UNSTAMPED))
    for row in (number_row(1, status="Cancelled"), number_row(1, **UNSTAMPED)):
        clock.pass_by(hours=1)
        watch.see(row)
    clock.pass_by(hours=1)
    watch.see(number_row(1, status="Cancelled"))
    clock.pass_by(hours=1)
    watch.see(number_row(1, provisioned="2026-01-01 02:30:00"))

    back = watch.history()[-1]
    assert watch.events() == ["added", "cancelled", "reinstated", "cancelled", "reinstated"]
    assert (back["occurred_at_source"], back["occurred_at"]) == ("observed", clock.time)
    assert back["uuid"] == uuid_at(1)


BACK = "2026-01-01 01:30:00"


def dated(watch: Watch) -> tuple[str, str]:
    """
    Who dates the first number's last event, and when.
    """
    row = watch.history()[-1]
    assert row["event"] == "reinstated"
    return row["occurred_at_source"], f"{row['occurred_at']:%Y-%m-%d %H:%M:%S}"


def test_only_its_own_cancellation_is_older_than_a_reinstatement(
    watch: Watch, clock: Clock
) -> None:
    """
    Neither another number's later cancellation nor a later change keeps a stamp from dating it.
    """
    gone: Row = {"status": "Cancelled"}
    watch.see(*live(3))
    clock.pass_by(hours=1)
    watch.see(number_row(1, **gone), *live(2, first=2))
    clock.pass_by(hours=1)
    watch.see(number_row(1, monthly_charge=9, **gone), number_row(2, **gone), number_row(3))
    clock.pass_by(hours=1)
    watch.see(number_row(1, provisioned=BACK), number_row(2, **gone), number_row(3))

    assert watch.events() == ["provisioned", "cancelled", "changed", "reinstated"]
    assert dated(watch) == ("provider", BACK)


@pytest.mark.parametrize("stamp", ["1970-01-01 00:00:00", STAMP, "2031-01-01 00:00:00"])
@pytest.mark.parametrize(
    ("back", "source"), [("2026-01-01 00:30:00", "observed"), (BACK, "provider")]
)
def test_a_reinstatement_is_later_than_a_cancellation_without_a_credible_stamp(
    watch: Watch, clock: Clock, stamp: str, back: str, source: str
) -> None:
    """
    Such a cancellation counts from the run that saw it, whatever its stamp.
    """
    watch.see(*live(2))
    clock.pass_by(hours=1)
    watch.see(number_row(1, status="Cancelled", details={"cancelled": stamp}), number_row(2))
    clock.pass_by(hours=1)
    watch.see(number_row(1, provisioned=back), number_row(2))

    assert dated(watch) == (source, BACK if source == "provider" else "2026-01-01 02:00:00")


def test_a_corrected_stamp_is_when_a_number_was_cancelled(watch: Watch) -> None:
    """
    A reinstatement that is later than it is dated by its stamp.
    """
    show(watch, live(2))
    for stamp in ("2020-06-01 00:00:00", "2020-03-01 00:00:00"):
        show(watch, [number_row(2)], [entry(1, cancelled=stamp)])
    show(watch, [number_row(1, provisioned="2020-04-01 00:00:00"), number_row(2)])

    assert dated(watch) == ("provider", "2020-04-01 00:00:00")


class Hanging(Inventory):
    """
    A provider that answers no search until it is released.
    """

    released: threading.Event

    def listing(
        self, *, cancelled: bool = False, digits: str | None = None, shuffled: bool = False
    ) -> list[Any]:
        """
        Show the listings, and hang if digits are searched for.
        """
        if digits is not None:
            self.released.wait(60)
        return super().listing(cancelled=cancelled, digits=digits, shuffled=shuffled)


def test_searches_that_hang_end_at_the_runs_deadline(watch: Watch, engine: Engine) -> None:
    """
    The run fails and publishes nothing, and the searches that had to wait are never sent.
    """
    watch.see(*live(12))
    before = published(engine)
    provider = Hanging(live(4))
    provider.released = threading.Event()
    watch.sandbox.inventory = provider
    with api_for(watch.sandbox, timeout=50.0, concurrency=1) as api:
        summary = watch.run(api=api, deadline=timedelta(seconds=1.5))
        sent = len(searches(watch.sandbox))
        provider.released.set()
        for thread in threading.enumerate():
            if thread.name.startswith("fetch-"):
                thread.join(10)

    assert (summary.state, watch.last_run()["state"]) == ("failed", "failed")
    assert " searching for numbers that are not listed" in str(summary.error)
    assert (sent, len(searches(watch.sandbox))) == (1, 1)
    assert published(engine) == before


def test_an_entry_of_a_number_and_nothing_else_is_a_cancelled_number(watch: Watch) -> None:
    """
    Without a status, charges and stamps, an entry for an unknown number is still kept.
    """
    nothing = dict.fromkeys(("status", "monthly_charge", "setup_charge"))
    summary = show(watch, live(1), [entry(2, cancelled="", provisioned="", **nothing)])

    assert summary.cancelled == 1
    assert watch.number(2)["lifecycle"] == "cancelled"


def test_when_a_cancelled_number_began_may_be_learnt_later(watch: Watch) -> None:
    """
    Its entry with a stamp that the one before lacked is a change; the same once more is none.
    """
    changed = [
        show(watch, live(1), [entry(2, provisioned=stamp)]).changed
        for stamp in ("", "", STAMP, STAMP)
    ]

    assert watch.number(2)["provisioned_at"] == BEGAN
    assert changed == [0, 0, 1, 0]
    assert watch.events(2) == ["cancelled", "changed"]
