"""
Summarise the live rows of `numbers`, so that any change of them is noticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, Text, cast, func, literal_column, select

from syncsvc.reconcile.temp_tables import is_live, part_of
from syncsvc.schema.tables import numbers
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement, Connection, FunctionElement

WHOLE = ""  # in place of a part: all parts

# What changes whenever a row of `numbers` is written, whoever writes it. PostgreSQL has the writing
# transaction in each row. A row that SQLite replaces gets a new rowid; triggers see to updates, and
# nobody drops a trigger without raising the schema's version.
ROW_VERSION: dict[str, ColumnElement[Any]] = {
    "postgresql": cast(cast(literal_column("numbers.xmin"), Text), BigInteger),
    "sqlite": literal_column("numbers.rowid"),
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


NO_ROWS = LiveRows(0, 0, 0)


def summarise(
    connection: Connection, account: str, *, among: ColumnElement[bool] | None = None
) -> dict[str, LiveRows]:
    """
    Summarise the live numbers of each part.
    """
    part = part_of(numbers.c.uuid)
    query = select(part, *_sums(connection)).select_from(numbers).where(*is_live(account))
    if among is not None:
        query = query.where(among)
    return {part: _live_rows(sums) for part, *sums in connection.execute(query.group_by(part))}


def summarise_all(connection: Connection, account: str) -> tuple[LiveRows, int]:
    """
    Summarise the live numbers of all parts together, and count the cancelled ones.

    Both take one look at all of the account's rows.
    """
    sums = (each.filter(numbers.c.lifecycle == Lifecycle.LIVE) for each in _sums(connection))
    cancelled = func.count().filter(numbers.c.lifecycle == Lifecycle.CANCELLED)
    query = select(*sums, cancelled).where(numbers.c.account == account)
    *found, count = connection.execute(query).one()
    return _live_rows(found), count


def _sums(connection: Connection) -> tuple[FunctionElement[Any], ...]:
    versions = func.sum(ROW_VERSION[connection.dialect.name])
    return func.count(), func.sum(numbers.c.changed_run_id), versions


def _live_rows(sums: Sequence[Any]) -> LiveRows:
    return LiveRows(*(int(each or 0) for each in sums))


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


def live_in(summary: str) -> int:
    """
    Return how many rows a stored summary is of.
    """
    return int(summary.partition(" ")[0])
