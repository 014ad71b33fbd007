"""
A listing that is the one before is remembered outside the database, and staged at a difference.
"""

from __future__ import annotations

import errno
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, update

from support.build import address, number_row, published, uuid_at
from syncsvc.reconcile.staging import unchanged_rows
from syncsvc.sandbox import Inventory
from syncsvc.schema.tables import addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from support.build import Row, Watch

ROWS = [number_row(place, number_address=address(place % 3)) for place in range(1, 8)]


@pytest.fixture
def statements(engine: Engine) -> Iterator[list[str]]:
    """
    The statements that are executed.
    """
    seen: list[str] = []

    def note(*of: object) -> None:
        seen.append(str(of[2]))

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def replaced(place: int, **fields: object) -> list[Row]:
    """
    The rows, one of them with other fields.
    """
    return [{**row, **fields} if row["uuid"] == uuid_at(place) else row for row in ROWS]


@pytest.fixture(params=["in memory", "in a file", "no file", "too many addresses"])
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """
    Where rows are remembered, or why they can't be.
    """

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    match request.param:
        case "in a file":
            monkeypatch.setattr(unchanged_rows, "IN_MEMORY", 1)
        case "no file":
            monkeypatch.setattr(SpooledTemporaryFile, "write", fail)
        case "too many addresses":
            monkeypatch.setattr(unchanged_rows, "ADDRESSES_AT_MOST", 2)
    return str(request.param)


def test_nothing_is_staged_for_a_listing_without_changes(
    watch: Watch, statements: list[str]
) -> None:
    """
    No temporary table is created, and the counts are those of a run that staged all rows.
    """
    watch.see_paged(*ROWS, page_size=2)
    statements.clear()

    summary = watch.see_paged(*ROWS, page_size=2)

    assert (summary.state, summary.listed, summary.unchanged) == ("succeeded", 7, 7)
    assert [each for each in statements if "TEMPORARY" in each or "staged" in each] == []


def test_a_difference_at_the_end_finds_all_rows_before_it(watch: Watch, room: str) -> None:
    """
    Wherever the rows were remembered, one change, one absence and one new number are found.
    """
    watch.see_paged(*ROWS, page_size=2)
    new = number_row(9, number_address=address(9))
    rows = [row for row in replaced(6, status="Suspended") if row["uuid"] != uuid_at(3)]

    summary = watch.see_paged(*rows, new, page_size=2)

    found = (summary.listed, summary.unchanged, summary.changed, summary.provisioned)
    assert (room, found, summary.cancelled) == (room, (7, 5, 1, 1), 1)
    assert watch.number(6)["status"] == "Suspended"
    assert watch.number(3)["lifecycle"] == "cancelled"
    assert [each["id"] for each in published(watch.engine)["addresses"]] == [0, 1, 2, 9]


def test_an_unchanged_listing_changes_nothing(watch: Watch, room: str) -> None:
    """
    Wherever the rows were remembered, no row of the tables differs.
    """
    watch.see_paged(*ROWS, page_size=2)
    before = published(watch.engine)

    summary = watch.see_paged(*ROWS, page_size=2)

    assert (room, summary.listed, summary.unchanged) == (room, 7, 7)
    assert before == published(watch.engine)


def test_the_first_difference_may_be_an_absence(watch: Watch, room: str) -> None:
    """
    Rows that are all as they were, but too few, are staged to find out which one is absent.
    """
    watch.see_paged(*ROWS, page_size=2)

    summary = watch.see_paged(*ROWS[:-1], page_size=2)

    assert (room, summary.unchanged, summary.cancelled) == (room, 6, 1)
    assert watch.number(7)["lifecycle"] == "cancelled"


def test_the_first_difference_may_be_a_cancelled_entry(watch: Watch, room: str) -> None:
    """
    An entry of the cancelled listing stages the rows of a listing that was already settled.
    """
    watch.see_paged(*ROWS, page_size=2)
    gone = number_row(8, status="Cancelled", cancelled="2026-01-02 03:04:05")
    watch.sandbox.inventory = Inventory(ROWS, cancelled=[gone])

    summary = watch.run()

    assert (room, summary.listed, summary.unchanged, summary.cancelled) == (room, 7, 7, 1)
    assert watch.number(8)["lifecycle"] == "cancelled"


def test_the_first_difference_may_be_an_address(watch: Watch, room: str) -> None:
    """
    A row with known bytes whose address was edited in the database corrects the address.
    """
    watch.see_paged(*ROWS, page_size=2)
    with watch.engine.begin() as connection:
        connection.execute(update(addresses).where(addresses.c.id == 1).values(address_city="X"))

    summary = watch.see_paged(*ROWS, page_size=2)

    assert (room, summary.address_changes, summary.unchanged) == (room, 1, 7)
    assert published(watch.engine)["addresses"][1]["address_city"] != "X"


def test_a_row_that_comes_twice_repeats_the_walk(watch: Watch, room: str) -> None:
    """
    Known rows that do not add up prove nothing; they are staged, and nobody is absent.
    """
    watch.see_paged(*ROWS, page_size=2)

    summary = watch.see_paged(*ROWS[:-1], ROWS[0], page_size=2)

    assert (room, summary.walks, summary.cancelled) == (room, 3, 0)
    assert watch.number(7)["lifecycle"] == "live"
