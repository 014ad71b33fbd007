"""
A page that is as it was is skipped as a whole; its rows are looked at only if something is new.
"""

from __future__ import annotations

import errno
import json
import random
from datetime import UTC
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, event, select, update

from support.account_contents import contents
from support.build import address, api_for, number_row, published, rows_of, uuid_at
from syncsvc.payloads import decode_page
from syncsvc.payloads import fingerprint as of_fingerprint
from syncsvc.payloads.decode_page import read_page
from syncsvc.payloads.extra_fields import IgnoredFields
from syncsvc.payloads.fingerprint import Known, KnownPage, KnownPages, page_identity
from syncsvc.reconcile.unchanged import changed_addresses, note_pages, page_store
from syncsvc.sandbox import Behaviour, Inventory
from syncsvc.schema.internal_tables import listing_fingerprints, listing_pages
from syncsvc.schema.tables import addresses, numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.build import Row, Watch

ROWS = [number_row(place, number_address=address(place % 3)) for place in range(1, 8)]
CHANGED = [*ROWS[:4], {**ROWS[4], "status": "Suspended"}, *ROWS[5:]]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """
    The rows of the listing that were looked at one by one.
    """
    seen: list[bytes] = []
    fingerprint = of_fingerprint.fingerprint

    def note(row: bytes, salted: bytes) -> int:
        seen.append(row)
        return fingerprint(row, salted)

    monkeypatch.setattr(decode_page, "fingerprint", note)
    return seen


def stored(watch: Watch) -> list[Row]:
    """
    The stored pages of all accounts.
    """
    return rows_of(watch.engine, listing_pages)


def told_of_pages(watch: Watch) -> bytes:
    """
    What the fingerprints tell of the stored pages.
    """
    [row] = rows_of(watch.engine, listing_fingerprints, part="")
    return bytes(row["fingerprints"])


def test_no_row_of_an_unchanged_listing_is_looked_at(watch: Watch, looked_at: list[bytes]) -> None:
    """
    The counts are those of a run that looks at all of them, and nothing is written.
    """
    watch.see_paged(*ROWS, page_size=2)
    before, pages = published(watch.engine), stored(watch)
    assert told_of_pages(watch)
    looked_at.clear()

    summary = watch.see_paged(*ROWS, page_size=2)

    assert (summary.walks, summary.pages, summary.listed, summary.unchanged) == (1, 4, 7, 7)
    assert (looked_at, before, pages) == ([], published(watch.engine), stored(watch))


def test_from_the_first_page_that_differs_on_all_rows_are_looked_at(
    watch: Watch, looked_at: list[bytes]
) -> None:
    """
    Of four pages the third differs; those before it count as they were stored.
    """
    watch.see_paged(*ROWS, page_size=2)
    looked_at.clear()

    with api_for(watch.sandbox, page_size=2, concurrency=1) as api:
        summary = watch.see(*CHANGED, api=api)

    assert (summary.listed, summary.changed, summary.unchanged) == (7, 1, 6)
    assert len(looked_at) == 3


def test_few_different_rows_are_staged_together_whatever_pages_they_are_on(watch: Watch) -> None:
    """
    A run over seven pages of one row that differs commits as often as one over a single page.
    """
    edited = [[{**row, "status": status} for row in ROWS] for status in ("Active", "Suspended")]
    watch.see_paged(*ROWS, page_size=1)
    commits: list[object] = []
    event.listen(watch.engine, "commit", commits.append)

    watch.see_paged(*edited[0], page_size=1)
    on_seven = len(commits)
    watch.see_paged(*edited[1], page_size=7)

    assert on_seven == len(commits) - on_seven


@pytest.mark.parametrize(
    "rows",
    [ROWS[::-1], [*ROWS[1:], ROWS[0]], [*ROWS[:2], *ROWS[4:6], *ROWS[2:4], ROWS[6]]],
    ids=["reversed", "shifted", "pages exchanged"],
)
def test_another_order_changes_nothing(watch: Watch, rows: list[Row]) -> None:
    """
    Whatever page a row comes on, the tables and the stored pages stay as they are.
    """
    watch.see_paged(*ROWS, page_size=2)
    before, pages = published(watch.engine), stored(watch)

    summary = watch.see_paged(*rows, page_size=2)

    assert (summary.walks, summary.listed, summary.unchanged) == (1, 7, 7)
    assert (before, pages) == (published(watch.engine), stored(watch))


def test_the_run_after_a_change_notes_the_pages_again(watch: Watch, looked_at: list[bytes]) -> None:
    """
    It looks at all rows, and the one after it at none.
    """
    watch.see_paged(*ROWS, page_size=2)
    watch.see_paged(*CHANGED, page_size=2)
    for expected in (7, 0):
        looked_at.clear()
        summary = watch.see_paged(*CHANGED, page_size=2)
        assert (summary.unchanged, len(looked_at)) == (7, expected)


