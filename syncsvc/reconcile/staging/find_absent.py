"""
Find the live numbers that the listing does not have.

If all rows are staged, the database compares them. If unchanged rows are remembered outside it, the
uuids are compared here, but only those of the parts in which a number is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, func, insert, not_, select

from syncsvc.database.bulk import copy_into
from syncsvc.reconcile.statement_cache import built, values_for
from syncsvc.reconcile.temp_tables import (
    IS_LIVE,
    PARTS,
    absent_numbers,
    create_tables,
    part_of,
    staged_numbers,
)
from syncsvc.reconcile.unchanged.remember_unchanged import as_bytes
from syncsvc.schema.tables import numbers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from sqlalchemy import Connection, Insert, Select

    from syncsvc.reconcile.staging.stage_listing import Stage

COMPARED_AT_ONCE = 100_000  # numbers, of which the uuids are in memory
ROWS_AT_ONCE = 10_000
PART = part_of(numbers.c.uuid)
# Not IN: PostgreSQL would go through all staged rows for each number once they exceed its memory.
IS_LISTED = exists().where(staged_numbers.c.uuid == numbers.c.uuid)


def doubtful_parts(connection: Connection, account: str, stage: Stage) -> dict[str, int]:
    """
    Return the parts in which live numbers may be missing, and how many live numbers they have.

    If no rows are remembered, the tables have to be compared instead.
    """
    if not stage.unchanged.is_remembered or stage.unchanged.has_skipped_all:
        return {}
    stage.look_at_skipped()
    staged = {} if stage.is_unchanged else _staged_live(connection, account)
    return {
        part: live
        for part, live in stage.known.live.items()
        if stage.unchanged.of_part(part) + staged.get(part, 0) != live
    }


def find_absent(
    connection: Connection, account: str, stage: Stage, doubtful: Mapping[str, int]
) -> None:
    """
    Create and fill `absent_numbers`, in a transaction.

    Args:
        doubtful: The parts to compare if rows are remembered, and how many live numbers they have.
    """
    create_tables(connection, absent_numbers)
    if not stage.unchanged.is_remembered:
        connection.execute(built(_insert_not_staged), values_for(account))
        return
    for parts in _grouped(doubtful):
        _compare(connection, account, stage, parts)


def _compare(connection: Connection, account: str, stage: Stage, parts: Collection[str]) -> None:
    """
    Note the numbers of some parts that are neither staged nor remembered.
    """
    listed = stage.unchanged.uuids(parts)
    few = {"yield_per": ROWS_AT_ONCE}
    values = {**values_for(account), "parts": list(parts)}
    found = connection.execute(built(_not_staged_of_parts), values, execution_options=few)
    absent = [(uuid,) for uuid in found.scalars() if as_bytes(uuid) not in listed]
    copy_into(connection, absent_numbers, absent)


def _not_staged() -> Select[Any]:
    """
    The query for the live numbers that have no staged row.
    """
    return select(numbers.c.uuid).where(IS_LIVE, not_(IS_LISTED))


def _insert_not_staged() -> Insert:
    return insert(absent_numbers).from_select(["uuid"], _not_staged())


def _not_staged_of_parts() -> Select[Any]:
    return _not_staged().where(PART.in_(PARTS))


def _staged_live(connection: Connection, account: str) -> dict[str, int]:
    """
    Count the live numbers of each part that have a staged row.
    """
    with connection.begin():
        rows = connection.execute(built(_live_by_part), values_for(account))
        return {row.part: row.live for row in rows}


def _live_by_part() -> Select[str, int]:
    columns = PART.label("part"), func.count().label("live")
    return select(*columns).where(IS_LIVE, IS_LISTED).group_by(PART)


def _grouped(parts: Mapping[str, int]) -> Iterator[Collection[str]]:
    """
    Yield the parts in groups of not too many numbers.
    """
    group: list[str] = []
    size = 0
    for part, live in sorted(parts.items()):
        if group and size + live > COMPARED_AT_ONCE:
            yield group
            group, size = [], 0
        group.append(part)
        size += live
    if group:
        yield group
