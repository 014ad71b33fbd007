"""
Summarise the live rows of `numbers`, so that any change of them is noticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, Text, cast, func, literal_column, null, select

from syncsvc.reconcile.statement_cache import ACCOUNT, built, values_for
from syncsvc.reconcile.temp_tables import IS_LIVE, part_of
from syncsvc.reconcile.unchanged.by_bytes import by_bytes
from syncsvc.schema.tables import numbers
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import ColumnElement, Connection, Select

WHOLE = ""  # in place of a part: all parts

# What changes whenever a row of `numbers` is written, whoever writes it. PostgreSQL has the writing
# transaction in each row. A row that SQLite replaces gets a new rowid; triggers see to updates, and
# nobody drops a trigger without raising the schema's version.
ROW_VERSION: dict[str, ColumnElement[Any]] = {
    "postgresql": cast(cast(literal_column("numbers.xmin"), Text), BigInteger),
    "sqlite": literal_column("numbers.rowid"),
}
IS_LIVE_ROW = numbers.c.lifecycle == Lifecycle.LIVE
# On PostgreSQL a written row has a higher version than all before it, unless 4 billion transactions
# have passed: no change leaves both the number of rows and the sum of their versions as they were.
# To read which run changed a row, which is its last column, would take half as long again.
RUN_IDS_OF_ALL: dict[str, ColumnElement[Any]] = {
    "postgresql": null(),
    "sqlite": func.coalesce(func.sum(numbers.c.changed_run_id).filter(IS_LIVE_ROW), 0),
}


class LiveRows(NamedTuple):
    """
    A summary of live rows of `numbers`, which no change of them leaves as it is.

    Attributes:
        live: How many there are.
        run_ids: The sum of the runs that changed them last.
        versions: The sum of their versions, see `ROW_VERSION`.
    """

    live: int
    run_ids: int
    versions: int

    def __str__(self) -> str:
        """
        Return the summary as it is stored.
        """
        return f"{self.live} {self.run_ids} {self.versions}"

    @classmethod
    def parsed(cls, summary: str) -> LiveRows:
        """
        Return a stored summary.
        """
        return cls(*map(int, summary.split()))


NO_ROWS = LiveRows(0, 0, 0)


class AllRows(NamedTuple):
    """
    A summary of all of an account's rows.

    Attributes:
        live: How many of them are live.
        run_ids: As in `LiveRows`; None if these need not be known.
        versions: As in `LiveRows`.
        cancelled: How many of them are cancelled.
    """

    live: int
    run_ids: int | None
    versions: int
    cancelled: int

    def agrees(self, stored: LiveRows) -> bool:
        """
        Return whether the live rows are those of a stored summary.
        """
        run_ids = stored.run_ids if self.run_ids is None else self.run_ids
        return stored == LiveRows(self.live, run_ids, self.versions)


def summarise(
    connection: Connection, values: Mapping[str, Any], *among: ColumnElement[bool]
) -> dict[str, LiveRows]:
    """
    Summarise the live numbers of each part.

    Args:
        values: For a statement about a run.
        among: Further conditions for the numbers.
    """
    query = built(_by_part, connection.dialect.name, *among)
    found = connection.execute(query, values)
    return {part: LiveRows(*map(int, sums)) for part, *sums in found}


def _by_part(dialect: str, *among: ColumnElement[bool]) -> Select[Any]:
    part = by_bytes(part_of(numbers.c.uuid))
    sums = [func.count(), func.sum(numbers.c.changed_run_id), func.sum(ROW_VERSION[dialect])]
    return select(part, *sums).where(IS_LIVE, *among).group_by(part)


def summarise_all(connection: Connection, account: str) -> AllRows:
    """
    Summarise the numbers of all parts together, in one look at all of the account's rows.
    """
    query = built(_of_all, connection.dialect.name)
    live, run_ids, versions, cancelled = connection.execute(query, values_for(account)).one()
    return AllRows(live, run_ids, int(versions), cancelled)


def _of_all(dialect: str) -> Select[Any]:
    live = func.count().filter(IS_LIVE_ROW)
    versions = func.coalesce(func.sum(ROW_VERSION[dialect]).filter(IS_LIVE_ROW), 0)
    cancelled = func.count().filter(numbers.c.lifecycle == Lifecycle.CANCELLED)
    columns: list[ColumnElement[Any]] = [live, RUN_IDS_OF_ALL[dialect], versions, cancelled]
    return select(*columns).where(numbers.c.account == ACCOUNT)


def combined(
    one: dict[str, LiveRows], other: dict[str, LiveRows], operator: Callable[[int, int], int]
) -> dict[str, LiveRows]:
    """
    Add or subtract the summaries of each part.
    """
    return {
        part: LiveRows(*map(operator, one.get(part, NO_ROWS), other.get(part, NO_ROWS)))
        for part in {*one, *other}
    }


def total_of(summaries: dict[str, LiveRows]) -> LiveRows:
    """
    Return the summary of all parts.
    """
    return LiveRows(*map(sum, zip(NO_ROWS, *summaries.values(), strict=True)))