def test_a_total_that_changes_alone_is_no_other_page(watch: Watch, looked_at: list[bytes]) -> None:
    """
    What a page says of the whole listing is not part of it: only the new page is looked at.
    """
    watch.see_paged(*ROWS[:6], page_size=2)
    looked_at.clear()

    with api_for(watch.sandbox, page_size=2, concurrency=1) as api:
        summary = watch.see(*ROWS, api=api)

    assert (summary.provisioned, summary.unchanged, len(looked_at)) == (1, 6, 1)


def edited_number(watch: Watch) -> None:
    """
    Somebody edits a number.
    """
    with watch.engine.begin() as connection:
        edit = update(numbers).where(numbers.c.uuid == uuid_at(3)).values(status="Edited")
        connection.execute(edit)


def edited_address(watch: Watch) -> None:
    """
    Somebody edits an address.
    """
    with watch.engine.begin() as connection:
        edit = update(addresses).where(addresses.c.id == 1).values(address_city="Edited")
        connection.execute(edit)


def new_address(watch: Watch) -> None:
    """
    Somebody inserts an address.
    """
    with watch.engine.begin() as connection:
        columns = [column for column in addresses.c if column.name != "id"]
        one = select((addresses.c.id + 90).label("id"), *columns).where(addresses.c.id == 1)
        connection.execute(addresses.insert().from_select(["id", *columns], one))


def no_fingerprints(watch: Watch) -> None:
    """
    Somebody empties the fingerprints, to have every row compared.
    """
    with watch.engine.begin() as connection:
        connection.execute(delete(listing_fingerprints))


def no_pages(watch: Watch, account: str = "default") -> None:
    """
    Somebody makes a run forget all pages.
    """
    with watch.engine.begin() as connection:
        page_store.forget(connection, account)


def other_pages(watch: Watch) -> None:
    """
    The pages of an older listing are restored.
    """
    pages, told = stored(watch), told_of_pages(watch)
    watch.see_paged(*CHANGED, page_size=2)
    watch.see_paged(*CHANGED, page_size=2)
    no_pages(watch)
    whole = listing_fingerprints.c.part == ""
    with watch.engine.begin() as connection:
        connection.execute(listing_pages.insert(), pages)
        restored = update(listing_fingerprints).where(whole).values(fingerprints=told)
        connection.execute(restored)


@pytest.mark.parametrize(
    "edit", [edited_number, edited_address, new_address, no_fingerprints, no_pages, other_pages]
)
def test_pages_are_trusted_only_while_the_tables_are_as_they_were(
    watch: Watch, looked_at: list[bytes], edit: Any
) -> None:
    """
    Otherwise all rows are looked at, and what somebody edited is corrected.
    """
    watch.see_paged(*ROWS, page_size=2)
    before = published(watch.engine)
    edit(watch)
    looked_at.clear()

    watch.see_paged(*ROWS, page_size=2)

    assert len(looked_at) == len(ROWS)
    for name in ("status", "number_e164"):
        was = [row[name] for row in before["numbers"]]
        assert was == [row[name] for row in published(watch.engine)["numbers"]]
    cities = {row["address_city"] for row in published(watch.engine)["addresses"]}
    assert cities == {"London"}


@pytest.mark.parametrize(
    "row",
    [
        {**ROWS[6], "monthly_charge": "a lot"},
        {**ROWS[6], "status": "Cancelled"},
        {**ROWS[6], "cancelled": "2016-01-02 03:04:05"},
    ],
    ids=["unreadable", "cancelled", "stamped"],
)
def test_a_listing_with_such_a_row_has_no_known_pages(
    watch: Watch, looked_at: list[bytes], row: Row
) -> None:
    """
    The tables do not agree with the row, or will no longer do so: every run looks at it.
    """
    for _ in range(3):
        looked_at.clear()
        watch.see_paged(*ROWS[:6], row, page_size=2)
        assert (stored(watch), len(looked_at)) == ([], 7)


def test_an_address_with_two_contents_leaves_no_known_pages(
    watch: Watch, looked_at: list[bytes]
) -> None:
    """
    Each run looks at all rows, and tells of the address.
    """
    rows = [*ROWS[:6], number_row(7, number_address=address(1, addressCity="Elsewhere"))]
    for _ in range(3):
        looked_at.clear()
        watch.see_paged(*rows, page_size=2)
        assert (stored(watch), len(looked_at)) == ([], 7)
        assert watch.last_run()["detail"]["address_conflicts"] == 1


def test_an_unproved_listing_leaves_no_known_pages(watch: Watch) -> None:
    """
    A row that comes twice repeats the walk; nothing of it is noted.
    """
    summary = watch.see_paged(*ROWS, ROWS[0], page_size=2)

    assert (summary.walks, stored(watch)) == (3, [])


