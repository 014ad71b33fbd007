"""
Store and load the fingerprints of the rows that the tables agree with.

The internal table may be emptied at any time: the next run then decodes every row. Nothing in it is
trusted without a look at `numbers`. Beside the fingerprints of each part is a summary of the live
rows that they were stored for; if the rows have another one now, the part is ignored. So it is safe
to restore rows, to write them with another program, or to disable triggers.

The summary is that of the rows that the run found before it planned, plus the rows that it wrote
itself. What another program commits in between is not part of it, so the next run notices.
"""

from __future__ import annotations

from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    and_,
    delete,
    exists,
    func,
    insert,
    inspect,
    literal_column,
    not_,
    or_,
    select,
    text,
)

from syncsvc.payloads import fingerprint
from syncsvc.payloads.fingerprint import Known
from syncsvc.reconcile.statement_cache import ACCOUNT, RUN_ID, built, values_for, values_of
from syncsvc.reconcile.temp_tables import PARTS, part_of, planned_numbers, staged_numbers
from syncsvc.reconcile.unchanged.live_rows_checksum import (
    NO_ROWS,
    WHOLE,
    LiveRows,
    combined,
    summarise,
    summarise_all,
    total_of,
)
from syncsvc.schema.internal_tables import listing_fingerprints
from syncsvc.schema.tables import numbers
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import ColumnElement, Connection, Delete, Select

    from syncsvc.database.runs import Run

ROWS_AT_ONCE = 10_000
PARTS_AT_ONCE = 16
INSERTED = ("account", "part", "fingerprints", "live_rows")

SCHEMA_FROM_TOTAL = ": "

stored = listing_fingerprints.c

staged_part = part_of(staged_numbers.c.uuid)

IS_PLANNED = numbers.c.uuid.in_(select(planned_numbers.c.uuid))
IS_OF_RUN = numbers.c.changed_run_id == RUN_ID

TRIGGERS = {"numbers_updated", "numbers_deleted"}
TRIGGERS_OF_SQLITE = text(
    "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'numbers'"
)


class Found(NamedTuple):
    """
    What a run finds before it publishes.

    Attributes:
        live_rows: Summaries of the live rows of each part, without those that the run writes.
        stale: Parts whose numbers somebody else has changed since `load`, or forgotten.
    """

    live_rows: dict[str, LiveRows]
    stale: set[str]


def load(connection: Connection, account: str) -> Known:
    """
    Return the fingerprints of an account that still agree with its numbers.
    """
    with connection.begin():
        if not _is_there(connection):
            return Known()
        kept = _stored_summaries(connection, account)
        live_rows, cancelled = _look(connection, account, kept)
        agreeing = _parts_with(connection, kept, live_rows)
        live = {part: rows.live for part, rows in live_rows.items()}
        few = {"yield_per": PARTS_AT_ONCE}  # the driver would hold them three times over
        rows = connection.execute(
            built(_stored_fingerprints), values_for(account), execution_options=few
        )
        known = Known((), live, cancelled)
        known.stored_pages = b""
        for part, kept in rows:
            if part == WHOLE:
                known.stored_pages = kept
            elif part in agreeing:
                known.add(part, kept)
        return known


def find(connection: Connection, account: str, known: Known) -> Found:
    """
    Summarise the live rows, and find the parts that were taken for unchanged too early.

    Call it in the transaction that publishes, before anything is planned.
    """
    if not _is_there(connection):
        return Found({}, known.parts)
    kept = _stored_summaries(connection, account)
    live_rows, _cancelled = _look(connection, account, kept)
    return Found(live_rows, stale=known.parts - _parts_with(connection, kept, live_rows))


def leave_out_planned(connection: Connection, account: str, found: Found) -> Found:
    """
    Subtract the rows that the plan will replace. Call it between planning and publishing.
    """
    if not found.live_rows:  # a first load
        return found
    planned = summarise(connection, values_for(account), IS_PLANNED)
    return found._replace(live_rows=combined(found.live_rows, planned, int.__sub__))


def save(
    connection: Connection, run: Run, found: Found, remembered: Callable[[str], list[int]]
) -> None:
    """
    Store the fingerprints of what was just published, unless they are stored already.

    The stale parts are deleted; the next run decodes all of their rows.

    Args:
        connection: In the transaction that publishes.
        run: The run that published.
        found: What it found, without the rows that were planned.
        remembered: Returns a part's fingerprints of the unchanged rows that were not staged.
    """
    if not _is_there(connection):
        return
    written = summarise(connection, values_of(run), IS_OF_RUN)
    summaries = combined(found.live_rows, written, int.__add__)
    to_save = set(_parts_to_save(connection, run)) - found.stale
    outdated = {
        part
        for part, live_rows in _stored_summaries(connection, run.account).items()
        if live_rows != str(summaries.get(part, NO_ROWS))
    }
    _delete(connection, run.account, {*to_save, *found.stale, *outdated, WHOLE})
    kept = _fingerprints_of(connection, sorted(to_save), remembered)
    rows = ((part, packed, str(summaries.get(part, NO_ROWS))) for part, packed in kept)
    while some := list(islice(rows, PARTS_AT_ONCE)):
        _insert(connection, run.account, *some)
    _insert(connection, run.account, (WHOLE, b"", _whole(connection, total_of(summaries))))


def _is_there(connection: Connection) -> bool:
    """
    Whether fingerprints can be used: the table is there, and the triggers that SQLite needs.
    """
    if not inspect(connection).has_table(listing_fingerprints.name):
        return False
    if connection.dialect.name != "sqlite":
        return True
    found = connection.execute(TRIGGERS_OF_SQLITE).scalars().all()
    return set(found) >= TRIGGERS


