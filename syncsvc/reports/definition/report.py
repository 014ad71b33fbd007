"""
A report: a named question with parameters, the rows that answer it, and the columns reports share.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs
from sqlalchemy import func, select

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from sqlalchemy import Connection, Select

Row = dict[str, Any]

BATCH_SIZE = 1000  # rows
ALL_ROWS = "SET LOCAL cursor_tuple_fraction = 1"  # plan for all of a cursor's rows, not the first
ISO_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z$")  # times in `changes`
ONE_DAY = timedelta(days=1)
SUM_DIGITS = 24
EVERY_LIFECYCLE = "all"


class Required(Enum):
    """
    What stands for the default of a parameter that has none.
    """

    REQUIRED = "required"


REQUIRED = Required.REQUIRED


class Kind(Enum):
    """
    The type of a column's values; any of them may be None.
    """

    TEXT = "text"  # str, the provider's or ours
    NUMBER = "number"  # int
    ID = "id"  # int, without separators
    AMOUNT = "amount"  # Decimal with 4 places, in the account's currency
    DAYS = "days"  # Decimal with 1 place
    PERCENT = "percent"  # Decimal with 1 place
    MOMENT = "moment"  # aware datetime in UTC
    MONTH = "month"  # date, its first day


class Column(msgspec.Struct, frozen=True):
    """
    A column of a report.

    Attributes:
        has_total: Its sum over all rows is worth knowing.
        personal: It may have a street address, which not every database user may read.
        digits: The most digits of a decimal; charges have those of numeric(12,4), sums more.
    """

    name: str
    kind: Kind
    meaning: str
    has_total: bool = False
    personal: bool = False
    digits: int = 12


NUMBER = Column("number_e164", Kind.TEXT, "The number in E.164.")
UUID = Column("uuid", Kind.TEXT, "The provider's uuid of the number.")
COUNTRY = Column("country_alpha2", Kind.TEXT, "Country of the number (ISO 3166-1).")
EVENT = Column("event", Kind.TEXT, "added, provisioned, cancelled, reinstated or changed.")
VALID_FROM = Column("valid_from", Kind.MOMENT, "Start of the run that found it.")
RANGE = Column("range_name", Kind.TEXT, "Range, such as number type or area.")
STATUS = Column("status", Kind.TEXT, "The provider's status, as sent.")
CHARGE = Column("monthly_charge", Kind.AMOUNT, "Monthly charge, the current or the last one.")
CHARGE_WITH_TOTAL = structs.replace(CHARGE, has_total=True)
WINDOW = {"since": None, "until": None}  # beside `days`
WHAT_CHANGED = Column(
    "what", Kind.TEXT, "The columns that changed, with old and new value.", personal=True
)


class Arguments(msgspec.Struct, frozen=True):
    """
    The values of a report's parameters, and the account and time that it is for.

    Attributes:
        now: The time that `days`, `months` and `hours` count back from.
        at: Report the state as known at this time; None for the newest.
        since: Leave out what is earlier; None for `days` before `until` or now.
        until: Leave out what is later; None for nothing.
        days: How many days to look back, or how many days are too long.
        months: How many months, this one included.
        start: The time of the first of two states.
        end: The time of the second one; None for now.
        month: A month, by its first day; None for the last whole one.
        lifecycle: Only numbers of this lifecycle; or `all`.
        address: The provider's id of an address.
        country: Only numbers of this country, by its ISO 3166-1 alpha-2 code.
        at_least: The smallest group to show.
        hours: The age at which the last success is too old.
        limit: The highest number of rows; None for all.
        months_as_of: When the materialised view of months was refreshed; None if there is none.
        with_addresses: The database user may read columns that may have a street address.
        schedule: The schedule of accounts whose row has none.
        currency: The currency of accounts whose row has none; None if it is not set.
        due_by: The time by which accounts are due, by the database's clock; None for now.
    """

    account: str
    now: datetime
    at: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None
    days: int = 0
    months: int = 0
    start: datetime | None = None
    end: datetime | None = None
    month: date | None = None
    lifecycle: str = EVERY_LIFECYCLE
    address: int | None = None
    country: str | None = None
    at_least: int = 0
    hours: int = 0
    limit: int | None = None
    months_as_of: datetime | None = None
    with_addresses: bool = True
    schedule: str = "15m"
    currency: str | None = None
    due_by: datetime | None = None

    @property
    def window_start(self) -> datetime:
        """
        The start of the time to look at: `since`, or `days` before its end.
        """
        return self.since or (self.until or self.now) - timedelta(days=self.days)

    @property
    def invoice_month(self) -> date:
        """
        The first day of `month`, or else of the last month that is over.
        """
        return self.month or (self.now.date().replace(day=1) - ONE_DAY).replace(day=1)

    @property
    def first_month(self) -> date:
        """
        The first of the last `months` months.
        """
        months = self.now.year * 12 + self.now.month - self.months
        return date(months // 12, months % 12 + 1, 1)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """
    A named question.

    Attributes:
        meaning: What its rows are, in a sentence.
        why: What it is good for, with the rule that it follows from, if there is one.
        takes: Its parameters, as names of fields of `Arguments`, with their defaults, or
            `REQUIRED`.
        columns: The columns of its rows, in order.
        query: Builds the database query.
        finish: Converts the rows that the database returns.
        sorts: Whether to sort the rows, which is left out if there are so many that it takes longer
            than to read them; None to sort always.
        regroups: It may make fewer rows of them, so a limit counts those that it makes.
        every_account: It covers all accounts, whichever is given.
        by_month_end: It reads inventory_by_month, of which there may be a materialised view.
    """

    name: str
    meaning: str
    why: str
    takes: dict[str, Any]
    columns: tuple[Column, ...]
    query: Callable[[Arguments], Select[Any]]
    finish: Callable[[Iterable[Row], Arguments], Iterable[Row]] | None = None
    sorts: Callable[[Connection, Arguments], bool] | None = None
    regroups: bool = False
    every_account: bool = False
    by_month_end: bool = False

    def readable_columns(self, arguments: Arguments) -> tuple[Column, ...]:
        """
        Return the columns that the database user may read.
        """
        if arguments.with_addresses:
            return self.columns
        return tuple(column for column in self.columns if not column.personal)

    def rows(self, connection: Connection, arguments: Arguments) -> Generator[Row]:
        """
        Yield the rows, fetched in batches if there may be very many.

        PostgreSQL runs a query in parallel only if its result is fetched at once, and plans one
        that is not for its first tenth, unless it is told.
        """
        query = self.query(arguments).limit(None if self.regroups else arguments.limit)
        if self.sorts is not None and not self.sorts(connection, arguments):
            query = query.order_by(None)
        many = "limit" in self.takes and (arguments.limit or BATCH_SIZE) >= BATCH_SIZE
        streams = many or self.regroups
        if streams and connection.dialect.name == "postgresql":
            connection.exec_driver_sql(ALL_ROWS)
        options = {"yield_per": BATCH_SIZE} if streams else {}
        with connection.execute(query, execution_options=options) as result:
            found: Iterable[Row] = (dict(row) for row in result.mappings())
            finished = self.finish(found, arguments) if self.finish else found
            yield from islice(finished, arguments.limit)

    def count_rows(self, connection: Connection, arguments: Arguments) -> int:
        """
        Count the rows that the database query returns.
        """
        unsorted = self.query(arguments).order_by(None)
        query = select(func.count()).select_from(unsorted.subquery())
        return connection.execute(query).scalar_one()

    def count_by(self, connection: Connection, arguments: Arguments, name: str) -> dict[str, int]:
        """
        Count those rows by the value of a column.
        """
        column = self.query(arguments).order_by(None).subquery().c[name]
        found = connection.execute(select(column, func.count()).group_by(column))
        return {value: number for value, number in found}  # noqa: C416 - rows are no pairs to mypy

    def count_distinct(self, connection: Connection, arguments: Arguments, name: str) -> int:
        """
        Count the different values of a column in those rows.
        """
        column = self.query(arguments).order_by(None).subquery().c[name]
        return connection.execute(select(func.count(column.distinct()))).scalar_one()


def in_days(begin: datetime | None, end: datetime | None) -> Decimal | None:
    """
    Days between two times, to one decimal place; None if either is not known.
    """
    if begin is None or end is None:
        return None
    return Decimal(f"{(end - begin) / ONE_DAY:.1f}")


def percent(part: int, whole: int) -> Decimal | None:
    """
    A share in percent, to one decimal place; None of nothing.
    """
    return (Decimal(100 * part) / whole).quantize(Decimal("0.1")) if whole else None


def with_changes_as_text(rows: Iterable[Row], _arguments: Arguments) -> Iterator[Row]:
    """
    Add the column `what` to history rows: their `changes` as text.
    """
    for row in rows:
        yield {**row, WHAT_CHANGED.name: changes_as_text(row["changes"])}


def changes_as_text(changes: dict[str, dict[str, Any]] | None) -> str | None:
    """
    Format the `changes` of a history row: `status: Reserved → Active`; None if there are none.
    """
    return "; ".join(each_change_as_text(changes or {})) or None


def each_change_as_text(changes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """
    Format each changed column: `status: Reserved → Active`.
    """
    return [
        f"{name}: {_value_as_text(pair['old'])} → {_value_as_text(pair['new'])}"
        for name, pair in sorted(changes.items())  # PostgreSQL keeps them in an order of its own
    ]


def _value_as_text(value: object) -> str:
    return "none" if value is None else ISO_TIME.sub(r"\1 \2", str(value))
