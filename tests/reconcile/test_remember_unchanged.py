"""
A listing that is the one before is remembered outside the database, and staged at a difference.
"""

from __future__ import annotations

import errno
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, select, update

from support.build import address, api_for, number_row, published, rows_of, uuid_at
from syncsvc.reconcile.staging import changed_addresses, remember_unchanged, stage_listing
from syncsvc.reconcile.temp_tables import staged_numbers
from syncsvc.sandbox import Inventory
from syncsvc.schema.tables import addresses, sync_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

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


@pytest.fixture(
    params=["in memory", "in a file", "no file", "too many addresses", "too many differences"]
)
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """
    Where rows are remembered, or why they can't be.
    """

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    match request.param:
        case "in a file":
            monkeypatch.setattr(remember_unchanged, "IN_MEMORY", 1)
        case "no file":
            monkeypatch.setattr(SpooledTemporaryFile, "write", fail)
        case "too many addresses":
            monkeypatch.setattr(changed_addresses, "KNOWN_AT_MOST", 2)
        case "too many differences":
            monkeypatch.setattr(stage_listing, "DIFFERENT_AT_MOST", 0)
            monkeypatch.setattr(stage_listing, "ROWS_AT_ONCE", 1)
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


def test_only_what_differs_is_staged(watch: Watch) -> None:
    """
    Beside a change, an absence and a new number, no unchanged row gets into the database.
    """
    watch.see_paged(*ROWS, page_size=2)
    rows = [row for row in replaced(6, status="Suspended") if row["uuid"] != uuid_at(3)]
    staged: list[bool] = []

    def note(connection: Connection, _run_id: int) -> None:
        staged.extend(connection.execute(select(staged_numbers.c.unchanged)).scalars())

    with api_for(watch.sandbox, page_size=2) as api:
        summary = watch.see(*rows, number_row(9), api=api, on_found=note)

    assert (summary.changed, summary.cancelled, summary.provisioned) == (1, 1, 1)
    assert staged == [False, False]


def test_an_entry_that_is_known_already_writes_nothing(watch: Watch, statements: list[str]) -> None:
    """
    A run whose cancelled listing tells no news writes neither history nor fingerprints.
    """
    gone = number_row(8, status="Cancelled", cancelled="2026-01-02 03:04:05")
    watch.sandbox.inventory = Inventory(ROWS, cancelled=[gone])
    watch.run()
    statements.clear()

    summary = watch.run()

    assert (summary.listed, summary.unchanged, summary.cancelled) == (7, 7, 0)
    written = {each.split()[2] for each in statements if each.startswith("INSERT")}
    assert not written & {"numbers", "number_history", "listing_fingerprints", "addresses"}


@pytest.mark.parametrize("known_first", [True, False])
def test_a_number_listed_in_two_ways_has_its_later_row(
    watch: Watch, room: str, *, known_first: bool
) -> None:
    """
    A known row and another one of the same number prove nothing, and the later one is taken.
    """
    watch.see_paged(*ROWS, page_size=2)
    known, other = ROWS[2], {**ROWS[2], "status": "Suspended"}
    both = (known, other) if known_first else (other, known)

    summary = watch.see_paged(*ROWS[:2], *both, *ROWS[3:], page_size=2)

    assert (room, summary.walks, summary.listed, summary.unchanged) == (
        *(room, 3, 7),
        6 if known_first else 7,
    )
    assert watch.number(3)["status"] == both[-1]["status"]


def test_a_listed_number_with_an_entry_stays_live(watch: Watch, room: str) -> None:
    """
    An entry of the cancelled listing says nothing about a number whose row is as it was.
    """
    watch.see_paged(*ROWS, page_size=2)
    entry = number_row(3, status="Cancelled", cancelled="2026-06-02 03:04:05")
    watch.sandbox.inventory = Inventory(ROWS, cancelled=[entry])

    summary = watch.run()

    assert (room, summary.listed, summary.unchanged, summary.cancelled) == (room, 7, 7, 0)
    assert watch.number(3)["lifecycle"] == "live"


@pytest.mark.parametrize("known_first", [True, False])
def test_of_two_contents_of_an_address_the_later_one_wins(
    watch: Watch, room: str, *, known_first: bool
) -> None:
    """
    One content may be the known one, of rows that are not staged; the conflict is counted.
    """
    watch.see_paged(*ROWS, page_size=2)
    moved = address(1, addressCity="Elsewhere")
    changed = number_row(4 if known_first else 1, status="Suspended", number_address=moved)
    rows = [changed if row["uuid"] == changed["uuid"] else row for row in ROWS[:4]]

    summary = watch.see_paged(*rows, *(ROWS[4:6]), number_row(7), page_size=2)

    [_, run] = rows_of(watch.engine, sync_runs)
    assert (room, summary.changed, run["detail"]["address_conflicts"]) == (room, 2, 1)
    assert published(watch.engine)["addresses"][1]["address_city"] == (
        "Elsewhere" if known_first else "London"
    )


def test_an_unreadable_row_of_a_known_number_is_not_an_absence(watch: Watch, room: str) -> None:
    """
    Beside rows that are remembered, the number of a reject stays as it was.
    """
    watch.see_paged(*ROWS, page_size=2)

    summary = watch.see_paged(*replaced(3, monthly_charge="a lot"), page_size=2)

    found = (summary.unchanged, summary.rejected, summary.cancelled, summary.withheld)
    assert (room, *found) == (room, 6, 1, 0, 0)
    assert watch.number(3)["lifecycle"] == "live"
