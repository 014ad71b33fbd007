"""
Summarise the live rows of `numbers`, so that any change of them is noticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, Text, cast, func, literal, literal_column, select

from syncsvc.reconcile.temp_tables import is_live, part_of
from syncsvc.schema.tables import numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, Connection

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
    connection: Connection,
    account: str,
    *,
    by_part: bool = True,
    among: ColumnElement[bool] | None = None,
) -> dict[str, LiveRows]:
    """
    Summarise the live numbers of each part, or of all together.
    """
    part = part_of(numbers.c.uuid) if by_part else literal(WHOLE)
    versions = func.sum(ROW_VERSION[connection.dialect.name])
    query = (
        select(part, func.count(), func.sum(numbers.c.changed_run_id), versions)
        .select_from(numbers)
        .where(*is_live(account))
    )
    if among is not None:
        query = query.where(among)
    rows = connection.execute(query.group_by(part) if by_part else query)
    return {part: LiveRows(*(int(each or 0) for each in sums)) for part, *sums in rows}


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
