"""
A listing that is the one before is remembered outside the database, and staged at a difference.
"""

from __future__ import annotations

import errno
import json
from datetime import UTC
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, select, update

from support.build import address, api_for, number_row, published, rows_of, uuid_at
from syncsvc.payloads.decode_page import read_page
from syncsvc.payloads.fingerprint import Known, packed
from syncsvc.payloads.records import Address, Reject, Unchanged
from syncsvc.reconcile.staging import find_absent, stage_listing
from syncsvc.reconcile.staging.stage_listing import Stage
from syncsvc.reconcile.temp_tables import (
    staged_addresses,
    staged_cancelled,
    staged_numbers,
    staged_rejects,
)
from syncsvc.reconcile.unchanged import changed_addresses, remember_unchanged
from syncsvc.reconcile.unchanged.changed_addresses import (
    ShownAddresses,
    content_digest,
    contents_by_id,
)
from syncsvc.reconcile.unchanged.remember_unchanged import RememberedRow, UnchangedRows, as_bytes
from syncsvc.sandbox import Inventory
from syncsvc.schema.internal_tables import listing_fingerprints
from syncsvc.schema.tables import addresses, numbers, sync_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Column, Connection, Engine

    from support.build import Row, Watch
    from syncsvc.payloads.records import Page

    Look = Callable[..., list[tuple[Any, ...]]]

ROWS = [number_row(place, number_address=address(place % 3)) for place in range(1, 8)]
UUIDS = [f"{part}{uuid_at(place)[2:]}" for part in ("1a", "1b") for place in (1, 2)]


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
    No temporary table and no sum of each part is needed for the counts of a run that stages all.
    """
    watch.see_paged(*ROWS, page_size=2)
    statements.clear()

    summary = watch.see_paged(*ROWS, page_size=2)

    assert (summary.state, summary.listed, summary.unchanged) == ("succeeded", 7, 7)
    unwanted = ("TEMPORARY", "staged", "GROUP BY")
    assert [each for each in statements if any(word in each for word in unwanted)] == []


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


class Interrupted(Inventory):
    """
    Numbers of which the first search has to wait until something else has happened.
    """

    def __init__(self, first: Callable[[], None], rows: list[Row], cancelled: list[Row]) -> None:
        """
        Take what has to happen, and both listings.
        """
        super().__init__(rows, cancelled)
        self._first = [first]

    def listing(
        self, *, cancelled: bool = False, digits: str | None = None, shuffled: bool = False
    ) -> list[Any]:
        """
        Show the listings as they are.
        """
        while digits is not None and self._first:
            self._first.pop()()
        return super().listing(cancelled=cancelled, digits=digits, shuffled=shuffled)


def test_an_entry_says_nothing_about_a_listed_number_that_is_edited_meanwhile(
    watch: Watch, room: str
) -> None:
    """
    If another program cancels it while a run searches, the run leaves it to the next.
    """
    watch.see_paged(*ROWS, page_size=2)
    entry = number_row(3, status="Cancelled", cancelled="2025-06-02 03:04:05")

    def edit() -> None:
        with watch.engine.begin() as connection:
            cancelled = update(numbers).values(lifecycle="cancelled")
            connection.execute(cancelled.where(numbers.c.uuid == uuid_at(3)))

    watch.sandbox.inventory = Interrupted(edit, ROWS[:-1], [entry])
    summary = watch.run()
    by_hand = watch.number(3)
    again = watch.run()

    assert (room, summary.cancelled, summary.changed, again.reinstated) == (room, 1, 0, 1)
    assert (by_hand["lifecycle"], by_hand["cancelled_at"]) == ("cancelled", None)


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


def test_beside_a_change_no_uuid_is_compared_if_none_is_missing(
    watch: Watch, statements: list[str]
) -> None:
    """
    Counting the numbers that are staged and those that are remembered shows that all are there.
    """
    watch.see_paged(*ROWS, page_size=2)
    statements.clear()

    summary = watch.see_paged(*replaced(6, status="Suspended"), page_size=2)

    assert (summary.state, summary.changed, summary.unchanged) == ("succeeded", 1, 6)
    assert [each for each in statements if "absent_numbers" in each] == []


def in_part(part: str, place: int, **fields: Any) -> Row:
    """
    A live number whose uuid begins with these characters.
    """
    return number_row(place, uuid=f"{part}{uuid_at(place)[2:]}", **fields)


def test_a_number_that_comes_back_hides_no_absence(watch: Watch) -> None:
    """
    If as many numbers of a part are listed as were live, one may still be missing.
    """
    back, gone, other = in_part("0a", 1), in_part("0a", 2), in_part("0b", 3)
    watch.see(back, gone, other)
    watch.see(gone, other)

    summary = watch.see(back, other)

    assert (summary.reinstated, summary.cancelled, summary.unchanged) == (1, 1, 1)


def test_a_part_that_has_lost_its_only_number_is_found(watch: Watch) -> None:
    """
    Beside a change in another part, its number is cancelled.
    """
    watch.see(in_part("0a", 1), in_part("0b", 2), in_part("0b", 3))

    summary = watch.see(in_part("0b", 2, status="Suspended"), in_part("0b", 3))

    assert (summary.changed, summary.cancelled, summary.unchanged) == (1, 1, 1)


def test_the_uuids_of_few_parts_are_in_memory_at_once(
    watch: Watch, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Parts of two numbers, in each of which one is missing, are compared two by two.
    """
    monkeypatch.setattr(find_absent, "COMPARED_AT_ONCE", 4)
    rows = [in_part(part, place) for part in ("0a", "0b", "0c", "0d") for place in (1, 2)]
    watch.see(*rows)
    statements.clear()

    summary = watch.see(*rows[::2])

    assert (summary.unchanged, summary.cancelled) == (4, 4)
    compared = [each for each in statements if each.startswith("SELECT numbers.uuid")]
    assert sum("substr" in each for each in compared) == 2