def test_a_page_that_the_host_repeats_past_the_end_ends_the_walk(watch: Watch) -> None:
    """
    Also if it was skipped, and whatever its rows have become meanwhile.
    """
    watch.see_paged(*ROWS[:6], page_size=2)
    watch.sandbox.reset(Inventory(ROWS[:6]), Behaviour(past_end="repeat"))

    with api_for(watch.sandbox, page_size=2) as api:
        summary = watch.run(api=api)

    assert (summary.walks, summary.pages, summary.unchanged) == (1, 3, 6)


def test_a_known_page_and_its_repetition_have_one_identity() -> None:
    """
    Although the repetition has another order and other details, and is looked at.
    """
    body = json.dumps({"numbers": ROWS[:2]}).encode()
    again = json.dumps({"numbers": [ROWS[1], {**ROWS[0], "status": "Other"}]}).encode()
    other = json.dumps({"numbers": ROWS[1:3]}).encode()
    known = Known()
    known.pages = KnownPages(are_noted=True)
    first = read_page(body, UTC, known)
    page = KnownPage(first.digest or b"", first.identity, 0, 2, 0)
    known.pages = KnownPages([page])

    skipped = read_page(body, UTC, known)

    assert (skipped.known, skipped.rows, skipped.length) == (page, [], 2)
    assert skipped.identity == read_page(again, UTC, known).identity
    assert skipped.identity != read_page(other, UTC, known).identity


def test_an_old_entry_changes_no_address_of_a_skipped_page(
    watch: Watch, looked_at: list[bytes]
) -> None:
    """
    The cancelled listing shows an address of live numbers as it was long ago.
    """
    old = address(1, addressCity="Long ago")
    entry = number_row(9, status="Cancelled", cancelled="2020-01-02 03:04:05", number_address=old)
    watch.see_paged(*ROWS, page_size=2)
    looked_at.clear()
    watch.sandbox.inventory = Inventory(ROWS, cancelled=[entry])

    with api_for(watch.sandbox, page_size=2) as api:
        summary = watch.run(api=api)

    assert (summary.cancelled, summary.address_changes, looked_at) == (1, 0, [])
    assert {row["address_city"] for row in published(watch.engine)["addresses"]} == {"London"}


@pytest.mark.parametrize("damage", [lambda rows: rows[::-1], lambda rows: rows[:8], lambda _: b""])
def test_stored_rows_that_are_not_those_of_their_page_repeat_the_walk(
    watch: Watch, looked_at: list[bytes], damage: Callable[[bytes], bytes]
) -> None:
    """
    If they are needed, no number is taken for absent: the second walk looks at every row.
    """
    watch.see_paged(*ROWS, page_size=2)
    pages = stored(watch)
    damaged(watch, damage)
    looked_at.clear()

    unneeded = watch.see_paged(*ROWS, page_size=2)
    assert (unneeded.walks, unneeded.unchanged, looked_at) == (1, 7, [])
    summary = watch.see_paged(*ROWS[:5], CHANGED[5], page_size=2)

    found = (summary.walks, summary.listed, summary.unchanged, summary.cancelled)
    assert (summary.state, found) == ("succeeded", (2, 6, 6, 1))
    assert pages != stored(watch)


def damaged(watch: Watch, damage: Callable[[bytes], bytes]) -> None:
    """
    Damage the stored rows, or delete them.
    """
    [row] = stored(watch)
    rows = damage(row["rows"])
    change = update(listing_pages).values(rows=rows) if rows else delete(listing_pages)
    with watch.engine.begin() as connection:
        connection.execute(change)


def test_a_run_fails_if_it_needs_lost_rows_after_its_walk(watch: Watch) -> None:
    """
    A listed number has an entry in the cancelled listing, too; the run after it succeeds.
    """
    watch.see_paged(*ROWS, page_size=2)
    damaged(watch, lambda _: b"")
    entry = number_row(3, status="Cancelled", cancelled="2026-06-02 03:04:05")
    watch.sandbox.inventory = Inventory(ROWS, cancelled=[entry])

    states = []
    for _ in range(2):
        with api_for(watch.sandbox, page_size=2) as api:
            summary = watch.run(api=api)
            states.append((summary.state, summary.cancelled, "again" in (summary.error or "")))

    assert states == [("failed", 0, True), ("succeeded", 0, False)]


