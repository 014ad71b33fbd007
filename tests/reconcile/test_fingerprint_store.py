from __future__ import annotations

import errno
import json
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select, text, update

from support.build import address, number_row, published, rows_of, uuid_at
from syncsvc.payloads.decode_page import NOTHING_IGNORED, read_page
from syncsvc.payloads.extra_fields import IgnoredFields
from syncsvc.payloads.fingerprint import (
    Known,
    fingerprint,
    packed,
    part_of,
    salt,
    unpacked,
)
from syncsvc.payloads.records import Number, Unchanged
from syncsvc.reconcile.staging import stage_listing
from syncsvc.reconcile.statement_cache import values_for
from syncsvc.reconcile.unchanged import fingerprint_store
from syncsvc.reconcile.unchanged.live_rows_checksum import (
    NO_ROWS,
    LiveRows,
    summarise,
    summarise_all,
    total_of,
)
from syncsvc.sandbox import Inventory
from syncsvc.schema.internal_tables import listing_fingerprints
from syncsvc.schema.tables import number_history, numbers, sync_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from support.build import Row, Watch
    from syncsvc.payloads.records import Page

INTEGERS = st.integers(-(2**63), 2**63 - 1)
ROWS = [number_row(place, number_address=address(place)) for place in (1, 2, 3)]
OF_MANY_PARTS = [number_row(n, uuid=f"{n:02d}{uuid_at(n)[2:]}") for n in (1, 2, 3, 4)]


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


def test_the_fingerprints_of_a_part_are_stored_in_order(watch: Watch, engine: Engine) -> None:
    """
    However many rows a part has, their fingerprints are sorted, the negative ones first.
    """
    watch.see(*(number_row(place) for place in range(1, 51)))

    [kept] = [unpacked(row["fingerprints"]) for row in known_rows(engine) if row["part"]]
    assert kept.tolist() == sorted(kept)
    assert (len(kept), kept[0] < 0 < kept[-1]) == (50, True)


@given(INTEGERS, st.sets(INTEGERS))
def test_a_fingerprint_is_known_where_it_was_kept(one: int, others: set[int]) -> None:
    """
    Packed and unpacked, a part has the fingerprints put into it, and no other.
    """
    kept = packed(others)

    known = Known([(part_of(uuid_at(1)), kept)])

    assert (known.slot(uuid_at(1), one) is not None) == (one in others)
    assert sorted(others) == unpacked(kept).tolist()
    assert known.slot("ff" + uuid_at(1)[2:], one) is None


def test_what_is_read_otherwise_has_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A row that may be read differently now does not count as known.
    """
    before = fingerprint(b"{}", salt(UTC, NOTHING_IGNORED))
    elsewhere = fingerprint(b"{}", salt(ZoneInfo("Europe/Berlin"), NOTHING_IGNORED))
    monkeypatch.setattr("syncsvc.payloads.fingerprint.READER_VERSION", 99)
    salt.cache_clear()

    later = fingerprint(b"{}", salt(UTC, NOTHING_IGNORED))
    salt.cache_clear()

    fewer = fingerprint(b"{}", salt(UTC, IgnoredFields(["served_at"])))
    assert len({before, elsewhere, later, fewer}) == 4


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


def test_without_the_memory_an_absence_is_found(watch: Watch, engine: Engine) -> None:
    """
    Although nothing says how many live numbers there were.
    """
    watch.see(*ROWS)
    with engine.begin() as connection:
        connection.execute(listing_fingerprints.delete())

    assert watch.see(*ROWS[:2]).cancelled == 1


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # SQLite's triggers need the table
def test_a_server_may_lose_the_memory_altogether(watch: Watch, engine: Engine) -> None:
    """
    Runs go on without the table if somebody dropped it.
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
    If two numbers show an address differently the later one decides, known or not.
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


