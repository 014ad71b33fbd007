"""
The views: the same columns and answers on both databases, as plain Python works them out.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from sqlalchemy import Engine, Table, inspect, select

from past import Told, pasts, write
from support import Row, profile
from syncsvc import views
from syncsvc.runs import now
from syncsvc.schema import number_history, numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from past import Past

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
    The rows of a view.
    """
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(view)).mappings()]


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
    assert PUBLIC == {view.name: " ".join(view.c.keys()) for view in views.metadata.tables.values()}


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
