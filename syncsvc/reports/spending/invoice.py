"""
Reports that work out a month's invoice, for those who check the carrier's.

How the days and charges of a number are counted is in `pro_rata_billing`.
"""

from __future__ import annotations

from calendar import monthrange
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, and_, bindparam, literal, or_, select, text

from syncsvc.reports.definition.expressions import account_filter, portable_order
from syncsvc.reports.definition.report import (
    COUNTRY,
    NUMBER,
    RANGE,
    SUM_DIGITS,
    UUID,
    Column,
    Kind,
    Report,
)
from syncsvc.reports.spending.pro_rata_billing import ZERO, Month, bill
from syncsvc.schema.columns import UtcDateTime
from syncsvc.schema.live_periods import SPELLS
from syncsvc.schema.tables import number_history, numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Select, Subquery

    from syncsvc.reports.definition.report import Arguments, Row

HOW_IT_COUNTS = (
    "A day, in UTC, counts if the number was live at any time in it, by when things occurred; its "
    "charge is the one known at the end of that day, or the first one known. Pro rata is the sum "
    "of the days' charges divided by the days of the month; in full is the charge of the last day. "
    "Carriers count differently: compare with the one that yours uses."
)


def _month(arguments: Arguments) -> Month:
    first = arguments.invoice_month
    length = monthrange(first.year, first.month)[1]
    month = Month(first, arguments.now, length)
    return month._replace(end=min(month.next_month, arguments.now))


def _spells(arguments: Arguments, month: Month) -> Subquery:
    """
    Select when the account's numbers were live, of what touches the month.
    """
    query = text(
        f"WITH {SPELLS} SELECT account, uuid, began, ended FROM spells "  # noqa: S608 - no values
        "WHERE account = :account AND began < :month_end "
        "AND (ended IS NULL OR ended > :month_start)"
    )
    bound = query.bindparams(
        bindparam("account", arguments.account, Text),
        bindparam("month_end", month.end, UtcDateTime),
        bindparam("month_start", month.start, UtcDateTime),
    )
    return bound.columns(account=Text, uuid=Text, began=UtcDateTime, ended=UtcDateTime).subquery(
        "live_spells"
    )


def _live_in_month(arguments: Arguments) -> Select[Any]:
    """
    Select each number's times of being live, each with every state that may count in the month.

    These are the states from the month's start on: one that was learnt of later may have the first
    charge that is known at all.
    """
    month = _month(arguments)
    live, history = _spells(arguments, month), number_history.c
    spells = live.c
    counts = or_(
        history.valid_to.is_(None),
        history.valid_to > month.start,
        history.occurred_at >= month.start,
    )
    keys = [numbers.c[name] for name in ("country_alpha2", "range_name", "number_e164", "uuid")]
    names = ("id", "valid_from", "monthly_charge", "setup_charge", "event", "occurred_at")
    return (
        select(
            *keys,
            spells.began,
            spells.ended,
            *(history[name] for name in names),
            history.occurred_at_source,
        )
        .select_from(numbers)
        .join(live, and_(spells.account == numbers.c.account, spells.uuid == numbers.c.uuid))
        .join(
            number_history,
            and_(history.account == numbers.c.account, history.uuid == numbers.c.uuid, counts),
        )
        .where(account_filter(numbers, arguments), literal(month.start < month.end))
        .order_by(*portable_order(*keys), spells.began, history.valid_from, history.id)
    )


def _by_number(rows: Iterable[Row], arguments: Arguments) -> Iterator[Row]:
    month = _month(arguments)
    for _, lines in groupby(rows, lambda row: row["uuid"]):
        yield bill(list(lines), month)


def _by_range(rows: Iterable[Row], arguments: Arguments) -> Iterator[Row]:
    """
    Add up the numbers of each range, which follow one another.
    """
    bills = _by_number(rows, arguments)
    for (country, name), of_range in groupby(bills, _range_of):
        found = list(of_range)
        yield {
            "month": found[0]["month"],
            "country_alpha2": country,
            "range_name": name,
            "numbers": len(found),
            "days_live": sum(number["days_live"] for number in found),
            **{
                column.name: sum((number[column.name] or ZERO for number in found), ZERO)
                for column in AMOUNTS
            },
        }


def _range_of(number: Row) -> tuple[str | None, str | None]:
    return number["country_alpha2"], number["range_name"]


MONTH = Column("month", Kind.MONTH, "The month, by its first day (UTC).")
AMOUNTS = (
    Column(
        "pro_rata",
        Kind.AMOUNT,
        "The days' charges, divided by the days of the month.",
        has_total=True,
        digits=SUM_DIGITS,
    ),
    Column(
        "full_amount",
        Kind.AMOUNT,
        "The charge of the last day on which it was live, in full.",
        has_total=True,
        digits=SUM_DIGITS,
    ),
    Column(
        "setup_charge",
        Kind.AMOUNT,
        "Set-up charge, if the provider says that it was provisioned in the month.",
        has_total=True,
        digits=SUM_DIGITS,
    ),
)
DAYS_LIVE = Column("days_live", Kind.NUMBER, "Days on which it was live.", has_total=True)

REPORTS = (
    Report(
        name="invoice",
        meaning="What each number that was live in a month costs: pro rata, in full, and to set "
        "up.",
        why=f"To check the carrier's invoice number by number. {HOW_IT_COUNTS}",
        takes={"month": None, "country": None, "limit": None},
        columns=(
            MONTH,
            COUNTRY,
            RANGE,
            NUMBER,
            UUID,
            DAYS_LIVE,
            Column("charges", Kind.TEXT, "The charge of each day, as amount (days of the month)."),
            *AMOUNTS,
        ),
        query=_live_in_month,
        finish=_by_number,
        regroups=True,
    ),
    Report(
        name="invoice-by-range",
        meaning="What the numbers that were live in a month cost, by country and range.",
        why=f"To check the lines of the carrier's invoice. {HOW_IT_COUNTS}",
        takes={"month": None, "country": None},
        columns=(
            MONTH,
            COUNTRY,
            RANGE,
            Column("numbers", Kind.NUMBER, "Numbers that were live in the month.", has_total=True),
            DAYS_LIVE,
            *AMOUNTS,
        ),
        query=_live_in_month,
        finish=_by_range,
        regroups=True,
    ),
)
