"""
Remember the fingerprints of the rows that the tables agree with.

They stand in an internal table, which reports have no use for. It may be
emptied at any time: the next run then reads every row. Triggers
forget a part as soon as any of its numbers is updated or deleted, by a run,
by another version or by hand, so that what is remembered is true.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, exists, func, insert, inspect, not_, or_, select

from syncsvc.payloads import fingerprint
from syncsvc.payloads.fingerprint import Known
from syncsvc.reconcile.temp_tables import staged_numbers
from syncsvc.schema.fingerprint_table import listing_fingerprints
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection

    from syncsvc.database.runs import Run

ROWS_AT_ONCE = 10_000
PARTS_AT_ONCE = 16

remembered = listing_fingerprints.c


def load(connection: Connection, account: str) -> Known:
    """
    What is remembered of an account.
    """
    with connection.begin():
        if not _is_there(connection):
            return Known()
        query = select(remembered.part, remembered.fingerprints)
        few = {"yield_per": PARTS_AT_ONCE}  # the driver would hold them three times over
        rows = connection.execute(query.where(remembered.account == account), execution_options=few)
        return Known((part, kept) for part, kept in rows)


def save(connection: Connection, run: Run) -> None:
    """
    Remember what was just published, where it is not remembered already.
    """
    if not _is_there(connection):
        return
    parts = _parts_to_save(connection, run)
    of_account = remembered.account == run.account
    connection.execute(delete(listing_fingerprints).where(of_account, remembered.part.in_(parts)))
    for part, kept in _fingerprints_of(connection, parts):
        row = {"account": run.account, "part": part, "fingerprints": kept}
        connection.execute(insert(listing_fingerprints).values(row))


def _is_there(connection: Connection) -> bool:
    return inspect(connection).has_table(listing_fingerprints.name)


def _agrees() -> ColumnElement[bool]:
    """
    Whether a staged row is one that the tables now agree with, and live.
    """
    staged = staged_numbers.c
    live = or_(staged.unchanged, staged.lifecycle == Lifecycle.LIVE)
    return and_(not_(staged.rejected), staged.fingerprint.is_not(None), live)


def _part() -> ColumnElement[str]:
    return func.substr(staged_numbers.c.uuid, 1, 2)


def _parts_to_save(connection: Connection, run: Run) -> list[str]:
    """
    The parts that have been forgotten, or of which some row was read anew.
    """
    kept = exists().where(remembered.account == run.account, remembered.part == _part())
    query = (
        select(_part())
        .distinct()
        .where(_agrees(), or_(not_(staged_numbers.c.unchanged), not_(kept)))
    )
    return list(connection.execute(query).scalars())


def _fingerprints_of(connection: Connection, parts: list[str]) -> Iterator[tuple[str, bytes]]:
    query = (
        select(_part(), staged_numbers.c.fingerprint)
        .where(_agrees(), _part().in_(parts))
        .order_by(_part())
    )
    rows = connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE})
    for part, some in groupby(rows, key=lambda row: row[0]):
        yield part, fingerprint.packed(mark for _part, mark in some)
