"""
What stands beside the tests that are marked so is a whole account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.build import number_row, rows_of, uuid_at
from support.neighbour import TABLES, belongings, everything, sightings
from syncsvc.schema.internal_tables import internal_metadata
from syncsvc.schema.tables import metadata, number_history, numbers

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from support.build import Watch

pytestmark = pytest.mark.neighbour


def test_the_neighbour_has_rows_in_every_table(engine: Engine) -> None:
    """
    A table that a migration adds, with an account, needs rows of the neighbour, too.
    """
    tables = [*metadata.tables.values(), *internal_metadata.tables.values()]

    assert set(TABLES) == {table for table in tables if "account" in table.c}
    assert all(belongings(everything(engine)).values())
    assert [rows_of(engine, table) for table in TABLES] == [[]] * len(TABLES)


def test_a_number_absent_in_one_account_stays_live_in_the_other(
    watch: Watch, engine: Engine
) -> None:
    """
    Two accounts and the neighbour have the same uuid live; it is cancelled where it is missing.
    """
    rows = [number_row(1), number_row(2)]
    watch.see(*rows)
    watch.see(*rows, account="other")
    gone = watch.see(rows[1])
    still = watch.see(*rows, account="other")

    found = {row["account"]: row["lifecycle"] for row in rows_of(engine, numbers, uuid=uuid_at(1))}
    assert found == {"default": "cancelled", "other": "live"}
    assert (gone.cancelled, gone.withheld, still.cancelled, still.unchanged) == (1, 0, 0, 2)
    events = rows_of(engine, number_history, uuid=uuid_at(1), account="other")
    assert [row["event"] for row in events] == ["provisioned"]


def test_what_is_the_neighbours_is_noticed(watch: Watch, engine: Engine) -> None:
    """
    Its texts in a row of another account are found.
    """
    watch.see(number_row(1))
    before = sightings(everything(engine))
    with engine.begin() as connection:
        mine = numbers.c.account == "default"
        connection.execute(numbers.update().where(mine).values(status="the neighbour's"))
    after = sightings(everything(engine))
    with engine.begin() as connection:
        connection.execute(numbers.update().where(mine).values(status="Reserved"))

    assert (len(before), len(after)) == (0, 1)
