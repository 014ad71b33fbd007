"""
The SQL that differs between PostgreSQL and SQLite, in views and reports.

SQLite stores money as the nearest double, so amounts are summed there as whole ten-thousandths and
divided once at the end: the sums are as exact as those of PostgreSQL's numeric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class SqlFragments(NamedTuple):
    """
    SQL fragments that differ between PostgreSQL and SQLite.

    Attributes:
        now: The current time, in the format of a time column.
        month: The first day of a time's month.
        next_month: The first day of the next month, given the first day of a month.
        exact: An amount in a unit that sums exactly.
        amount: Such a sum converted back to an amount.
        seconds_since: Whole seconds from a time to now.
    """

    now: str
    month: Callable[[str], str]
    next_month: Callable[[str], str]
    exact: Callable[[str], str]
    amount: Callable[[str], str]
    seconds_since: Callable[[str], str]


POSTGRESQL = SqlFragments(
    now="now()",
    month=lambda time: f"CAST(date_trunc('month', {time} AT TIME ZONE 'UTC') AS date)",
    next_month=lambda day: f"CAST({day} + interval '1 month' AS date)",
    exact=lambda amount: amount,
    amount=lambda total: total,
    seconds_since=lambda time: f"CAST(floor(extract(epoch FROM now() - {time})) AS bigint)",
)
SQLITE = SqlFragments(
    now="strftime('%Y-%m-%d %H:%M:%f000', 'now')",
    month=lambda time: f"date({time}, 'start of month')",
    next_month=lambda day: f"date({day}, '+1 month')",
    exact=lambda amount: f"CAST(round({amount} * 10000) AS INTEGER)",
    amount=lambda total: f"{total} / 10000.0",
    seconds_since=lambda time: (
        f"CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', {time}) AS INTEGER)"
    ),
)
FRAGMENTS = {"postgresql": POSTGRESQL, "sqlite": SQLITE}


def exact_sum(sql: SqlFragments, amount: str) -> str:
    """
    The exact sum of amounts; unknown ones count as zero.
    """
    return sql.amount(f"coalesce(sum({sql.exact(amount)}), 0)")
