"""
The views: the same columns and answers on both databases, as plain Python works them out.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from sqlalchemy import Engine, Table, insert, inspect, select, text

from support import standing
from support.build import NEIGHBOUR, NEW_YEAR, Row, address, number_row, profile, rows_of, uuid_at
from support.histories import Told, pasts, write
from syncsvc.clock import now
from syncsvc.schema import views
from syncsvc.schema.tables import number_history, numbers, sync_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.build import Clock, Watch
    from support.histories import Past

pytestmark = pytest.mark.neighbour
OF_ADDRESS = (
    "name use_for_proof_of_address use_for_emergency_address line1 line2 city region postal_code "
    "country_name country_iso"
)
LIVE = " ".join(
    [
        *numbers.c.keys(),
        *(f"number_address_{name}" for name in OF_ADDRESS.split()),
        *(f"emergency_number_address_{name}" for name in OF_ADDRESS.split()),
    ]
)
PUBLIC = {
    "live_numbers": LIVE,
    "number_changes": " ".join(number_history.c.keys())
    + " number_e164 range_name country_name country_alpha2",
    "monthly_charges": "account country_alpha2 country_name range_name numbers monthly_charge",
    "inventory_by_month": "month account country_alpha2 numbers monthly_charge",
    "churn_by_month": "month account country_alpha2 added provisioned reinstated cancelled",
    "numbers_without_emergency_address": LIVE,
    "numbers_without_proof_of_address": LIVE,
    "sync_status": "account last_run_id last_run_state last_run_started_at last_success_at "
    "seconds_since_success live_numbers cancelled_numbers withheld rejected",
}


def told(engine: Engine, view: Table) -> list[Row]:
    """
    The rows of a view, but for the neighbour's.
    """
    with engine.connect() as connection:
        query = select(view).where(view.c.account != NEIGHBOUR)
        return [dict(row) for row in connection.execute(query).mappings()]


def test_every_view_has_the_promised_columns(engine: Engine) -> None:
    """
    The database and the code name the views' columns alike, in the order promised.
    """
    inspector = inspect(engine)
    stored = {
        view: " ".join(column["name"] for column in inspector.get_columns(view))
        for view in inspector.get_view_names()
    }

    assert stored == PUBLIC
    assert {
        view.name: " ".join(view.c.keys()) for view in views.view_metadata.tables.values()
    } == PUBLIC


@profile
@given(pasts)
def test_months_are_as_plain_python_works_them_out(
    engine: Engine, wipe: Callable[[], None], some: list[Past]
) -> None:
    """
    Numbers, charges and events of every month are those of the history, whatever it is.
    """
    wipe()
    write(engine, some, now() - timedelta(days=400))

    expected = Told(engine, now())

    inventory = told(engine, views.inventory_by_month)
    key = ("month", "account", "country_alpha2")
    assert expected.inventory() == {
        tuple(row[name] for name in key): (row["numbers"], row["monthly_charge"])
        for row in inventory
    }
    assert expected.churn() == {
        tuple(row.pop(name) for name in key): row for row in told(engine, views.churn_by_month)
    }


def runs_of(account: str, *states: str) -> list[Row]:
    """
    Runs of an account, an hour apart, each of which took a minute.
    """
    rows = []
    for hours, state in enumerate(states):
        at = NEW_YEAR + timedelta(hours=hours)
        row: Row = {"account": account, "trigger": "manual", "state": state, "started_at": at}
        row["finished_at"] = None if state == "running" else at + timedelta(minutes=1)
        published = state in {"succeeded", "withheld"}
        row |= {"service_version": "1", "withheld": hours if published else None, "rejected": None}
        rows.append(row)
    return rows


def test_an_account_that_only_ever_failed_is_shown(engine: Engine) -> None:
    """
    Each account with a run has a row, with or without a success, with or without numbers.
    """
    with engine.begin() as connection:
        for account, states in {
            "broken": ("failed", "crashed"),
            "fine": ("succeeded", "withheld", "failed", "running"),
        }.items():
            for row in runs_of(account, *states):
                connection.execute(insert(sync_runs).values(row))
        standing.fill(connection)

    broken, fine = sorted(told(engine, views.sync_status), key=lambda row: str(row["account"]))

    assert (
        broken["last_run_state"],
        broken["last_success_at"],
        broken["seconds_since_success"],
    ) == ("crashed", None, None)
    assert (broken["live_numbers"], broken["cancelled_numbers"]) == (0, 0)
    assert ("running", NEW_YEAR + timedelta(hours=1, minutes=1)) == (
        fine["last_run_state"],
        fine["last_success_at"],
    )
    assert (
        abs((now() - fine["last_success_at"]).total_seconds() - fine["seconds_since_success"]) < 60
    )


def test_the_status_counts_numbers_and_what_the_last_run_left_out(watch: Watch) -> None:
    """
    Live and cancelled numbers are counted; rejects and withheld cancellations are the last run's.
    """
    watch.see(number_row(1), number_row(2), number_row(3, number_e164=None))
    watch.see(number_row(1), number_row(2, status="Cancelled"))

    (status,) = told(watch.engine, views.sync_status)

    assert (status["last_run_id"], status["last_run_state"]) == (2, "succeeded")
    assert (status["live_numbers"], status["cancelled_numbers"]) == (1, 1)
    assert (status["withheld"], status["rejected"]) == (0, 0)


def test_live_numbers_bear_both_addresses(watch: Watch) -> None:
    """
    A live number stands once, with the columns of each address it has, and a gone one not at all.
    """
    home, emergency = address(1, addressLine1="1 Here"), address(2, addressLine1="2 There")
    watch.see(
        number_row(1, number_address=home, emergency_number_address=emergency),
        number_row(2, number_address=home),
        number_row(3),
        number_row(4, status="Cancelled", number_address=home),
    )

    rows = {row["uuid"]: row for row in told(watch.engine, views.live_numbers)}

    lines = [
        (row["number_address_line1"], row["emergency_number_address_line1"])
        for row in (rows[uuid_at(place)] for place in (1, 2, 3))
    ]
    assert lines == [("1 Here", "2 There"), ("1 Here", None), (None, None)]
    assert rows.keys() == {uuid_at(place) for place in (1, 2, 3)}
    without = {row["uuid"] for row in told(watch.engine, views.numbers_without_emergency_address)}
    assert without == {uuid_at(2), uuid_at(3)}
    without = {row["uuid"] for row in told(watch.engine, views.numbers_without_proof_of_address)}
    assert without == {uuid_at(3)}


def test_changes_are_all_of_history_with_the_number(watch: Watch) -> None:
    """
    Each history row stands once, as it is, with what the number is known by.
    """
    watch.see(number_row(1), number_row(2))
    watch.see(number_row(1, status="Active"), number_row(2, status="Cancelled"))

    rows = told(watch.engine, views.number_changes)

    of_number = ("number_e164", "range_name", "country_name", "country_alpha2")
    expected = rows_of(watch.engine, number_history)
    assert expected == sorted(
        ({k: v for k, v in row.items() if k not in of_number} for row in rows),
        key=lambda row: int(row["id"]),
    )
    assert {row["country_alpha2"] for row in rows} == {"GB"}


def test_sums_are_exact(watch: Watch) -> None:
    """
    Amounts that binary floating point can't add up are summed to the last digit.
    """
    watch.see(
        *(number_row(place, monthly_charge="0.1") for place in range(1, 31)),
        number_row(31, monthly_charge="99999999.9999"),
        number_row(32, monthly_charge=None),
    )

    (charges,) = told(watch.engine, views.monthly_charges)
    (last, *_) = sorted(
        told(watch.engine, views.inventory_by_month), key=lambda row: row["month"], reverse=True
    )

    total = Decimal("100000002.9999")
    assert (32, total) == (charges["numbers"], charges["monthly_charge"])
    assert (32, total) == (last["numbers"], last["monthly_charge"])
    with watch.engine.connect() as connection:
        query = text("SELECT monthly_charge FROM monthly_charges WHERE account = 'default'")
        plain = connection.execute(query).scalar_one()
    assert str(plain) == "100000002.9999"


def test_a_month_ends_in_utc(watch: Watch, clock: Clock) -> None:
    """
    What occurs in the last microsecond of a month is in it, whatever zone the session is in.
    """
    clock.time = NEW_YEAR - timedelta(microseconds=1)
    watch.see(number_row(1, provisioned="", details={"provisioned": ""}))
    clock.time = NEW_YEAR
    watch.see(number_row(1, status="Cancelled", provisioned="", details={"provisioned": ""}))
    kept, churned = views.inventory_by_month.c, views.churn_by_month.c
    query = select(kept.month, kept.numbers).where(kept.account == "default")
    events = select(churned.month, churned.added, churned.cancelled)
    events = events.where(churned.account == "default")

    with watch.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TIME ZONE 'Pacific/Kiritimati'"))
        months = {row[0]: row[1] for row in connection.execute(query)}
        churn = sorted(tuple(row) for row in connection.execute(events))

    assert [months[date(2025, 12, 1)], months[date(2026, 1, 1)]] == [1, 0]
    assert min(months) == date(2025, 12, 1)
    assert churn == [(date(2025, 12, 1), 1, 0), (date(2026, 1, 1), 0, 1)]


@pytest.mark.parametrize("kind", ["postgresql"])
def test_the_function_gives_what_was_known_at_a_moment(watch: Watch, clock: Clock) -> None:
    """
    At each moment, numbers known by then are told as they stood then, gone ones too.
    """
    watch.see(number_row(1), number_row(2))
    clock.pass_by(days=1)
    watch.see(number_row(1, monthly_charge="9"), number_row(2, status="Cancelled"))
    query = text(
        "SELECT uuid, lifecycle, monthly_charge FROM inventory_as_of(:at) "
        "WHERE account = 'default' ORDER BY uuid"
    )

    with watch.engine.connect() as connection:
        told_at = [
            [tuple(row) for row in connection.execute(query, {"at": at})]
            for at in (NEW_YEAR - timedelta(microseconds=1), NEW_YEAR, clock.time)
        ]

    assert told_at == [
        [],
        [(uuid_at(1), "live", Decimal("0.3")), (uuid_at(2), "live", Decimal("0.3"))],
        [(uuid_at(1), "live", Decimal(9)), (uuid_at(2), "cancelled", Decimal("0.3"))],
    ]