@pytest.mark.parametrize(("differences", "staged"), [(2, 2), (3, 7)])
def test_beyond_so_many_differences_all_rows_are_staged(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, differences: int, staged: int
) -> None:
    """
    Of 7 rows on 4 pages, 2 may differ before the others are staged with them.
    """
    monkeypatch.setattr(stage_listing, "DIFFERENT_AT_MOST", 2)
    monkeypatch.setattr(stage_listing, "ROWS_AT_ONCE", 1)
    watch.see_paged(*ROWS, page_size=2)
    found: list[str] = []

    def note(connection: Connection, _run_id: int) -> None:
        found.extend(connection.execute(select(staged_numbers.c.uuid)).scalars())

    changed = [{**row, "status": "Suspended"} for row in ROWS[:differences]]
    with api_for(watch.sandbox, page_size=2) as api:
        summary = watch.see(*changed, *ROWS[differences:], api=api, on_found=note)

    assert (summary.changed, summary.unchanged) == (differences, 7 - differences)
    assert (len(found), len({*found})) == (staged, staged)


def test_other_bytes_of_the_same_row_are_known_next_time(watch: Watch) -> None:
    """
    Although nothing changes, also beside an entry for a number that is listed.
    """
    entry = number_row(3, status="Cancelled", cancelled="2026-06-02 03:04:05")
    watch.sandbox.inventory = Inventory(ROWS, cancelled=[entry])
    watch.run()
    before = rows_of(watch.engine, listing_fingerprints)
    turned = dict(reversed(ROWS[1].items()))
    watch.sandbox.inventory = Inventory([ROWS[0], turned, *ROWS[2:]], cancelled=[entry])

    summary = watch.run()

    assert (summary.unchanged, summary.changed) == (7, 0)
    assert len(before) == len(rows_of(watch.engine, listing_fingerprints))
    assert before != rows_of(watch.engine, listing_fingerprints)


def test_an_address_with_unknown_fields_is_as_known(watch: Watch, statements: list[str]) -> None:
    """
    Whatever order the database keeps them in, nothing is staged.
    """
    row = number_row(1, number_address=address(1, zeta={"b": 1.50, "a": None}, alpha=["x"]))
    watch.see(row)
    statements.clear()

    assert watch.see(row).unchanged == 1
    assert [each for each in statements if "TEMPORARY" in each] == []


@pytest.mark.parametrize(("most", "known"), [(3, {0, 1, 2}), (2, None)])
def test_as_many_addresses_are_remembered_as_fit(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, most: int, known: set[int] | None
) -> None:
    """
    Of three addresses all are remembered, or none.
    """
    watch.see(*ROWS)
    monkeypatch.setattr(changed_addresses, "KNOWN_AT_MOST", most)

    with watch.engine.connect() as connection:
        found = contents_by_id(connection, "default")

    assert (found and {*found}) == known


