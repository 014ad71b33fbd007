"""
What makes a history row, line by line, and what it says.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Text, and_, cast, or_, select
from structlog.testing import capture_logs

from support.build import NEW_YEAR, STAMP, Row, address, number_row, rows_of, uuid_at
from syncsvc.sandbox import Fault, Inventory
from syncsvc.schema.tables import addresses, number_history, numbers, sync_rejects

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from support.build import Clock, Watch
    from syncsvc.sandbox import Sandbox

pytestmark = pytest.mark.neighbour
PROVISIONED = datetime(2016, 1, 3, 17, 48, 59, tzinfo=UTC)
OTHER_STAMP = "2019-05-06 07:08:09"
OTHER_PROVISIONED = datetime(2019, 5, 6, 7, 8, 9, tzinfo=UTC)
GONE_STAMP = "2025-10-11 12:13:14"
GONE = datetime(2025, 10, 11, 12, 13, 14, tzinfo=UTC)
TRACKED = (
    "lifecycle",
    "status",
    "monthly_charge",
    "setup_charge",
    "provisioned_at",
    "cancelled_at",
    "number_address_id",
    "emergency_number_address_id",
)
NO_STAMPS: Row = {"provisioned": "", "details": {"provisioned": ""}}
BLANKS = (None, "", "  ", "0000-00-00 00:00:00")

CHANGED_COLUMNS: dict[str, tuple[Row, dict[str, tuple[Any, Any]]]] = {
    "number_e164": (
        {"number_e164": "+441245999999"},
        {"number_e164": ("+441245000000", "+441245999999")},
    ),
    "number": ({"number": "7"}, {"number": ("000001", "7")}),
    "range_code": ({"range_code": "20"}, {"range_code": ("1245", "20")}),
    "range_name": ({"range_name": None}, {"range_name": ("Chelmsford", None)}),
    "country_code": ({"country_code": "353"}, {"country_code": ("44", "353")}),
    "country_name": ({"country_name": "UK"}, {"country_name": ("United Kingdom", "UK")}),
    "country_iso": (
        {"country_iso": "IE"},
        {"country_iso": ("UK", "IE"), "country_alpha2": ("GB", "IE")},
    ),
    "country_iso, of the same country": ({"country_iso": "GB"}, {"country_iso": ("UK", "GB")}),
    "monthly_charge": ({"monthly_charge": 12.5}, {"monthly_charge": ("0.3000", "12.5000")}),
    "setup_charge": ({"setup_charge": None}, {"setup_charge": ("1.0000", None)}),
    "status": ({"status": "Active"}, {"status": ("Reserved", "Active")}),
    "details_status": (
        {"details": {"status": "Active"}},
        {"details_status": ("Reserved", "Active")},
    ),
    "details_provisioned_at": (
        {"details": {"provisioned": OTHER_STAMP}},
        {"details_provisioned_at": ("2016-01-03T17:48:59Z", "2019-05-06T07:08:09Z")},
    ),
    "number_address_id": (
        {"details": {"number_address": address(7)}},
        {"number_address_id": (None, 7)},
    ),
    "emergency_number_address_id": (
        {"emergency_number_address": address(7)},
        {"emergency_number_address_id": (None, 7)},
    ),
    "extra": ({"label": "Sales"}, {"extra": (None, {"label": "Sales"})}),
    "extra, in details": (
        {"details": {"porting": {"state": "in"}}},
        {"extra": (None, {"details": {"porting": {"state": "in"}}})},
    ),
}


def differences(**columns: tuple[Any, Any]) -> dict[str, Row]:
    """
    Changes as the column `changes` holds them.
    """
    return {name: {"old": old, "new": new} for name, (old, new) in columns.items()}


def state_of(row: Row) -> Row:
    """
    The tracked columns of a row.
    """
    return {name: row[name] for name in TRACKED}


def claims(row: Row, *names: str) -> tuple[Any, ...]:
    """
    These columns of a row, or event, occurred_at, its source and the evidence.
    """
    return tuple(
        row[name] for name in names or ("event", "occurred_at", "occurred_at_source", "evidence")
    )


def test_a_stamped_number_seen_first_is_provisioned_when_its_stamp_says(
    watch: Watch, clock: Clock
) -> None:
    """
    A live number seen for the first time with a stamp was provisioned at that time.
    """
    watch.see(
        number_row(details={"number_address": address(1), "emergency_number_address": address(2)})
    )

    (row,) = watch.history()
    assert claims(row) == ("provisioned", PROVISIONED, "provider", "listing")
    assert (clock.time, None, None) == claims(row, "valid_from", "valid_to", "changes")
    assert {
        "lifecycle": "live",
        "status": "Reserved",
        "monthly_charge": Decimal("0.3000"),
        "setup_charge": Decimal("1.0000"),
        "provisioned_at": PROVISIONED,
        "cancelled_at": None,
        "number_address_id": 1,
        "emergency_number_address_id": 2,
    } == state_of(row)


def test_an_unstamped_number_seen_first_is_added_when_the_run_sees_it(
    watch: Watch, clock: Clock
) -> None:
    """
    A live number seen for the first time without a stamp was added as far as the run can tell.
    """
    blanks = list(enumerate(BLANKS))
    watch.see(*(number_row(n, provisioned=it, details={"provisioned": it}) for n, it in blanks))

    for place, _blank in blanks:
        (row,) = watch.history(place)
        assert ("added", clock.time, "observed", "listing") == claims(row)
        assert (clock.time, None, None) == claims(row, "valid_from", "valid_to", "changes")


def test_a_stamp_in_the_details_alone_provisions_too(watch: Watch) -> None:
    """
    If only the details bear a provisioned stamp, it is the number's.
    """
    watch.see(number_row(provisioned=None, details={"provisioned": OTHER_STAMP}))

    (row,) = watch.history()
    assert claims(row) == ("provisioned", OTHER_PROVISIONED, "provider", "listing")


def test_a_stamp_that_appears_provisions_an_added_number(watch: Watch, clock: Clock) -> None:
    """
    A live number that had no stamp is provisioned when it gets one, at the stamp's time.
    """
    watch.see(number_row(**NO_STAMPS))
    clock.pass_by(hours=1)
    watch.see(number_row(provisioned=OTHER_STAMP, details={"provisioned": ""}))

    first, second = watch.history()
    assert first["event"] == "added"
    assert claims(second) == ("provisioned", OTHER_PROVISIONED, "provider", "listing")
    assert differences(provisioned_at=(None, "2019-05-06T07:08:09Z")) == second["changes"]


def test_another_stamp_provisions_a_number_again(watch: Watch) -> None:
    """
    A live number whose stamp becomes another one is provisioned anew.
    """
    watch.see(number_row())
    watch.see(number_row(provisioned=OTHER_STAMP))

    assert watch.events() == ["provisioned", "provisioned"]
    assert claims(watch.history()[1]) == ("provisioned", OTHER_PROVISIONED, "provider", "listing")


def test_a_stamp_that_disappears_is_a_change(watch: Watch, clock: Clock) -> None:
    """
    A live number that loses its stamp is changed, and no more than that.
    """
    watch.see(number_row(details={"provisioned": ""}))
    clock.pass_by(hours=1)
    watch.see(number_row(**NO_STAMPS))

    row = watch.history()[1]
    assert ("changed", clock.time, "observed", "listing") == claims(row)
    assert differences(provisioned_at=("2016-01-03T17:48:59Z", None)) == row["changes"]


def test_a_number_seen_first_when_cancelled_gets_a_beginning_and_an_end(
    watch: Watch, clock: Clock
) -> None:
    """
    A number first seen cancelled has two rows, each at its stamp, the first one closed at once.
    """
    watch.see(number_row(status="Cancelled", details={"cancelled": GONE_STAMP}))

    begun, ended = watch.history()
    assert claims(begun) == ("provisioned", PROVISIONED, "provider", "listing")
    assert (clock.time, clock.time, None) == claims(begun, "valid_from", "valid_to", "changes")
    assert claims(begun, "lifecycle", "cancelled_at") == ("live", None)
    assert claims(ended) == ("cancelled", GONE, "provider", "listing")
    assert (clock.time, None) == claims(ended, "valid_from", "valid_to")
    assert claims(ended, "lifecycle", "status", "cancelled_at") == ("cancelled", "Cancelled", GONE)
    assert ended["changes"]["lifecycle"] == {"old": "live", "new": "cancelled"}
    assert ended["changes"]["cancelled_at"] == {"old": None, "new": "2025-10-11T12:13:14Z"}


def test_a_number_seen_first_when_cancelled_and_unstamped_only_ends(
    watch: Watch, clock: Clock
) -> None:
    """
    Without a provisioned stamp a number first seen cancelled has one row, its first.
    """
    watch.see(number_row(status="Cancelled", **NO_STAMPS))

    (row,) = watch.history()
    assert ("cancelled", clock.time, "observed", "listing") == claims(row)
    assert (clock.time, None, None) == claims(row, "valid_from", "valid_to", "changes")
    assert None is watch.number()["cancelled_at"]


def test_a_number_seen_first_when_cancelled_keeps_its_addresses(watch: Watch) -> None:
    """
    All that the row of a number first seen cancelled says is kept.
    """
    watch.see(number_row(status="Cancelled", number_address=address(4)))

    assert claims(watch.number(), "number_address_id", "lifecycle", "range_name") == (
        4,
        "cancelled",
        "Chelmsford",
    )


def test_a_cancelled_status_cancels(watch: Watch, clock: Clock) -> None:
    """
    A live number whose own row has the status Cancelled, in any case, is cancelled at the run.
    """
    statuses = list(enumerate(["Cancelled", "cancelled", "CANCELLED"]))
    watch.see(*(number_row(place) for place, _status in statuses))
    clock.pass_by(hours=1)
    watch.see(*(number_row(place, status=status) for place, status in statuses))

    for place, status in statuses:
        row = watch.history(place)[1]
        assert ("cancelled", clock.time, "observed", "listing") == claims(row)
        assert (
            differences(lifecycle=("live", "cancelled"), status=("Reserved", status))
            == row["changes"]
        )


@pytest.mark.parametrize(
    "fields", [{"cancelled": GONE_STAMP}, {"details": {"cancelled": GONE_STAMP}}]
)
def test_a_cancelled_stamp_cancels(watch: Watch, fields: Row) -> None:
    """
    A live number whose own row bears a cancelled stamp, in either place, is cancelled then.
    """
    watch.see(number_row())
    watch.see(number_row(**fields))

    row = watch.history()[1]
    assert claims(row) == ("cancelled", GONE, "provider", "listing")
    assert (
        differences(lifecycle=("live", "cancelled"), cancelled_at=(None, "2025-10-11T12:13:14Z"))
        == row["changes"]
    )


def test_a_blank_cancelled_stamp_cancels_nothing(watch: Watch) -> None:
    """
    A blank in the place of the cancelled stamp leaves a number live, as its absence does.
    """
    blanks = list(enumerate(BLANKS))
    watch.see(*(number_row(place) for place, _blank in blanks))
    summary = watch.see(
        *(number_row(place, cancelled=it, details={"cancelled": it}) for place, it in blanks)
    )

    assert (len(blanks), 0) == (summary.unchanged, summary.changed)


def test_a_number_that_is_listed_no_more_is_cancelled(watch: Watch, clock: Clock) -> None:
    """
    A live number absent from a proved listing is cancelled at the run, with its status left alone.
    """
    watch.see(number_row(1), number_row(2))
    clock.pass_by(hours=1)
    watch.see(number_row(2))

    row = watch.history()[1]
    assert ("cancelled", clock.time, "observed", "absence") == claims(row)
    assert ("cancelled", "Reserved", clock.time) == claims(
        row, "lifecycle", "status", "cancelled_at"
    )
    assert (
        differences(lifecycle=("live", "cancelled"), cancelled_at=(None, "2026-01-01T01:00:00Z"))
        == row["changes"]
    )
    assert watch.events(2) == ["provisioned"]


def test_a_number_that_stays_away_is_cancelled_once(watch: Watch) -> None:
    """
    A cancelled number that further listings don't hold either gets no further row.
    """
    watch.see(number_row(1), number_row(2))
    watch.see(number_row(2))
    watch.see(number_row(2))

    assert watch.events() == ["provisioned", "cancelled"]


@pytest.mark.parametrize(
    ("stamp", "occurred_at", "source"),
    [
        ("2025-10-11 12:13:15", GONE + timedelta(seconds=1), "provider"),
        (GONE_STAMP, None, "observed"),
        (STAMP, None, "observed"),
        ("", None, "observed"),
    ],
    ids=["later", "as late", "earlier", "none"],
)
@pytest.mark.usefixtures("clock")
def test_a_reinstated_number_is_live_since_its_stamp_where_that_is_later(
    watch: Watch, stamp: str, occurred_at: datetime | None, source: str
) -> None:
    """
    A cancelled number is reinstated at a stamp later than its cancellation, else at the run.
    """
    watch.see(number_row(cancelled=GONE_STAMP))
    watch.see(number_row(provisioned=stamp, details={"provisioned": ""}))

    row = watch.history()[-1]
    expected = occurred_at or watch.last_run()["started_at"]
    assert ("reinstated", expected, source, "listing") == claims(row)
    assert claims(row, "lifecycle", "cancelled_at") == ("live", None)


@pytest.mark.parametrize(
    ("stamp", "source"),
    [("2026-01-01 01:30:00", "provider"), ("2026-01-01 00:30:00", "observed")],
)
@pytest.mark.parametrize("gone", [[], [number_row(status="Cancelled")]], ids=["absent", "status"])
def test_an_unstamped_cancellation_counts_from_the_run_that_saw_it(
    watch: Watch, clock: Clock, gone: list[Row], stamp: str, source: str
) -> None:
    """
    If the provider gave no time of the cancellation, the run's stands against the stamp.
    """
    watch.see(number_row(1), number_row(2))
    clock.pass_by(hours=1)
    watch.see(*gone, number_row(2))
    clock.pass_by(hours=1)
    watch.see(number_row(provisioned=stamp), number_row(2))

    row = watch.history()[-1]
    assert ("reinstated", source) == claims(row, "event", "occurred_at_source")
    assert (row["provisioned_at"] if source == "provider" else clock.time) == row["occurred_at"]


def test_any_other_column_that_changes_is_a_change(watch: Watch, clock: Clock) -> None:
    """
    A live number of which any other column changed is changed at the run, and the row says how.
    """
    watch.see(*(number_row(place) for place in range(len(CHANGED_COLUMNS))))
    clock.pass_by(hours=1)
    cases = [fields for fields, _changes in CHANGED_COLUMNS.values()]
    watch.see(*(number_row(place, **fields) for place, fields in enumerate(cases)))

    rows = [watch.history(place)[-1] for place in range(len(CHANGED_COLUMNS))]
    assert {("changed", clock.time, "observed", "listing")} == {claims(row) for row in rows}
    expected = {name: differences(**case[1]) for name, case in CHANGED_COLUMNS.items()}
    actual = {name: row["changes"] for name, row in zip(CHANGED_COLUMNS, rows, strict=True)}
    assert expected == actual


def test_columns_that_history_does_not_repeat_change_all_the_same(watch: Watch) -> None:
    """
    What `changes` says of a column that only `numbers` has is what `numbers` then holds.
    """
    watch.see(number_row())
    watch.see(number_row(number_e164="+35312345678", range_name="Dublin", label="Sales"))

    assert claims(watch.number(), "number_e164", "range_name", "extra") == (
        "+35312345678",
        "Dublin",
        {"label": "Sales"},
    )


def test_a_change_of_an_unknown_field_is_named_however_alike_the_values_look(
    watch: Watch,
) -> None:
    """
    An unknown field that becomes another JSON value is named in `changes`, as sent.
    """
    pairs: list[tuple[object, object]] = [(True, 1), (0, False), ([1], [True]), ("1", 1), (1, 2.5)]
    watch.see(*(number_row(place, label=old) for place, (old, _new) in enumerate(pairs)))
    watch.see(*(number_row(place, label=new) for place, (_old, new) in enumerate(pairs)))

    expected = [differences(extra=({"label": old}, {"label": new})) for old, new in pairs]
    actual = [watch.history(place)[-1]["changes"] for place in range(len(pairs))]
    assert json.dumps(expected, sort_keys=True) == json.dumps(actual, sort_keys=True)


def test_a_digit_beyond_a_double_is_a_change_that_is_named(watch: Watch, engine: Engine) -> None:
    """
    An unknown number with more digits than a double is compared and named with all of them.
    """
    body = json.dumps({"numbers": [number_row(label="X")], "num_results": 1, "paginates": False})
    for digits in ("0.50000000000000000001", "0.50000000000000000002"):
        sent = body.replace('"X"', digits).encode()
        watch.sandbox.inject(Fault(kind="body", endpoint="numbers", status=200, body=sent))
        watch.run()

    with engine.connect() as connection:
        history = number_history.c
        mine = select(cast(history.changes, Text)).where(history.account == "default")
        change = connection.execute(mine.order_by(history.id.desc())).scalars().first()
    assert "0.50000000000000000001" in str(change)
    assert "0.50000000000000000002" in str(change)


def test_the_same_amount_written_otherwise_is_no_change(watch: Watch) -> None:
    """
    A charge that comes as a string, as a number or with other zeros is the same charge.
    """
    watch.see(number_row(monthly_charge="0.3", setup_charge=0))
    watch.see(number_row(monthly_charge=0.3, setup_charge="0.0000"))
    watch.see(number_row(monthly_charge="0.30000", setup_charge="-0"))

    assert watch.events() == ["provisioned"]


def test_the_same_fields_in_another_place_or_order_are_no_change(watch: Watch) -> None:
    """
    It makes no difference where an address stands, or in which order unknown fields come.
    """
    watch.see(number_row(details={"number_address": address()}, a=1, b={"x": 1, "y": 2}))
    watch.see(number_row(b={"y": 2, "x": 1}, a=1, number_address=address()))

    assert watch.events() == ["provisioned"]


def test_a_uuid_in_capitals_is_the_same_number(watch: Watch) -> None:
    """
    A uuid in another case is no other number.
    """
    row = number_row(uuid="00000000-0000-4000-8000-00000000abcd")

    watch.see(row)
    summary = watch.see(row | {"uuid": row["uuid"].upper()})

    assert (summary.unchanged, summary.cancelled) == (1, 0)


def test_a_number_cancelled_and_changed_in_one_run_is_cancelled(watch: Watch) -> None:
    """
    Cancelled comes before provisioned and changed, in one row that names every changed column.
    """
    watch.see(number_row())
    watch.see(
        number_row(
            status="Cancelled", cancelled=GONE_STAMP, monthly_charge="9", provisioned=OTHER_STAMP
        )
    )

    assert watch.events() == ["provisioned", "cancelled"]
    assert (
        differences(
            lifecycle=("live", "cancelled"),
            status=("Reserved", "Cancelled"),
            monthly_charge=("0.3000", "9.0000"),
            cancelled_at=(None, "2025-10-11T12:13:14Z"),
        )
        == watch.history()[1]["changes"]
    )


def test_a_number_reinstated_and_provisioned_in_one_run_is_reinstated(watch: Watch) -> None:
    """
    Reinstated comes before provisioned and changed, in one row that names every changed column.
    """
    watch.see(number_row(status="Cancelled", cancelled=GONE_STAMP))
    watch.see(number_row(provisioned="2025-12-01 00:00:00", range_name="London", label="Sales"))

    assert watch.events() == ["provisioned", "cancelled", "reinstated"]
    assert (
        differences(
            lifecycle=("cancelled", "live"),
            status=("Cancelled", "Reserved"),
            cancelled_at=("2025-10-11T12:13:14Z", None),
            provisioned_at=("2016-01-03T17:48:59Z", "2025-12-01T00:00:00Z"),
            range_name=("Chelmsford", "London"),
            extra=(None, {"label": "Sales"}),
        )
        == watch.history()[2]["changes"]
    )


def test_a_number_provisioned_and_changed_in_one_run_is_provisioned(watch: Watch) -> None:
    """
    Provisioned comes before changed, in one row that names every changed column.
    """
    watch.see(number_row())
    watch.see(number_row(provisioned=OTHER_STAMP, number_e164="+441245777777"))

    assert watch.events() == ["provisioned", "provisioned"]
    assert (
        differences(
            provisioned_at=("2016-01-03T17:48:59Z", "2019-05-06T07:08:09Z"),
            number_e164=("+441245000001", "+441245777777"),
        )
        == watch.history()[1]["changes"]
    )


def test_a_number_may_be_cancelled_and_reinstated_again_and_again(watch: Watch) -> None:
    """
    Each cancellation and each return is a row of its own.
    """
    for _ in range(2):
        watch.see(number_row(1), number_row(2))
        watch.see(number_row(2))
    watch.see(number_row(1), number_row(2))

    expected = ["provisioned", "cancelled", "reinstated", "cancelled", "reinstated"]
    assert expected == watch.events()
    assert claims(watch.number(), "lifecycle", "cancelled_at") == ("live", None)


def test_intervals_touch_and_the_last_one_is_open(watch: Watch, clock: Clock) -> None:
    """
    A row is valid from its own run until the run of the next one.
    """
    times = []
    for charge in ("1", "2", "3"):
        times.append(clock.pass_by(hours=1))
        watch.see(number_row(monthly_charge=charge))

    expected = list(zip(times, [*times[1:], None], strict=True))
    assert expected == [claims(row, "valid_from", "valid_to") for row in watch.history()]


def test_all_rows_of_a_run_are_valid_from_its_start(watch: Watch, engine: Engine) -> None:
    """
    Whatever a run writes bears the run's start and its id.
    """
    watch.see(number_row(1), number_row(2))
    summary = watch.see(number_row(2, monthly_charge="5"), number_row(3, number_address=address()))

    started_at = watch.last_run()["started_at"]
    written = rows_of(engine, number_history, run_id=summary.run_id)
    assert {"cancelled", "changed", "provisioned"} == {row["event"] for row in written}
    assert {started_at} == {row["valid_from"] for row in [*written, *watch.address_history()]}
    assert {summary.run_id} == {row["run_id"] for row in watch.address_history()}


def test_what_was_written_before_is_only_closed(watch: Watch) -> None:
    """
    Nothing of an older history row changes but its `valid_to`.
    """
    watch.see(number_row())
    (before,) = watch.history()
    watch.see(number_row(status="Active", range_name="London"))

    after = watch.history()[0]
    assert None is not after["valid_to"]
    assert before == after | {"valid_to": None}


def test_the_inventory_as_known_at_a_time_can_be_read(
    watch: Watch, clock: Clock, engine: Engine
) -> None:
    """
    The rows valid at a time are the inventory as it was known then, one row for a number.
    """
    watch.see(number_row(1), number_row(2, status="Cancelled"))
    half_past = clock.pass_by(minutes=30)
    clock.pass_by(minutes=30)
    watch.see(number_row(2), number_row(3))

    valid = and_(
        number_history.c.account == "default",
        number_history.c.valid_from <= half_past,
        or_(number_history.c.valid_to.is_(None), number_history.c.valid_to > half_past),
    )
    with engine.connect() as connection:
        query = select(number_history.c.uuid, number_history.c.lifecycle).where(valid)
        then = sorted(tuple(row) for row in connection.execute(query))
    assert [(uuid_at(1), "live"), (uuid_at(2), "cancelled")] == then


@pytest.mark.parametrize("charge", [None, "7"])
def test_a_cancelled_number_keeps_all_but_what_its_row_says_of_the_end(
    watch: Watch, charge: str | None
) -> None:
    """
    Its own row sets status, charges and `cancelled_at`; all else stays as last known.
    """
    watch.see(
        number_row(number_address=address(1), emergency_number_address=address(2), label="Sales")
    )
    before = watch.number()
    watch.see(
        {
            "uuid": uuid_at(1),
            "number_e164": "+440000000000",
            "status": "Cancelled",
            "cancelled": GONE_STAMP,
            "monthly_charge": charge,
            "details": {"status": "Gone"},
        }
    )

    after = watch.number()
    said = {
        "lifecycle": "cancelled",
        "status": "Cancelled",
        "cancelled_at": GONE,
        "monthly_charge": Decimal("7.0000" if charge else "0.3000"),
        "changed_at": after["changed_at"],
        "changed_run_id": after["changed_run_id"],
    }
    assert before | said == after


def test_a_cancelled_number_takes_its_provisioned_stamp_if_none_was_known(
    watch: Watch, clock: Clock
) -> None:
    """
    A number provisioned and cancelled between two runs keeps both times, once.
    """
    watch.see(number_row(**NO_STAMPS))
    clock.pass_by(hours=1)
    gone = number_row(status="Cancelled", details={"cancelled": GONE_STAMP})
    watch.see(gone)
    again = watch.see(gone)

    row = watch.history()[-1]
    assert claims(row) == ("cancelled", GONE, "provider", "listing")
    assert row["changes"]["provisioned_at"] == {"old": None, "new": "2016-01-03T17:48:59Z"}
    assert (watch.number()["provisioned_at"], again.changed) == (PROVISIONED, 0)


def test_an_absent_number_keeps_all_that_was_known(watch: Watch) -> None:
    """
    Absence sets `cancelled_at` to the run's time and nothing else of the number.
    """
    watch.see(number_row(1, number_address=address(1), label="Sales"), number_row(2))
    before = watch.number()
    summary = watch.see(number_row(2))

    started_at = watch.last_run()["started_at"]
    said = {
        "lifecycle": "cancelled",
        "cancelled_at": started_at,
        "changed_at": started_at,
        "changed_run_id": summary.run_id,
    }
    assert before | said == watch.number()


def test_what_the_provider_says_later_of_a_cancellation_is_a_change(
    watch: Watch, clock: Clock
) -> None:
    """
    A row that comes after the cancellation with a stamp or a status corrects what was known.
    """
    watch.see(number_row(1), number_row(2))
    clock.pass_by(hours=1)
    watch.see(number_row(2))
    clock.pass_by(hours=1)
    watch.see(number_row(1, status="Cancelled", cancelled=GONE_STAMP), number_row(2))

    row = watch.history()[-1]
    assert ("changed", clock.time, "observed", "listing") == claims(row)
    assert (
        differences(
            status=("Reserved", "Cancelled"),
            cancelled_at=("2026-01-01T01:00:00Z", "2025-10-11T12:13:14Z"),
        )
        == row["changes"]
    )


def test_whatever_else_the_row_of_a_cancelled_number_says_is_no_change(watch: Watch) -> None:
    """
    A cancelled number's row may change in all that it keeps, and there is no history row.
    """
    watch.see(number_row(status="Cancelled", cancelled=GONE_STAMP))
    summary = watch.see(
        number_row(
            status="Cancelled",
            range_name="London",
            provisioned=OTHER_STAMP,
            details={"status": "Gone"},
            label="Sales",
        )
    )

    assert watch.events() == ["provisioned", "cancelled"]
    assert (summary.listed, summary.changed, summary.unchanged) == (1, 0, 0)


def test_a_number_listed_live_is_live_whatever_the_cancelled_listing_says(
    watch: Watch, sandbox: Sandbox
) -> None:
    """
    An older entry of the cancelled listing takes nothing from a number that the listing shows live.
    """
    watch.see(number_row())
    sandbox.inventory.cancelled = [number_row(status="Cancelled", cancelled=GONE_STAMP)]
    watch.run()

    assert watch.events() == ["provisioned"]
    assert watch.number()["lifecycle"] == "live"


@pytest.mark.parametrize("known", [True, False])
def test_an_old_entry_says_nothing_of_a_later_cancellation(
    watch: Watch, sandbox: Sandbox, clock: Clock, *, known: bool
) -> None:
    """
    A second run over the same listings leaves the date of a cancellation that absence told.
    """
    entry = number_row(status="Cancelled", cancelled=GONE_STAMP)
    if known:
        watch.see(entry, number_row(2))
        watch.see(number_row(), number_row(2))
    else:
        watch.see(number_row(provisioned="2025-12-01 00:00:00"), number_row(2))
    clock.pass_by(hours=1)
    sandbox.inventory = Inventory([number_row(2)], [entry])
    watch.run()
    gone_at = clock.time
    clock.pass_by(hours=1)
    again = watch.run()

    assert (gone_at, "absence") == claims(watch.history()[-1], "cancelled_at", "evidence")
    assert (again.changed, watch.number()["cancelled_at"]) == (0, gone_at)


def test_a_row_that_cannot_be_read_leaves_its_number_as_it_was(
    watch: Watch, engine: Engine
) -> None:
    """
    A reject is kept and counted, and its number is neither changed nor absent.
    """
    watch.see(number_row(1), number_row(2))
    before = watch.number()
    bad = number_row(1, monthly_charge="a lot", range_name="London", status="Cancelled")
    summary = watch.see(number_row(2), bad)

    assert (summary.listed, summary.rejected, summary.cancelled) == (1, 1, 0)
    assert before == watch.number()
    (reject,) = rows_of(engine, sync_rejects)
    assert (summary.run_id, 1, 2, uuid_at(1)) == claims(
        reject, "run_id", "page", "position", "uuid"
    )
    assert "monthly_charge" in reject["reason"]
    assert '"a lot"' in reject["payload"]


def test_a_cancelled_number_stays_cancelled_where_its_row_cannot_be_read(watch: Watch) -> None:
    """
    A reject reinstates nothing.
    """
    watch.see(number_row(1), number_row(2))
    watch.see(number_row(2))
    watch.see(number_row(1, number_e164=" "), number_row(2))

    assert watch.number()["lifecycle"] == "cancelled"


def test_a_reject_that_was_never_seen_makes_no_number(watch: Watch, engine: Engine) -> None:
    """
    A number whose first row can't be read is not there until it can.
    """
    watch.see(number_row(setup_charge={}))
    assert rows_of(engine, numbers) == []

    watch.see(number_row())
    assert watch.events() == ["provisioned"]


def test_the_address_of_a_reject_is_not_taken_over(watch: Watch, engine: Engine) -> None:
    """
    Nothing of a row that can't be read is published, its addresses included.
    """
    watch.see(number_row(monthly_charge="x", number_address=address()))

    assert rows_of(engine, addresses) == []


@pytest.mark.parametrize("uuid", ["not one", None, 7])
def test_a_row_without_a_readable_uuid_means_nothing_from_absence(
    watch: Watch, engine: Engine, uuid: object
) -> None:
    """
    If a reject's number isn't known no number is absent, but all else is done.
    """
    watch.see(number_row(1), number_row(2))
    summary = watch.see(number_row(2, status="Active"), number_row(3, uuid=uuid), number_row(4))

    assert (
        summary.cancelled,
        summary.changed,
        summary.provisioned,
        summary.rejected,
    ) == (0, 1, 1, 1)
    assert watch.events(1) == ["provisioned"]
    assert [row["uuid"] for row in rows_of(engine, sync_rejects)] == [None]
    assert watch.see(number_row(2, status="Active"), number_row(4)).cancelled == 1


def test_an_address_seen_first_is_added(watch: Watch, clock: Clock, engine: Engine) -> None:
    """
    A new address has one row of its own and one of history, however many numbers have it.
    """
    watch.see(
        number_row(1, number_address=address(addressFloor=3)),
        number_row(2, emergency_number_address=address(addressFloor=3)),
    )

    content = {
        "name": "Office 1",
        "use_for_proof_of_address": True,
        "use_for_emergency_address": False,
        "address_line1": "7800 Alexander Road",
        "address_line2": "",
        "address_city": "London",
        "address_region": "London",
        "address_postal_code": "NW2 1AA",
        "country_name": "United Kingdom",
        "country_iso": "GB",
        "extra": {"addressFloor": 3},
    }
    times = {"first_seen_at": clock.time, "changed_at": clock.time}
    assert [{"account": "default", "id": 1} | content | times] == rows_of(engine, addresses)
    (row,) = watch.address_history()
    assert ("added", clock.time, None, None) == claims(
        row, "event", "valid_from", "valid_to", "changes"
    )
    assert content == {name: row[name] for name in content}


ADDRESS_FIELDS: dict[str, tuple[Row, dict[str, tuple[Any, Any]]]] = {
    "name": ({"name": None}, {"name": ("Hq", None)}),
    "use_for_proof_of_address": (
        {"useForProofOfAddress": 0},
        {"use_for_proof_of_address": (True, False)},
    ),
    "use_for_emergency_address": (
        {"useForEmergencyAddress": True},
        {"use_for_emergency_address": (False, True)},
    ),
    "address_line1": ({"addressLine1": "1"}, {"address_line1": ("7800 Alexander Road", "1")}),
    "address_line2": ({"addressLine2": "Flat 2"}, {"address_line2": ("", "Flat 2")}),
    "address_city": ({"addressCity": "York"}, {"address_city": ("London", "York")}),
    "address_region": ({"addressRegion": "York"}, {"address_region": ("London", "York")}),
    "address_postal_code": (
        {"addressPostalCode": "Y1"},
        {"address_postal_code": ("NW2 1AA", "Y1")},
    ),
    "country": (
        {"addressCountry": {"name": "Ireland", "iso": "IE"}},
        {"country_name": ("United Kingdom", "Ireland"), "country_iso": ("GB", "IE")},
    ),
    "extra": ({"floor": 3}, {"extra": (None, {"floor": 3})}),
}


def test_an_address_of_which_anything_changes_is_changed(watch: Watch, clock: Clock) -> None:
    """
    A change of an address is a row of its history, and none of its number's.
    """
    places = range(len(ADDRESS_FIELDS))
    cases = [fields for fields, _changes in ADDRESS_FIELDS.values()]
    watch.see(*(number_row(place, number_address=address(place, name="Hq")) for place in places))
    clock.pass_by(hours=1)
    summary = watch.see(
        *(
            number_row(place, number_address=address(place, **{"name": "Hq"} | fields))
            for place, fields in enumerate(cases)
        )
    )

    both = [watch.address_history(place) for place in places]
    assert {("added", NEW_YEAR, clock.time)} == {
        claims(first, "event", "valid_from", "valid_to") for first, _second in both
    }
    assert {("changed", clock.time, None)} == {
        claims(second, "event", "valid_from", "valid_to") for _first, second in both
    }
    expected = [differences(**changes) for _fields, changes in ADDRESS_FIELDS.values()]
    assert expected == [second["changes"] for _first, second in both]
    assert (len(both), 0, len(both)) == (
        summary.address_changes,
        summary.changed,
        summary.unchanged,
    )


def test_an_address_that_no_number_has_any_more_stays(watch: Watch, engine: Engine) -> None:
    """
    An address is kept as last known, and its history stays open, when its last number leaves it.
    """
    watch.see(number_row(number_address=address()))
    summary = watch.see(number_row())

    assert summary.address_changes == 0
    assert [row["name"] for row in rows_of(engine, addresses)] == ["Office 1"]
    assert [row["valid_to"] for row in watch.address_history()] == [None]


def test_first_seen_stays_and_changed_follows_for_addresses(
    watch: Watch, clock: Clock, engine: Engine
) -> None:
    """
    An address tells which run saw it first and which one changed it last.
    """
    watch.see(number_row(number_address=address()))
    clock.pass_by(hours=1)
    watch.see(number_row(number_address=address(name="Other")))
    changed_at = clock.time
    clock.pass_by(hours=1)
    watch.see(number_row(number_address=address(name="Other"), status="Active"))

    (row,) = rows_of(engine, addresses)
    assert (NEW_YEAR, changed_at) == claims(row, "first_seen_at", "changed_at")


def test_an_address_with_two_contents_is_settled_by_the_later_page(
    watch: Watch, engine: Engine
) -> None:
    """
    Of two contents of one address in a listing the later page's counts, and the run says so.
    """
    listing = (
        number_row(1, number_address=address(1, name="Early")),
        number_row(2, number_address=address(2)),
        number_row(3, number_address=address(1, name="Late")),
    )
    with capture_logs() as logs:
        summary = watch.see_paged(*listing)

    assert [row["name"] for row in rows_of(engine, addresses)] == ["Late", "Office 2"]
    assert [row["event"] for row in watch.address_history()] == ["added"]
    assert (summary.address_changes, watch.last_run()["detail"]["address_conflicts"]) == (2, 1)
    warnings = [entry for entry in logs if entry["event"] == "sync.address_conflicts"]
    assert [(entry["count"], entry["first"]) for entry in warnings] == [(1, [1])]


def test_the_warning_names_ten_addresses_with_two_contents(watch: Watch) -> None:
    """
    In their order, however many there are and wherever they were listed.
    """
    shown = enumerate([*range(12, 0, -1)] * 2)
    rows = [number_row(n, number_address=address(at, name=f"Office {n}")) for n, at in shown]
    with capture_logs() as logs:
        watch.see(*rows)

    (warning,) = [each for each in logs if each["event"] == "sync.address_conflicts"]
    assert (warning["count"], warning["first"]) == (12, [*range(1, 11)])


def test_the_same_conflict_again_changes_nothing(watch: Watch) -> None:
    """
    A listing that shows an address with two contents each time makes no history each time.
    """
    contents = ("One", "Two", "One")
    listing = [
        number_row(place, number_address=address(name=name)) for place, name in enumerate(contents)
    ]
    watch.see_paged(*listing)
    summary = watch.see_paged(*listing)

    assert (summary.address_changes, watch.last_run()["detail"]["address_conflicts"]) == (0, 1)
    assert [row["name"] for row in watch.address_history()] == ["One"]


def test_one_content_on_many_pages_is_no_conflict(watch: Watch) -> None:
    """
    A run over addresses that agree counts no conflicts.
    """
    watch.see_paged(*(number_row(place, number_address=address()) for place in range(3)))

    assert watch.last_run()["detail"]["address_conflicts"] == 0


def test_first_seen_stays_and_changed_follows_for_numbers(watch: Watch, clock: Clock) -> None:
    """
    A number tells which run saw it first and which one changed it last, and when.
    """
    first = watch.see(number_row())
    clock.pass_by(hours=1)
    second = watch.see(number_row(label="Sales"))
    changed_at = clock.time
    clock.pass_by(hours=1)
    watch.see(number_row(label="Sales"), number_row(2))

    assert (NEW_YEAR, changed_at, first.run_id, second.run_id) == claims(
        watch.number(), "first_seen_at", "changed_at", "first_run_id", "changed_run_id"
    )


def test_an_address_without_contents_is_stored(watch: Watch) -> None:
    """
    Of an address the provider may send the id alone.
    """
    summary = watch.see(number_row(1, number_address={"id": 7}))

    assert (summary.state, summary.rejected, summary.address_changes) == ("succeeded", 0, 1)
    assert watch.number()["number_address_id"] == 7
    [row] = watch.address_history(7)
    assert row["name"] is None
