"""
What a report is: a named question, what it may be told, and the rows it answers.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import func, select

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from datetime import datetime

    from sqlalchemy import Connection, Select

Row = dict[str, Any]

ROWS_AT_ONCE = 1000


class Kind(Enum):
    """
    What stands in a column of an answer, which may be None in any of them.
    """

    TEXT = "text"  # str, the provider's or ours
    NUMBER = "number"  # int
    AMOUNT = "amount"  # Decimal with 4 places, in the account's currency
    DAYS = "days"  # Decimal with 1 place
    MOMENT = "moment"  # aware datetime in UTC
    MONTH = "month"  # date, its first day


class Column(msgspec.Struct, frozen=True):
    """
    A column of an answer.
    """

    name: str
    kind: Kind
    meaning: str


class Asked(msgspec.Struct, frozen=True):
    """
    What a report is told.

    Attributes:
        now: What "lately" and "for how long" are reckoned from.
        at: The state as it was known then; None for the newest.
        days: How far to look back, or how long is long.
        months: How many months, this one included.
        country: Only numbers of this country, by its ISO 3166-1 alpha-2 code.
        at_least: How many are many.
        hours: How old a success may be.
        limit: No more rows than this; None for all.
        months_as_of: When the months kept were last renewed; None where they are worked out anew.
    """

    account: str
    now: datetime
    at: datetime | None = None
    days: int = 0
    months: int = 0
    country: str | None = None
    at_least: int = 0
    hours: int = 0
    limit: int | None = None
    months_as_of: datetime | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """
    A named question.

    Attributes:
        meaning: What its rows are, in a sentence.
        why: What it is good for, and the ground that it stands on, where there is one.
        takes: The parameters that it takes, by their names in `Asked`, with their defaults.
        columns: Of its rows, in order.
        query: What it asks the database.
        finish: What becomes of the rows that the database answers.
        every_account: It looks at all accounts, whichever is asked for.
        by_month_end: It reads the months, which may be kept.
    """

    name: str
    meaning: str
    why: str
    takes: dict[str, Any]
    columns: tuple[Column, ...]
    query: Callable[[Asked], Select[Any]]
    finish: Callable[[Iterable[Row], Asked], Iterable[Row]] | None = None
    every_account: bool = False
    by_month_end: bool = False

    def rows(self, connection: Connection, asked: Asked) -> Generator[Row]:
        """
        The answer, a few rows at a time where it may have very many.

        PostgreSQL uses several processes only for one that is fetched at once.
        """
        query = self.query(asked).limit(asked.limit)
        many = "limit" in self.takes and (asked.limit or ROWS_AT_ONCE) >= ROWS_AT_ONCE
        options = {"yield_per": ROWS_AT_ONCE} if many else {}
        with connection.execute(query, execution_options=options) as result:
            found: Iterable[Row] = (dict(row) for row in result.mappings())
            yield from self.finish(found, asked) if self.finish else found

    def count(self, connection: Connection, asked: Asked) -> int:
        """
        How many rows the database would answer.
        """
        unsorted = self.query(asked).order_by(None)
        query = select(func.count()).select_from(unsorted.subquery())
        return connection.execute(query).scalar_one()