def _look(
    connection: Connection, account: str, kept: dict[str, str | None]
) -> tuple[dict[str, LiveRows], int]:
    """
    Summarise the live rows of each part, and count the cancelled numbers.

    Nearly always the summaries are the stored ones, as one sum over all parts shows at a third of
    the cost.
    """
    every = summarise_all(connection, account)
    schema, _, total = (kept.get(WHOLE) or "").partition(SCHEMA_FROM_TOTAL)
    if total and schema == _schema_version(connection) and every.agrees(LiveRows.parsed(total)):
        parts = {
            part: LiveRows.parsed(rows) for part, rows in kept.items() if part != WHOLE and rows
        }
        if total_of(parts).live == every.live:
            return parts, every.cancelled
    return summarise(connection, values_for(account)), every.cancelled


def _parts_with(
    connection: Connection, kept: dict[str, str | None], live_rows: dict[str, LiveRows]
) -> set[str]:
    """
    The stored parts that have these live rows, if the schema is that of then.
    """
    schema, _, _ = (kept.get(WHOLE) or "").partition(SCHEMA_FROM_TOTAL)
    if schema != _schema_version(connection):
        return set()
    return {part for part, live in kept.items() if live == str(live_rows.get(part, NO_ROWS))}


def _stored_summaries(connection: Connection, account: str) -> dict[str, str | None]:
    rows = connection.execute(built(_summaries_of_parts), values_for(account))
    return {row.part: row.live_rows for row in rows}


def _stored_fingerprints() -> Select[Any]:
    return select(stored.part, stored.fingerprints).where(stored.account == ACCOUNT)


def _summaries_of_parts() -> Select[Any]:
    return select(stored.part, stored.live_rows).where(stored.account == ACCOUNT)


def _whole(connection: Connection, total: LiveRows) -> str:
    return f"{_schema_version(connection)}{SCHEMA_FROM_TOTAL}{total}"


def _schema_version(connection: Connection) -> str:
    """
    What SQLite changes whenever a trigger is dropped or created; nothing on PostgreSQL.
    """
    if connection.dialect.name != "sqlite":
        return ""
    return str(connection.exec_driver_sql("PRAGMA schema_version").scalar_one())


def _delete(connection: Connection, account: str, parts: set[str]) -> None:
    values = {**values_for(account), "parts": list(parts)}
    connection.execute(built(_delete_parts), values)


def _delete_parts() -> Delete:
    return delete(listing_fingerprints).where(stored.account == ACCOUNT, stored.part.in_(PARTS))


def _insert(connection: Connection, account: str, *rows: tuple[str, bytes, str]) -> None:
    values = [dict(zip(INSERTED, (account, *row), strict=True)) for row in rows]
    connection.execute(insert(listing_fingerprints), values)


def _agrees() -> ColumnElement[bool]:
    """
    Whether a staged row is one that the tables now agree with, and live.
    """
    staged = staged_numbers.c
    live = or_(staged.unchanged, staged.lifecycle == Lifecycle.LIVE)
    return and_(not_(staged.rejected), staged.fingerprint.is_not(None), live)


def _parts_to_save(connection: Connection, run: Run) -> list[str]:
    """
    The parts that are not stored, or of which some row was decoded.
    """
    return list(connection.execute(built(_decoded_parts), values_of(run)).scalars())


def _decoded_parts() -> Select[Any]:
    is_stored = exists().where(stored.account == ACCOUNT, stored.part == staged_part)
    return (
        select(staged_part)
        .distinct()
        .where(_agrees(), or_(not_(staged_numbers.c.unchanged), not_(is_stored)))
    )


def _fingerprints_of(
    connection: Connection, parts: list[str], remembered: Callable[[str], list[int]]
) -> Iterator[tuple[str, bytes]]:
    pack = _packed_by_server if connection.dialect.name == "postgresql" else _packed_here
    for part, staged in pack(connection, parts):
        others = remembered(part)
        both = fingerprint.packed([*fingerprint.unpacked(staged), *others]) if others else staged
        yield part, both


def _packed_by_server(connection: Connection, parts: list[str]) -> Iterator[tuple[str, bytes]]:
    """
    The staged fingerprints of each part, as PostgreSQL packs them.
    """
    few = {"yield_per": PARTS_AT_ONCE}
    rows = connection.execute(built(_packed), {"parts": parts}, execution_options=few)
    yield from ((part, kept) for part, kept in rows)


def _packed() -> Select[Any]:
    """
    Collect the fingerprints of each part, then sort them, which is faster than to sort all by part.
    """
    marks = func.array_agg(staged_numbers.c.fingerprint).label("marks")
    collected = select(staged_part.label("part"), marks).where(_agrees(), staged_part.in_(PARTS))
    each = collected.group_by(staged_part).subquery()
    mark = func.unnest(each.c.marks).column_valued("mark")
    every = func.string_agg(func.int8send(mark), literal_column("''::bytea"))
    return select(each.c.part, select(every.aggregate_order_by(mark)).scalar_subquery())


def _packed_here(connection: Connection, parts: list[str]) -> Iterator[tuple[str, bytes]]:
    few = {"yield_per": ROWS_AT_ONCE}
    rows = connection.execute(built(_by_part), {"parts": parts}, execution_options=few)
    for part, some in groupby(rows, key=lambda row: row[0]):
        yield part, fingerprint.packed(mark for _part, mark in some)


def _by_part() -> Select[Any]:
    return (
        select(staged_part, staged_numbers.c.fingerprint)
        .where(_agrees(), staged_part.in_(PARTS))
        .order_by(staged_part)
    )