@pytest.mark.parametrize("problem", ["no file", "too many addresses"])
def test_a_run_that_can_t_note_pages_goes_on_without(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    """
    If no temporary file can be written, or there are too many addresses, none are stored.
    """

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if problem == "no file":
        monkeypatch.setattr(SpooledTemporaryFile, "write", fail)
    else:
        monkeypatch.setattr(changed_addresses, "KNOWN_AT_MOST", 2)

    assert watch.see_paged(*ROWS, page_size=2).provisioned == len(ROWS)
    assert stored(watch) == []


def test_a_dry_run_stores_no_pages(watch: Watch) -> None:
    """
    What it has noted is rolled back with the rest.
    """
    watch.see(*ROWS, dry_run=True)

    assert stored(watch) == []


@pytest.mark.parametrize("gone", range(len(ROWS)))
def test_an_absence_is_found_on_whatever_page(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, gone: int
) -> None:
    """
    With one page in each stored row, the pages before the difference are read from several.
    """
    monkeypatch.setattr(note_pages, "ROWS_AT_ONCE", 1)
    watch.see_paged(*ROWS, page_size=2)
    assert len(stored(watch)) == 4

    summary = watch.see_paged(*ROWS[:gone], *ROWS[gone + 1 :], page_size=2)

    assert (summary.listed, summary.unchanged, summary.cancelled) == (6, 6, 1)
    assert watch.number(gone + 1)["lifecycle"] == "cancelled"


def test_a_field_that_is_ignored_from_now_on_makes_other_pages(
    watch: Watch, looked_at: list[bytes]
) -> None:
    """
    What a page says depends on the settings by which it is read.
    """
    rows = [{**row, "unknown": 1} for row in ROWS]
    watch.see(*rows)
    looked_at.clear()

    with api_for(watch.sandbox, ignored=IgnoredFields(["unknown"])) as api:
        summary = watch.see(*rows, api=api)

    assert (summary.changed, len(looked_at)) == (7, 7)
    assert watch.number(3)["extra"] is None


def test_nothing_is_looked_for_after_a_page_that_is_not_known() -> None:
    """
    Pages of which no run notes anything are not hashed either.
    """
    page = KnownPage(b"known", b"", 0, 1, 0)
    pages = KnownPages([page])

    assert pages.find(b"known") == page
    assert pages.digest_of([b"{}"], b"") is not None
    assert pages.find(b"other") is None
    assert pages.find(b"known") is None
    assert pages.digest_of([b"{}"], b"") is None


@given(st.lists(st.text(), max_size=5), st.randoms())
def test_a_page_s_identity_is_that_of_its_rows_in_any_order(names: list[str], random: Any) -> None:
    """
    And of no other rows.
    """
    shuffled = random.sample(names, len(names))

    assert page_identity(names) == page_identity(shuffled)
    assert page_identity(names) != page_identity([*names, "one more"])


def listings(chance: random.Random) -> Iterator[Inventory]:
    """
    Listings in a random sequence; many are the one before, or the same rows in another order.
    """
    rows = list(ROWS)
    entries: list[Row] = []
    while True:
        match chance.randrange(9):
            case 0:
                chance.shuffle(rows)
            case 1:
                del rows[-1:]
                rows = rows or list(ROWS)
            case 2:
                missing = [
                    row for row in ROWS if row["uuid"] not in {each["uuid"] for each in rows}
                ]
                rows = [*rows, *missing[:1]]
            case 3:
                place = chance.randrange(len(rows))
                rows[place] = {**rows[place], "status": chance.choice(["Reserved", "Suspended"])}
            case 4:
                moved = address(chance.randrange(3), addressCity=chance.choice(["London", "Paris"]))
                rows[0] = {**rows[0], "details": {"number_address": moved}}
            case 5:
                odd = [{"monthly_charge": "a lot"}, {"cancelled": "2026-01-02 03:04:05"}, {}]
                [as_before] = [row for row in ROWS if row["uuid"] == rows[-1]["uuid"]]
                rows[-1] = {**as_before, **chance.choice(odd)}
            case 6:
                entries = [number_row(chance.randrange(1, 9), status="Cancelled")]
            case _:
                pass
        yield Inventory(list(rows), cancelled=entries)


@pytest.mark.parametrize("seed", range(8))
def test_random_runs_that_skip_pages_end_like_runs_that_look_at_all_rows(
    watch: Watch, looked_at: list[bytes], seed: int
) -> None:
    """
    Of two accounts with the same listings, one forgets its pages before each run.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    skipped = 0
    for inventory, _ in zip(listings(chance), range(20), strict=False):
        watch.sandbox.inventory = inventory
        counts = []
        for account in ("skipping", "looking"):
            if account == "looking":
                no_pages(watch, account)
            looked_at.clear()
            with api_for(watch.sandbox, page_size=2) as api:
                summary = watch.run(api=api, account=account)
            skipped += account == "skipping" and not looked_at
            own = {"account": "", "run_id": 0, "duration_seconds": 0}
            counts.append({**msgspec.structs.asdict(summary), **own})
        assert counts[0] == counts[1]
        assert contents(watch.engine, "skipping") == contents(watch.engine, "looking")
    assert skipped