@contextmanager
def no_trigger(engine: Engine) -> Iterator[None]:
    """
    Let no trigger on `numbers` fire: disabled on PostgreSQL, dropped on SQLite.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE numbers DISABLE TRIGGER USER"))
        else:
            for name in ("numbers_updated", "numbers_deleted"):
                connection.execute(text(f"DROP TRIGGER {name}"))
    yield
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE numbers ENABLE TRIGGER USER"))


def state_of(row: Row) -> Row:
    """
    A number without what says when and by which run it was changed.
    """
    return {name: row[name] for name in row if name not in {"changed_at", "changed_run_id"}}


def test_a_number_that_comes_back_is_reinstated_without_triggers(
    watch: Watch, engine: Engine
) -> None:
    """
    If no trigger fires, the same bytes as before a cancellation still reinstate the number.
    """
    with no_trigger(engine):
        watch.see(*ROWS)
        watch.see(*ROWS[:2])

        summary = watch.see(*ROWS)
        again = watch.see(*ROWS)

    assert watch.events(3) == ["provisioned", "cancelled", "reinstated"]
    assert (summary.reinstated, again.unchanged) == (1, 3)


@pytest.mark.parametrize(
    "edit",
    [{"status": "by hand"}, {"monthly_charge": 7}, {"lifecycle": "cancelled"}, {"extra": {"a": 1}}],
)
def test_an_edit_is_put_right_without_triggers(watch: Watch, engine: Engine, edit: Row) -> None:
    """
    A number that another program wrote while no trigger fired is made to agree again.
    """
    watch.see(*ROWS)
    right = watch.number(2)
    with no_trigger(engine):
        watch.see(*ROWS)
        with engine.begin() as connection:
            connection.execute(update(numbers).where(numbers.c.uuid == uuid_at(2)).values(edit))

        summary = watch.see(*ROWS)
        again = watch.see(*ROWS)

    assert state_of(right) == state_of(watch.number(2))
    assert (summary.changed + summary.reinstated, again.unchanged) == (1, 3)


def test_restored_rows_are_put_right(watch: Watch, engine: Engine) -> None:
    """
    If older rows of numbers were restored beside newer fingerprints, the next run corrects them.
    """
    watch.see(*ROWS)
    old = rows_of(engine, numbers)
    edited = [number_row(place, status="Active", number_address=address(place)) for place in (1, 2)]
    watch.see(*edited, ROWS[2])
    new = {place: state_of(watch.number(place)) for place in (1, 2, 3)}
    with no_trigger(engine), engine.begin() as connection:
        for row in old:
            connection.execute(update(numbers).where(numbers.c.uuid == row["uuid"]).values(row))

    watch.see(*edited, ROWS[2])

    assert new == {place: state_of(watch.number(place)) for place in (1, 2, 3)}


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)  # PostgreSQL marks every row it writes
@pytest.mark.parametrize("names", [["numbers_updated"], ["numbers_updated", "numbers_deleted"]])
def test_an_edit_between_two_lives_of_a_trigger_is_put_right(
    watch: Watch, engine: Engine, names: list[str]
) -> None:
    """
    A number that was written while its triggers were dropped is made to agree, once they are back.
    """
    watch.see(*ROWS)
    right = watch.number(2)
    with engine.begin() as connection:
        definition = text("SELECT sql FROM sqlite_master WHERE name = :name")
        created = [connection.execute(definition, {"name": each}).scalar_one() for each in names]
        for name in names:
            connection.execute(text(f"DROP TRIGGER {name}"))
        connection.execute(
            update(numbers).where(numbers.c.uuid == uuid_at(2)).values(status="by hand")
        )
        for statement in created:
            connection.exec_driver_sql(statement)

    summary = watch.see(*ROWS)
    again = watch.see(*ROWS)

    assert state_of(right) == state_of(watch.number(2))
    assert (summary.changed, again.unchanged) == (1, 3)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)  # PostgreSQL has no REPLACE
def test_a_replaced_row_is_put_right(watch: Watch, engine: Engine) -> None:
    """
    SQLite fires no trigger for a row that a REPLACE deletes; the next run still corrects it.
    """
    watch.see(*ROWS)
    right = watch.number(2)
    with closing(sqlite3.connect(str(engine.url.database))) as other:
        row = list(other.execute("SELECT * FROM numbers WHERE uuid = ?", (uuid_at(2),)).fetchone())
    row[numbers.c.keys().index("status")] = "by hand"
    places = ", ".join("?" * len(row))
    with closing(sqlite3.connect(str(engine.url.database))) as other, other:
        other.execute(f"REPLACE INTO numbers VALUES ({places})", row)  # noqa: S608 - no values
    assert watch.number(2)["status"] == "by hand"

    watch.see(*ROWS)

    assert state_of(right) == state_of(watch.number(2))


def test_an_edit_during_a_run_is_put_right_by_the_next(watch: Watch, engine: Engine) -> None:
    """
    A row that was unchanged when it was read, and written before the run published, is read again.
    """
    watch.see(*ROWS)
    right = watch.number(2)

    def edit(*_progress: object) -> None:
        with engine.begin() as connection:
            connection.execute(
                update(numbers).where(numbers.c.uuid == uuid_at(2)).values(status="by hand")
            )

    changed = number_row(1, status="Active", number_address=address(1))
    watch.see(changed, *ROWS[1:], on_page=edit)

    watch.see(changed, *ROWS[1:])

    assert state_of(right) == state_of(watch.number(2))


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # SQLite has one writer at a time
@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize(
    "before",
    [
        "INSERT INTO planned_numbers",
        "INSERT INTO number_history",
        "UPDATE numbers",
        "INSERT INTO listing_fingerprints",
    ],
)
@pytest.mark.parametrize(
    ("place", "edit"), [(2, {"status": "by hand"}), (3, {"lifecycle": "cancelled"})]
)
def test_an_edit_while_a_run_publishes_is_put_right_by_the_next(
    watch: Watch, engine: Engine, role: str, before: str, place: int, edit: Row
) -> None:
    """
    What another program commits between any two steps of publishing is not taken for unchanged.
    """
    first = watch.see(*OF_MANY_PARTS)
    right = [state_of(row) for row in rows_of(engine, numbers)]
    edits = iter([edit])

    def write(_connection: Connection, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith(before) and (values := next(edits, None)):
            with engine.begin() as other:
                other.execute(text(f"SET LOCAL session_replication_role = {role}"))
                row = numbers.c.uuid == OF_MANY_PARTS[place]["uuid"]
                other.execute(update(numbers).where(row).values(values))

    event.listen(engine, "before_cursor_execute", write)
    changed = {**OF_MANY_PARTS[0], "range_name": "Elsewhere"}
    watch.see(changed, *OF_MANY_PARTS[1:])
    event.remove(engine, "before_cursor_execute", write)

    watch.see(*OF_MANY_PARTS)

    assert (first.state, next(edits, None)) == ("succeeded", None)
    assert right == [state_of(row) for row in rows_of(engine, numbers)]


def test_fingerprints_of_the_previous_version_are_not_used(watch: Watch, engine: Engine) -> None:
    """
    A version that does not know what its fingerprints were stored for is not believed.
    """
    watch.see(*ROWS)
    with engine.begin() as connection:
        connection.execute(listing_fingerprints.update().values(live_rows=None))

    assert [Number] * 3 == [type(row) for row in read_known(engine, *ROWS).rows]


def stored(engine: Engine) -> tuple[dict[str, list[int]], dict[str, int]]:
    """
    The fingerprints that a run would go by, and the live numbers of each part.
    """
    with engine.connect() as connection:
        known = fingerprint_store.load(connection, "default")
    marks = known.fingerprints.tolist()
    return {part: marks[slice(*known.slots(part))] for part in known.parts}, dict(known.live)


def expected(*rows: Row) -> tuple[dict[str, list[int]], dict[str, int]]:
    """
    The same, computed from the live rows.
    """
    marks: dict[str, list[int]] = {}
    for row in rows:
        mark = fingerprint(json.dumps(row).encode(), salt(UTC, NOTHING_IGNORED))
        marks.setdefault(part_of(row["uuid"]), []).append(mark)
    found = {part: sorted(some) for part, some in marks.items()}
    return found, {part: len(some) for part, some in found.items()}


@pytest.fixture(params=["enough", "no file", "for no difference"])
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """
    The room for unchanged rows outside the database.
    """

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if request.param == "no file":  # they are staged as soon as they are read
        monkeypatch.setattr(SpooledTemporaryFile, "write", fail)
    if request.param == "for no difference":  # they are staged as soon as another row is
        monkeypatch.setattr(stage_listing, "DIFFERENT_AT_MOST", 0)
        monkeypatch.setattr(stage_listing, "ROWS_AT_ONCE", 1)
    return str(request.param)


BESIDE = number_row(9, uuid=f"01{uuid_at(9)[2:]}")  # in the part of the first of many


@pytest.mark.parametrize("entered", [True, False])
def test_every_run_remembers_the_live_rows(
    watch: Watch, engine: Engine, room: str, *, entered: bool
) -> None:
    """
    Whatever a run adds, changes, cancels or can't read, the next one goes by the rows as they are.
    """
    one, two, three, four = OF_MANY_PARTS
    gone: Row = {"status": "Cancelled"}
    entry = {**BESIDE, **gone, "cancelled": "2001-01-01 00:00:00"}  # of another life
    changed, again = {**one, "status": "Active"}, {**one, "status": "Active again"}
    unreadable = number_row(8, uuid=f"01{uuid_at(8)[2:]}", monthly_charge="?")
    states = []
    for listed, live in (
        ([one, two, three, four, BESIDE], [one, two, three, four, BESIDE]),
        ([changed, two, four, BESIDE], [changed, two, four, BESIDE]),
        ([changed, {**two, **gone}, three, four, BESIDE], [changed, three, four, BESIDE]),
        ([one, three, {**four, "monthly_charge": "?"}, BESIDE], [one, three, four, BESIDE]),
        ([changed, three, four, {**BESIDE, **gone}], [changed, three, four]),
        ([again, three, four, {**BESIDE, **gone}, unreadable], [again, three, four]),
    ):
        watch.sandbox.inventory = Inventory(listed, cancelled=[entry] if entered else [])
        states.append(watch.run().state)
        assert (room, stored(engine)) == (room, expected(*live))

    assert states == ["succeeded"] * 6


def test_a_part_with_an_absence_is_remembered_by_the_next_run(
    watch: Watch, engine: Engine, room: str
) -> None:
    """
    Unless its other rows were staged, they are read once more.
    """
    watch.see(*OF_MANY_PARTS, account="other")
    watch.see(*OF_MANY_PARTS, BESIDE)
    summary = watch.see(*OF_MANY_PARTS)
    fingerprints, live = expected(*OF_MANY_PARTS)
    after_one_more = stored(engine) if room == "no file" else None
    if room != "no file":
        del fingerprints["01"]
        assert stored(engine) == (fingerprints, live)
        watch.see(*OF_MANY_PARTS)
        after_one_more = stored(engine)

    assert (summary.cancelled, after_one_more) == (1, expected(*OF_MANY_PARTS))


def test_a_row_with_a_stamp_is_not_remembered(watch: Watch, engine: Engine) -> None:
    """
    Whether its stamp is still ahead, the next run has to judge again.
    """
    watch.see(*OF_MANY_PARTS, BESIDE)
    stamp = {"cancelled": "2031-01-01 00:00:00"}
    ahead = number_row(1, uuid=OF_MANY_PARTS[0]["uuid"], details=stamp)
    listed = [*OF_MANY_PARTS[1:], {**BESIDE, "status": "Active"}]

    summary = watch.see(ahead, *listed)

    fingerprints, live = stored(engine)
    assert (summary.changed, fingerprints) == (2, expected(*listed)[0])
    assert live == {"01": 2, "02": 1, "03": 1, "04": 1}


def test_without_triggers_nothing_outdated_is_remembered(watch: Watch, engine: Engine) -> None:
    """
    Also if the live numbers that are stored add up, because another part is not remembered.
    """
    one, two, *_ = OF_MANY_PARTS
    ahead = {**two, "details": {**two["details"], "cancelled": "2031-01-01 00:00:00"}}
    with no_trigger(engine):
        watch.see(one, BESIDE, ahead)
        watch.see(one, ahead)

        summary = watch.see(one, BESIDE, ahead)

    assert (summary.state, summary.reinstated) == ("succeeded", 1)


def test_live_rows_are_summarised_with_the_runs_that_wrote_them(
    watch: Watch, engine: Engine
) -> None:
    """
    By part, or all together and with the number of cancelled ones; of no rows, all is zero.
    """
    watch.see(*OF_MANY_PARTS, BESIDE, number_row(9, status="Cancelled"))
    watch.see({**OF_MANY_PARTS[0], "status": "Active"}, *OF_MANY_PARTS[1:], BESIDE)
    first, second = (run["id"] for run in rows_of(engine, sync_runs))
    with engine.connect() as connection:
        by_part = summarise(connection, values_for("default"))
        together = summarise_all(connection, "default")
        none = summarise_all(connection, "nobody")

    assert {part: rows[:2] for part, rows in by_part.items()} == {
        "01": (2, first + second),
        **dict.fromkeys(("02", "03", "04"), (1, first)),
    }
    total = total_of(by_part)
    assert together.agrees(total)
    assert (together.live, together.cancelled) == (total.live, 1)
    assert not together.agrees(total._replace(live=total.live + 1))
    assert not together.agrees(total._replace(versions=total.versions - 1))
    assert total.versions == sum(rows.versions for rows in by_part.values()) > 0
    assert (none.agrees(NO_ROWS), none.cancelled) == (True, 0)
    assert LiveRows.parsed(str(total)) == total
    assert total_of({}) == NO_ROWS


def test_only_the_part_of_an_edited_number_is_forgotten(watch: Watch, engine: Engine) -> None:
    """
    The others are still gone by, and how many live numbers each part has is known.
    """
    watch.see(*OF_MANY_PARTS)
    fingerprints, live = stored(engine)
    with engine.begin() as connection:
        edited = numbers.c.uuid == OF_MANY_PARTS[1]["uuid"]
        connection.execute(update(numbers).where(edited).values(status="by hand"))
    del fingerprints["02"]

    assert stored(engine) == (fingerprints, live) == (fingerprints, dict.fromkeys(live, 1))
    assert len(live) == 4

    watch.see(*OF_MANY_PARTS)
    assert stored(engine) == expected(*OF_MANY_PARTS)
