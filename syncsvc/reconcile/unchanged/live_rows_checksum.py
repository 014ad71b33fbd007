"""
Summarise the live rows of `numbers`, so that any change of them is noticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, Text, cast, func, literal_column, select

from syncsvc.reconcile.staging.by_bytes import by_bytes
from syncsvc.reconcile.statement_cache import ACCOUNT, built, values_for
from syncsvc.reconcile.temp_tables import IS_LIVE, part_of
from syncsvc.schema.tables import numbers
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, FunctionElement, Select

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
    connection: Connection, values: Mapping[str, Any], *among: ColumnElement[bool]
) -> dict[str, LiveRows]:
    """
    Summarise the live numbers of each part.

    Args:
        values: For a statement about a run.
        among: Further conditions for the numbers.
    """
    query = built(_by_part, connection.dialect.name, *among)
    return {part: _live_rows(sums) for part, *sums in connection.execute(query, values)}


def _by_part(dialect: str, *among: ColumnElement[bool]) -> Select[Any]:
    part = by_bytes(part_of(numbers.c.uuid))
    query = select(part, *_sums(dialect)).select_from(numbers)
    return query.where(IS_LIVE, *among).group_by(part)


def summarise_all(connection: Connection, account: str) -> tuple[LiveRows, int]:
    """
    Summarise the live numbers of all parts together, and count the cancelled ones.

    Both take one look at all of the account's rows.
    """
    query = built(_of_all, connection.dialect.name)
    *found, count = connection.execute(query, values_for(account)).one()
    return _live_rows(found), count


def _of_all(dialect: str) -> Select[Any]:
    sums = (each.filter(numbers.c.lifecycle == Lifecycle.LIVE) for each in _sums(dialect))
    cancelled = func.count().filter(numbers.c.lifecycle == Lifecycle.CANCELLED)
    return select(*sums, cancelled).where(numbers.c.account == ACCOUNT)


def _sums(dialect: str) -> tuple[FunctionElement[Any], ...]:
    versions = func.sum(ROW_VERSION[dialect])
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
