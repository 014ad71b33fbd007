from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from support.build import address, number_row, published, rows_of, uuid_at
from syncsvc.payloads.decode import read_page
from syncsvc.payloads.fingerprint import (
    Known,
    fingerprint,
    packed,
    part_of,
    salt,
    unpacked,
)
from syncsvc.payloads.records import Number, Unchanged
from syncsvc.reconcile import fingerprint_store
from syncsvc.schema.fingerprint_table import listing_fingerprints
from syncsvc.schema.tables import number_history, numbers

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from support.build import Row, Watch
    from syncsvc.payloads.records import Page

INTEGERS = st.integers(-(2**63), 2**63 - 1)
ROWS = [number_row(place, number_address=address(place)) for place in (1, 2, 3)]


def known_rows(engine: Engine, account: str = "default") -> list[Row]:
    """
    What is remembered of an account.
    """
    return rows_of(engine, listing_fingerprints, account=account)


def page_of(*rows: Row) -> bytes:
    """
    A listing page of these rows.
    """
    return json.dumps({"numbers": rows, "num_results": len(rows)}).encode()


def read_known(engine: Engine, *rows: Row) -> Page:
    """
    A page, read by what a database remembers.
    """
    with engine.connect() as connection:
        known = fingerprint_store.load(connection, "default")
    return read_page(page_of(*rows), UTC, known)


@given(INTEGERS, st.sets(INTEGERS))
def test_a_fingerprint_is_known_where_it_was_kept(one: int, others: set[int]) -> None:
    """
    Packed and unpacked, a part has the fingerprints put into it, and no other.
    """
    kept = packed(others)

    known = Known([(part_of(uuid_at(1)), kept)])

    assert known.has(uuid_at(1), one) == (one in others)
    assert sorted(others) == unpacked(kept).tolist()
    assert not known.has("ff" + uuid_at(1)[2:], one)