def office(number: int, name: str = "as known") -> tuple[Address, ...]:
    """
    The only address of a row.
    """
    return (Address(number, name, *[None] * 10),)


def contents(*numbers: int) -> dict[int, bytes]:
    """
    What the tables have of these addresses.
    """
    return {number: content_digest(office(number)[0]) for number in numbers}


def test_an_address_of_many_numbers_is_staged_once() -> None:
    """
    However often it is shown, unless it differs from what was shown last.
    """
    shown = ShownAddresses({})

    assert shown.to_stage(office(1)) == [*office(1)]
    assert [shown.to_stage(office(1)) for _ in range(2)] == [[], []]
    assert shown.to_stage(office(1, "other")) == [*office(1, "other")]
    assert shown.to_stage(office(1)) == [*office(1)]


def test_only_addresses_that_differ_from_the_tables_are_staged() -> None:
    """
    The others are remembered, until one is shown with another content: then both are staged.
    """
    shown = ShownAddresses(contents(1, 2))

    assert [shown.to_stage(office(number)) for number in (1, 2, 1)] == [[], [], []]
    assert shown.as_known() == [*office(1), *office(2)]
    assert (shown.is_as_known(1), shown.is_as_known(3)) == (True, False)
    assert shown.to_stage(office(1, "other")) == [*office(1), *office(1, "other")]
    assert (shown.is_as_known(1), shown.as_known()) == (False, [*office(2)])
    assert shown.to_stage(office(1)) == [*office(1)]


@pytest.mark.parametrize(("known", "again"), [((), 1), ((9,), 0)])
def test_few_staged_addresses_are_remembered_while_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, known: tuple[int, ...], again: int
) -> None:
    """
    A first load stages one again that it has forgotten; beside known ones none is forgotten.
    """
    monkeypatch.setattr(changed_addresses, "STAGED_AT_MOST", 2)
    shown = ShownAddresses(contents(*known))

    for number in (1, 2, 1, 2, 3):
        shown.to_stage(office(number))

    assert [len(shown.to_stage(office(number))) for number in (3, 1)] == [0, again]


@pytest.fixture
def remembered() -> Iterator[UnchangedRows]:
    """
    Two pages: the third number, a reject and the first number, then the first number again.
    """
    known = Known([("1a", packed([5, 7])), ("1b", packed([3, 9]))])
    rows = UnchangedRows(known)
    reject = Reject(UUIDS[1], "reason", "{}")
    assert rows.take([Unchanged(UUIDS[2], 2, ()), reject, Unchanged(UUIDS[0], 0, ())], 1)
    assert rows.take([Unchanged(UUIDS[0], 0, ())], 4)
    yield rows
    rows.close()


def test_remembered_rows_are_counted_by_number(remembered: UnchangedRows) -> None:
    """
    A number that comes twice counts once, in its part and in all.
    """
    assert len(remembered) == 2
    assert [remembered.of_part(part) for part in ("1a", "1b", "ff")] == [1, 1, 0]
    assert [remembered.fingerprints(part) for part in ("1a", "1b", "ff")] == [[5], [3], []]
    assert remembered.uuids({"1a"}) == {as_bytes(UUIDS[0])}
    assert remembered.uuids({"1a", "1b"}) == {as_bytes(UUIDS[0]), as_bytes(UUIDS[2])}


def test_remembered_rows_have_their_place_in_the_walk(remembered: UnchangedRows) -> None:
    """
    Each is yielded as often as it came, with its position among all rows.
    """
    third, first, again = (
        RememberedRow(position, UUIDS[number], fingerprint)
        for position, number, fingerprint in ((1, 2, 3), (3, 0, 5), (4, 0, 5))
    )

    assert [[*remembered.rows()] for _ in range(2)] == [[third, first, again]] * 2
    assert remembered.forget([]) == []
    assert remembered.forget([UUIDS[0], UUIDS[1]]) == [first, again]
    assert remembered.forget([UUIDS[0]]) == []
    assert [*remembered.rows()] == [third]
    assert (len(remembered), remembered.of_part("1a"), remembered.fingerprints("1a")) == (1, 0, [])


