"""
Of which numbers there are staged rows: queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, and_, bindparam, func, select

from syncsvc.reconcile.temp_tables import (
    IS_LIVE,
    IS_NAMELESS,
    staged_cancelled,
    staged_numbers,
    staged_rejects,
)
from syncsvc.reconcile.unchanged.by_bytes import by_bytes
from syncsvc.schema.tables import numbers

if TYPE_CHECKING:
    from sqlalchemy import Select


def live_with_entry() -> Select[Any]:
    """
    Select the live numbers that have an entry in the cancelled listing.
    """
    entered = numbers.c.uuid.in_(select(staged_cancelled.c.uuid))
    return select(numbers.c.uuid).where(IS_LIVE, entered)


def staged_uuids() -> Select[Any]:
    """
    Select the numbers that have a staged row of the listing.
    """
    return select(staged_numbers.c.uuid)


def distinct_rows() -> Select[int]:
    """
    Count the numbers that a walk has staged, and its rejects without a readable uuid.
    """
    walk = bindparam("of_walk", type_=Integer())
    uuid = by_bytes(staged_numbers.c.uuid)
    uuids = select(uuid).where(staged_numbers.c.walk == walk).distinct()
    named = select(func.count()).select_from(uuids.subquery())
    is_nameless = and_(staged_rejects.c.walk == walk, IS_NAMELESS)
    nameless = select(func.count()).select_from(staged_rejects).where(is_nameless)
    return select(named.scalar_subquery() + nameless.scalar_subquery())
