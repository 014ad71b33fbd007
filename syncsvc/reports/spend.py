"""
What numbers cost: for those who pay the carrier's invoice.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, cast, func, or_, select

from syncsvc.database.monthly_view import inventory_by_month_kept
from syncsvc.reports.dialects import in_order, known_at, newest_first, of_account, total
from syncsvc.reports.report import Column, Kind, Report
from syncsvc.reports.vocabulary import COUNTRY, EVENT, LEARNT, NUMBER, RANGE, STATUS, UUID, since
from syncsvc.schema.views import inventory_by_month, live_numbers, number_changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Select

    from syncsvc.reports.report import Asked, Row

COUNTRY_NAME = Column("country_name", Kind.TEXT, "Country, as the provider names it.")
SUMS = (
    Column("numbers", Kind.NUMBER, "Live numbers."),
    Column("without_charge", Kind.NUMBER, "Those of which no monthly charge is known."),
    Column("monthly_charge", Kind.AMOUNT, "Their cost per month, summed exactly."),
)
MONTHLY = (
    Column("month", Kind.MONTH, "The month, by its first day (UTC)."),
    Column("numbers", Kind.NUMBER, "Numbers that were live at its end."),
    Column("monthly_charge", Kind.AMOUNT, "Their cost per month, at the charges of then."),
)
SIDES = {  # of a charge that changed, and where `changes` has them
    "monthly_charge_before": ("monthly_charge", "old"),
    "monthly_charge_after": ("monthly_charge", "new"),
    "setup_charge_before": ("setup_charge", "old"),
    "setup_charge_after": ("setup_charge", "new"),
}
OF_SPEND = (
    "The line to hold against the carrier's invoice. With --at, against one of the past: what was "
    "known then, whatever has been learnt since."
)
OF_MONTHS = (
    "What finance accrues at a month's end. It goes by when things happened, also before the "
    "service first ran, so that a cancellation learnt of late moves to the month it belongs to."
)


def _spend(asked: Asked, *by: str) -> Select[Any]:
    """
    Live numbers and their cost, by these columns.
    """
    view = live_numbers if asked.at is None else number_changes
    query = select(
        *(view.c[name] for name in by),
        func.count().label("numbers"),
        (func.count() - func.count(view.c.monthly_charge)).label("without_charge"),
        total(view.c.monthly_charge).label("monthly_charge"),
    ).where(of_account(view, asked), view.c.lifecycle == "live")
    if asked.at is not None:
        query = query.where(known_at(view, asked.at))
    groups = [view.c[name] for name in by]
    return query.group_by(*groups).order_by(*in_order(*groups))


def _by_country(asked: Asked) -> Select[Any]:
    return _spend(asked, "country_alpha2", "country_name")


def _by_range(asked: Asked) -> Select[Any]:
    return _spend(asked, "country_alpha2", "range_name")


def _by_status(asked: Asked) -> Select[Any]:
    return _spend(asked, "status")


def first_month(asked: Asked) -> date:
    """
    The first of so many months, of which the last one is now.
    """
    months = asked.now.year * 12 + asked.now.month - asked.months
    return date(months // 12, months % 12 + 1, 1)


def _month_end(asked: Asked, *by: str) -> Select[Any]:
    view = inventory_by_month if asked.months_as_of is None else inventory_by_month_kept
    groups = [view.c.month, *(view.c[name] for name in by)]
    return (
        select(
            *groups,
            cast(func.sum(view.c.numbers), BigInteger).label("numbers"),
            total(view.c.monthly_charge).label("monthly_charge"),
        )
        .where(
            of_account(view, asked),
            view.c.month >= first_month(asked),
            view.c.month <= asked.now.date(),
        )
        .group_by(*groups)
        .order_by(*in_order(*groups))
    )


def _in_all(asked: Asked) -> Select[Any]:
    return _month_end(asked)


def _each_country(asked: Asked) -> Select[Any]:
    return _month_end(asked, "country_alpha2")


def _charges_changed(asked: Asked) -> Select[Any]:
    view = number_changes
    sides = {side: view.c.changes[name][key].as_string() for side, (name, key) in SIDES.items()}
    return (
        select(
            view.c.valid_from,
            view.c.number_e164,
            view.c.uuid,
            view.c.country_alpha2,
            view.c.event,
            *(value.label(name) for name, value in sides.items()),
        )
        .where(
            of_account(view, asked),
            view.c.valid_from >= since(asked),
            or_(*(value.is_not(None) for value in sides.values())),
        )
        .order_by(*newest_first(view.c))
    )


def _in_decimals(rows: Iterable[Row], _asked: Asked) -> Iterator[Row]:
    """
    Amounts as decimals, and the difference: `changes` keeps them as strings.
    """
    for row in rows:
        for name in SIDES:
            row[name] = None if row[name] is None else Decimal(row[name])
        before, after = row["monthly_charge_before"], row["monthly_charge_after"]
        row["monthly_difference"] = None if before is None or after is None else after - before
        yield row


REPORTS = (
    Report(
        name="spend-by-country",
        meaning="Live numbers and what they cost a month, by country.",
        why=OF_SPEND,
        takes={"at": None, "country": None},
        columns=(COUNTRY, COUNTRY_NAME, *SUMS),
        query=_by_country,
    ),
    Report(
        name="spend-by-range",
        meaning="Live numbers and what they cost a month, by country and range.",
        why=OF_SPEND,
        takes={"at": None, "country": None},
        columns=(COUNTRY, RANGE, *SUMS),
        query=_by_range,
    ),
    Report(
        name="spend-by-status",
        meaning="Live numbers and what they cost a month, by the provider's status.",
        why="Numbers that are paid for and not used yet hide behind a status such as Reserved. "
        + OF_SPEND,
        takes={"at": None, "country": None},
        columns=(STATUS, *SUMS),
        query=_by_status,
    ),
    Report(
        name="month-end",
        meaning="Numbers that were live at each month's end, and what they cost a month; now, for "
        "this month.",
        why=OF_MONTHS,
        takes={"months": 12, "country": None},
        columns=MONTHLY,
        query=_in_all,
        by_month_end=True,
    ),
    Report(
        name="month-end-by-country",
        meaning="The same for each country.",
        why=OF_MONTHS,
        takes={"months": 12, "country": None},
        columns=(MONTHLY[0], COUNTRY, *MONTHLY[1:]),
        query=_each_country,
        by_month_end=True,
    ),
    Report(
        name="charges-changed",
        meaning="Charges that changed, newest first, by when that was seen.",
        why="The provider's charges are what its invoice will say. A rise that nobody agreed to "
        "is seen here in the run after it, not at the end of the quarter.",
        takes={"days": 90, "country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            LEARNT,
            EVENT,
            Column(
                "monthly_charge_before",
                Kind.AMOUNT,
                "Where the monthly charge changed: what it was.",
            ),
            Column("monthly_charge_after", Kind.AMOUNT, "What it became."),
            Column(
                "monthly_difference",
                Kind.AMOUNT,
                "How much more that is; NULL where either is not known.",
            ),
            Column(
                "setup_charge_before", Kind.AMOUNT, "Where the set-up charge changed: what it was."
            ),
            Column("setup_charge_after", Kind.AMOUNT, "What it became."),
        ),
        query=_charges_changed,
        finish=_in_decimals,
    ),
)