def test_after_a_failed_write_nothing_is_remembered(
    remembered: UnchangedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A part of the page may have been written, so that no later page has its place.
    """

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(SpooledTemporaryFile, "write", fail)
        assert not remembered.take([Unchanged(UUIDS[3], 3, ())], 5)

    assert not remembered.take([Unchanged(UUIDS[3], 3, ())], 5)
    assert (len(remembered), [row.position for row in remembered.rows()]) == (2, [1, 3, 4])


BAD: Row = {"monthly_charge": "a lot"}
NAMELESS: Row = {"uuid": "?"}


def page_of(*rows: Row) -> Page:
    """
    A page of these rows, all of them decoded.
    """
    body = json.dumps({"numbers": rows, "num_results": len(rows)})
    return read_page(body.encode(), UTC, Known())


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """
    The session that has a stage's temporary tables.
    """
    with engine.connect() as opened:
        yield opened


@pytest.fixture
def stage(connection: Connection) -> Iterator[Stage]:
    """
    A run's stage, of an account that knows no rows.
    """
    staged = Stage(connection, "default", Known())
    staged.begin_walk()
    yield staged
    staged.close()


@pytest.fixture
def staged_as(connection: Connection, stage: Stage) -> Look:
    """
    Reads columns of a staged table, in the order in which the rows came.
    """

    def read(*columns: Column[Any]) -> list[tuple[Any, ...]]:
        stage.distinct_rows()  # which inserts what is still in memory
        with connection.begin():
            query = select(*columns).order_by(columns[0].table.c.seq)
            return [tuple(row) for row in connection.execute(query)]

    return read


def test_every_row_is_staged_with_its_place(stage: Stage, staged_as: Look) -> None:
    """
    Also a reject: with its page and position, and as a number, if its uuid can be read.
    """
    first, second = page_of(number_row(1), number_row(2, **BAD), NAMELESS), page_of(number_row(3))
    for index, page in enumerate((first, second), 1):
        stage.add(page, index)

    rows, rejects = staged_numbers.c, staged_rejects.c
    assert staged_as(rows.walk, rows.seq, rows.rejected, rows.fingerprint, rows.uuid) == [
        (1, 1, False, first.fingerprints[0], uuid_at(1)),
        (1, 2, True, None, uuid_at(2)),
        (1, 4, False, second.fingerprints[0], uuid_at(3)),
    ]
    assert staged_as(rows.unchanged, rows.number_e164, rows.status) == [
        (False, "+441245000001", "Reserved"),
        (False, None, None),
        (False, "+441245000003", "Reserved"),
    ]
    assert staged_as(rejects.walk, rejects.seq, rejects.page, rejects.position) == [
        (1, 2, 1, 2),
        (1, 3, 1, 3),
    ]
    assert (stage.distinct_rows(), stage.different, stage.stamped) == (4, 3, False)


@pytest.mark.parametrize("complete", [True, False])
def test_the_last_walk_counts_if_it_proved_itself(
    stage: Stage, staged_as: Look, *, complete: bool
) -> None:
    """
    Otherwise the latest row of each number does, of whichever walk.
    """
    stage.add(page_of(number_row(1), number_row(2, **BAD), number_row(4), NAMELESS), 1)
    stage.begin_walk()
    stage.add(page_of(number_row(1), number_row(3), number_row(3), number_row(4, **BAD)), 1)

    assert stage.distinct_rows() == 3
    stage.keep_latest(complete=complete)
    earlier = [] if complete else [(1, uuid_at(2))]
    twice = [(2, uuid_at(3))] * (2 if complete else 1)
    rows, rejects = staged_numbers.c, staged_rejects.c
    assert staged_as(rows.walk, rows.uuid) == [
        *earlier,
        (2, uuid_at(1)),
        *twice,
        (2, uuid_at(4)),
    ]
    assert staged_as(rejects.walk, rejects.uuid) == [*earlier, (2, uuid_at(4))]


def test_a_third_walk_may_prove_itself(stage: Stage, staged_as: Look) -> None:
    """
    Then neither of those before it counts.
    """
    for place in (1, 2, 3):
        stage.add(page_of(number_row(place)), 1)
        if place < 3:
            stage.begin_walk()

    assert stage.distinct_rows() == 1
    stage.keep_latest(complete=True)
    assert staged_as(staged_numbers.c.uuid) == [(uuid_at(3),)]


def test_what_a_search_finds_is_of_no_walk(stage: Stage, staged_as: Look) -> None:
    """
    It comes after the listing, and a reject says where it was found.
    """
    stage.add(page_of(number_row(1)), 1)
    found = page_of(number_row(2), number_row(3, **BAD)).rows
    stage.add_found(row for row in found if not isinstance(row, Unchanged))

    rows, rejects = staged_numbers.c, staged_rejects.c
    assert staged_as(rows.walk, rows.seq, rows.uuid, rows.rejected)[1:] == [
        (0, 2, uuid_at(2), False),
        (0, 3, uuid_at(3), True),
    ]
    [(*place, reason)] = staged_as(rejects.walk, rejects.page, rejects.position, rejects.reason)
    assert (place, reason.partition(" ")[0]) == ([0, 0, 2], "search:")


def test_entries_are_staged_as_cancelled(stage: Stage, staged_as: Look) -> None:
    """
    The latest of each number, with addresses that come before all others; none of a live number.
    """
    gone: Row = {"status": "Cancelled"}
    stamp: Row = {"cancelled": "2025-06-01 12:00:00"}
    stage.add(page_of(number_row(1, number_address=address(1))), 1)
    first = page_of(number_row(2, **gone), number_row(3, **BAD), number_row(4))
    second = page_of(
        number_row(2, number_address=address(2), **gone),
        number_row(5, number_address=address(2, name="Later"), **stamp),
    )
    stage.add_cancelled(first, 1)
    stage.add_cancelled(second, 2)
    stage.keep_latest_cancelled()

    entry, rejects, shown = staged_cancelled.c, staged_rejects.c, staged_addresses.c
    assert staged_as(entry.seq, entry.strong, entry.uuid, entry.lifecycle) == [
        (5, True, uuid_at(2), "cancelled"),
        (6, False, uuid_at(5), "cancelled"),
    ]
    [(*place, reason)] = staged_as(
        rejects.walk, rejects.seq, rejects.page, rejects.position, rejects.reason
    )
    assert (place, reason.partition(":")[0]) == ([1, 3, 1, 2], "cancelled listing")
    assert staged_as(shown.walk, shown.id, shown.name) == [
        (0, 2, "Office 2"),
        (0, 2, "Later"),
        (1, 1, "Office 1"),
    ]
    assert (stage.distinct_rows(), stage.different) == (1, 1)


@pytest.mark.parametrize(
    ("fields", "stamped"),
    [
        ({"cancelled": "2025-06-01 12:00:00"}, True),
        ({"cancelled": "2025-06-01 12:00:00", "status": "Cancelled"}, False),
        ({"status": "Cancelled"}, False),
        ({}, False),
    ],
)
def test_a_stamp_beside_another_status_has_to_be_judged(
    stage: Stage, fields: Row, *, stamped: bool
) -> None:
    """
    One beside the status "Cancelled", or none, need not be.
    """
    stage.add(page_of(number_row(1, **fields), number_row(2)), 1)

    assert stage.stamped is stamped


def test_the_last_content_of_an_address_has_the_highest_number(
    stage: Stage, staged_as: Look
) -> None:
    """
    However many pages there are, each content is staged once, unless another came between.
    """
    for index, name in enumerate(("one", "one", "other", "one"), 1):
        stage.add(page_of(number_row(index, number_address=address(7, name=name))), index)

    shown = staged_addresses.c
    found = staged_as(shown.walk, shown.seq, shown.name, shown.content)
    contents_of = [content for *_, content in found]
    assert [row[:3] for row in found] == [(1, 1, "one"), (1, 2, "other"), (1, 3, "one")]
    assert contents_of[0] == contents_of[2] != contents_of[1]


def test_missing_numbers_are_found_by_a_join(watch: Watch, statements: list[str]) -> None:
    """
    PostgreSQL makes a join of NOT EXISTS, whatever its memory, and none of a NOT IN.
    """
    watch.see(*ROWS)
    with watch.engine.begin() as connection:
        connection.execute(listing_fingerprints.delete())
    statements.clear()

    assert watch.see(*ROWS[1:]).cancelled == 1
    [found] = [each for each in statements if each.startswith("INSERT INTO absent_numbers")]
    assert "NOT (EXISTS" in found
    assert "NOT IN" not in found