def test_another_zone_or_reader_makes_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A row that may be read differently now does not count as known.
    """
    before = fingerprint(b"{}", salt(UTC))
    elsewhere = fingerprint(b"{}", salt(ZoneInfo("Europe/Berlin")))
    monkeypatch.setattr("syncsvc.payloads.fingerprint.READER_VERSION", 99)
    salt.cache_clear()

    later = fingerprint(b"{}", salt(UTC))
    salt.cache_clear()

    assert len({before, elsewhere, later}) == 3


def test_a_row_that_is_as_it_was_goes_unread(watch: Watch, engine: Engine) -> None:
    """
    After a run, the same bytes are known, with their addresses; others are read.
    """
    watch.see(*ROWS)
    edited = number_row(2, number_address=address(2), status="Active")

    page = read_known(engine, ROWS[0], edited)

    first, second = page.rows
    assert isinstance(first, Unchanged)
    assert (uuid_at(1), [1]) == (first.uuid, [each.id for each in first.addresses])
    assert isinstance(second, Number)
    assert second.status == "Active"


@pytest.mark.parametrize("nothing", [[], False])
def test_a_known_row_may_have_what_php_sends_for_nothing(
    watch: Watch, engine: Engine, nothing: object
) -> None:
    """
    A row whose details and address are no objects goes unread, too, once it is known.
    """
    row = {**number_row(1, number_address=nothing), "details": nothing}
    watch.see(row)

    [found] = read_known(engine, row).rows

    assert isinstance(found, Unchanged)
    assert (uuid_at(1), ()) == (found.uuid, found.addresses)


def test_a_run_without_changes_remembers_what_is_remembered(watch: Watch, engine: Engine) -> None:
    """
    The second run over a listing counts all as unchanged and leaves the memory alone.
    """
    watch.see(*ROWS)
    before = known_rows(engine)

    summary = watch.see(*ROWS)

    assert (summary.listed, summary.unchanged, summary.changed) == (3, 3, 0)
    assert before == known_rows(engine) != []


@pytest.mark.parametrize(
    "edit",
    [{"status": "by hand"}, {"monthly_charge": 7}, {"lifecycle": "cancelled"}, {"extra": {"a": 1}}],
)
def test_an_edit_by_hand_is_put_right(watch: Watch, engine: Engine, edit: Row) -> None:
    """
    A number that somebody changed in the database is made to agree again, though its row is known.
    """
    watch.see(*ROWS)
    right = watch.number(2)
    with engine.begin() as connection:
        connection.execute(update(numbers).where(numbers.c.uuid == uuid_at(2)).values(edit))

    summary = watch.see(*ROWS)

    ours = ("changed_at", "changed_run_id")
    assert {name: right[name] for name in right if name not in ours} == {
        name: value for name, value in watch.number(2).items() if name not in ours
    }
    assert (summary.changed + summary.reinstated, summary.unchanged) == (1, 2)


def test_a_number_deleted_by_hand_comes_back(watch: Watch, engine: Engine) -> None:
    """
    A number that is gone from the table is added again, though its row is known.
    """
    watch.see(*ROWS)
    with engine.begin() as connection:
        for table in (number_history, numbers):
            connection.execute(table.delete().where(table.c.uuid == uuid_at(3)))

    summary = watch.see(*ROWS)

    assert (summary.provisioned, summary.unchanged) == (1, 2)
    assert watch.number(3)["lifecycle"] == "live"


def test_a_cancelled_number_is_not_known_when_it_comes_back(watch: Watch) -> None:
    """
    The same bytes as before a cancellation reinstate the number.
    """
    watch.see(*ROWS)
    watch.see(*ROWS[:2])

    summary = watch.see(*ROWS)

    assert watch.events(3) == ["provisioned", "cancelled", "reinstated"]
    assert summary.reinstated == 1


def test_what_one_account_knows_is_nothing_to_another(watch: Watch, engine: Engine) -> None:
    """
    A second account reads the same listing for itself.
    """
    watch.see(*ROWS)

    summary = watch.see(*ROWS, account="other")

    assert (summary.provisioned, summary.unchanged) == (3, 0)
    assert known_rows(engine) != []
    assert known_rows(engine, "other") != []


def test_the_memory_may_be_emptied(watch: Watch, engine: Engine) -> None:
    """
    Without it a run reads every row, finds the same and remembers it again.
    """
    watch.see(*ROWS)
    before, remembered_before = published(engine), known_rows(engine)
    with engine.begin() as connection:
        connection.execute(listing_fingerprints.delete())

    watch.see(*ROWS)

    assert before == published(engine)
    assert remembered_before == known_rows(engine) != []


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # SQLite's triggers need the table
def test_a_server_may_lose_the_memory_altogether(watch: Watch, engine: Engine) -> None:
    """
    Runs go on without the table where somebody dropped it.
    """
    watch.see(*ROWS)
    listing_fingerprints.drop(engine)
    try:
        watch.see(number_row(1, status="Active"), *ROWS[1:])

        assert watch.number(1)["status"] == "Active"
    finally:
        listing_fingerprints.create(engine)


def test_an_unchanged_row_still_has_its_say_about_an_address(watch: Watch) -> None:
    """
    Where two numbers show an address differently the later one decides, known or not.
    """
    watch.see(
        number_row(1, number_address=address(7)),
        number_row(2, number_address=address(7)),
    )

    watch.see(
        number_row(1, number_address=address(7, name="Elsewhere")),
        number_row(2, number_address=address(7)),
    )

    assert [row["event"] for row in watch.address_history(7)] == ["added"]
    assert watch.last_run()["detail"]["address_conflicts"] == 1


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # SQLite has no TRUNCATE
def test_truncated_numbers_are_forgotten(watch: Watch, engine: Engine) -> None:
    """
    On PostgreSQL, emptying the table at once empties the memory too.
    """
    watch.see(*ROWS)

    with engine.begin() as connection:
        connection.execute(text("TRUNCATE numbers, number_history"))

    with engine.connect() as connection:
        assert connection.execute(select(listing_fingerprints)).all() == []
