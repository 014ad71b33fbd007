"""
Reports about what numbers cost, for those who pay the carrier's invoice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, cast, func, select

from syncsvc.database.maintenance.monthly_view import inventory_by_month_kept
from syncsvc.reports.definition.expressions import (
    account_filter,
    exact_sum,
    known_at,
    portable_order,
)
from syncsvc.reports.definition.report import (
    COUNTRY,
    RANGE,
    STATUS,
    SUM_DIGITS,
    Column,
    Kind,
    Report,
)
from syncsvc.schema.views import inventory_by_month, live_numbers, number_changes

if TYPE_CHECKING:
    from sqlalchemy import Select

    from syncsvc.reports.definition.report import Arguments

COUNTRY_NAME = Column("country_name", Kind.TEXT, "Country, as the provider names it.")
SUMS = (
    Column("numbers", Kind.NUMBER, "Live numbers.", has_total=True),
    Column(
        "without_charge",
        Kind.NUMBER,
        "Live numbers without a known monthly charge.",
        has_total=True,
    ),
    Column(
        "monthly_charge",
        Kind.AMOUNT,
        "Sum of their monthly charges, exact.",
        has_total=True,
        digits=SUM_DIGITS,
    ),
)
MONTHLY = (
    Column("month", Kind.MONTH, "The month, by its first day (UTC)."),
    Column("numbers", Kind.NUMBER, "Numbers that were live at the month's end."),
    Column(
        "monthly_charge",
        Kind.AMOUNT,
        "Sum of their monthly charges at that time.",
        digits=SUM_DIGITS,
    ),
)
SPEND_PURPOSE = (
    "Compare it with the carrier's invoice; use --at to compare it with an older one, by what "
    "was known then."
)
MONTH_END_PURPOSE = (
    "Use it for accruals at a month's end. Events count in the month in which they happened, also "
    "before the service first ran, so a cancellation that was reported late still counts in its "
    "own month."
)


def _spend(arguments: Arguments, *by: str) -> Select[Any]:
    """
    Select the live numbers and their cost, grouped by these columns.
    """
    view = live_numbers if arguments.at is None else number_changes
    query = select(
        *(view.c[name] for name in by),
        func.count().label("numbers"),
        (func.count() - func.count(view.c.monthly_charge)).label("without_charge"),
        exact_sum(view.c.monthly_charge).label("monthly_charge"),
    ).where(account_filter(view, arguments), view.c.lifecycle == "live")
    if arguments.at is not None:
        query = query.where(known_at(view, arguments.at))
    groups = [view.c[name] for name in by]
    return query.group_by(*groups).order_by(*portable_order(*groups))


def _by_country(arguments: Arguments) -> Select[Any]:
    return _spend(arguments, "country_alpha2", "country_name")


def _by_range(arguments: Arguments) -> Select[Any]:
    return _spend(arguments, "country_alpha2", "range_name")


def _by_status(arguments: Arguments) -> Select[Any]:
    return _spend(arguments, "status")


def _month_end(arguments: Arguments, *by: str) -> Select[Any]:
    view = inventory_by_month if arguments.months_as_of is None else inventory_by_month_kept
    groups = [view.c.month, *(view.c[name] for name in by)]
    return (
        select(
            *groups,
            cast(func.sum(view.c.numbers), BigInteger).label("numbers"),
            exact_sum(view.c.monthly_charge).label("monthly_charge"),
        )
        .where(
            account_filter(view, arguments),
            view.c.month >= arguments.first_month,
            view.c.month <= arguments.now.date(),
        )
        .group_by(*groups)
        .order_by(*portable_order(*groups))
    )


def _all_countries(arguments: Arguments) -> Select[Any]:
    return _month_end(arguments)


def _by_month_and_country(arguments: Arguments) -> Select[Any]:
    return _month_end(arguments, "country_alpha2")


REPORTS = (
    Report(
        name="spend-by-country",
        meaning="Live numbers and their monthly cost, by country.",
        why=SPEND_PURPOSE,
        takes={"at": None, "country": None},
        columns=(COUNTRY, COUNTRY_NAME, *SUMS),
        query=_by_country,
    ),
    Report(
        name="spend-by-range",
        meaning="Live numbers and their monthly cost, by country and range.",
        why=SPEND_PURPOSE,
        takes={"at": None, "country": None},
        columns=(COUNTRY, RANGE, *SUMS),
        query=_by_range,
    ),
    Report(
        name="spend-by-status",
        meaning="Live numbers and their monthly cost, by the provider's status.",
        why="A status such as Reserved marks numbers that are paid for but not used yet. "
        + SPEND_PURPOSE,
        takes={"at": None, "country": None},
        columns=(STATUS, *SUMS),
        query=_by_status,
    ),
    Report(
        name="month-end",
        meaning="Numbers that were live at each month's end, and their monthly cost; for this "
        "month, as of now.",
        why=MONTH_END_PURPOSE,
        takes={"months": 12, "country": None},
        columns=MONTHLY,
        query=_all_countries,
        by_month_end=True,
    ),
    Report(
        name="month-end-by-country",
        meaning="Numbers that were live at each month's end, and their monthly cost, by country.",
        why=MONTH_END_PURPOSE,
        takes={"months": 12, "country": None},
        columns=(MONTHLY[0], COUNTRY, *MONTHLY[1:]),
        query=_by_month_and_country,
        by_month_end=True,
    ),
)
