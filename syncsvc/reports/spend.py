"""
Reports about what numbers cost, for those who pay the carrier's invoice.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, case, cast, func, or_, select

from syncsvc.database.maintenance.monthly_view import inventory_by_month_kept
from syncsvc.reports.dialects import (
    account_filter,
    exact_sum,
    in_window,
    known_at,
    newest_first,
    portable_order,
)
from syncsvc.reports.report import (
    COUNTRY,
    EVENT,
    NUMBER,
    RANGE,
    STATUS,
    SUM_DIGITS,
    UUID,
    VALID_FROM,
    WINDOW,
    Column,
    Kind,
    Report,
)
from syncsvc.schema.views import inventory_by_month, live_numbers, number_changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Function, Over, Select

    from syncsvc.reports.report import Arguments, Row

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
CHARGES = ("monthly_charge", "setup_charge")
CHARGE_VALUES = {  # where the `changes` of a history row has each value
    "monthly_charge_before": ("monthly_charge", "old"),
    "monthly_charge_after": ("monthly_charge", "new"),
    "setup_charge_before": ("setup_charge", "old"),
    "setup_charge_after": ("setup_charge", "new"),
}
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


def _charges_changed(arguments: Arguments) -> Select[Any]:
    if not arguments.with_addresses:
        return _charges_between_states(arguments)
    view = number_changes
    values = {
        label: view.c.changes[name][key].as_string() for label, (name, key) in CHARGE_VALUES.items()
    }
    return (
        select(
            view.c.valid_from,
            view.c.number_e164,
            view.c.uuid,
            view.c.country_alpha2,
            view.c.event,
            *(value.label(name) for name, value in values.items()),
        )
        .where(
            account_filter(view, arguments),
            in_window(view.c.valid_from, arguments),
            or_(*(value.is_not(None) for value in values.values())),
        )
        .order_by(*newest_first(view.c))
    )


def _charges_between_states(arguments: Arguments) -> Select[Any]:
    """
    Select the same by comparing each state with the one before, without the column `changes`.
    """
    view = number_changes

    def over(value: Function[Any]) -> Over[Any]:
        return value.over(partition_by=(view.c.account, view.c.uuid), order_by=view.c.id)

    columns = ("valid_from", "number_e164", "uuid", "country_alpha2", "event", "id", "account")
    step = select(
        *(view.c[name] for name in (*columns, *CHARGES)),
        *(over(func.lag(view.c[name])).label(f"{name}_before") for name in CHARGES),
        over(func.row_number()).label("step"),
    ).subquery()
    differs = {name: step.c[name].is_distinct_from(step.c[f"{name}_before"]) for name in CHARGES}
    return (
        select(
            *(step.c[name] for name in columns[:5]),
            *(
                case((is_new, step.c[f"{name}_before"])).label(f"{name}_before")
                for name, is_new in differs.items()
            ),
            *(
                case((is_new, step.c[name])).label(f"{name}_after")
                for name, is_new in differs.items()
            ),
        )
        .where(
            account_filter(step, arguments),
            in_window(step.c.valid_from, arguments),
            step.c.step > 1,
            or_(*differs.values()),
        )
        .order_by(*newest_first(step.c))
    )


def _with_decimals(rows: Iterable[Row], _asked: Arguments) -> Iterator[Row]:
    """
    Convert the amounts, which `changes` has as strings, to decimals, and add the difference.
    """
    for row in rows:
        for name in CHARGE_VALUES:
            row[name] = None if row[name] is None else Decimal(row[name])
        before, after = row["monthly_charge_before"], row["monthly_charge_after"]
        row["monthly_difference"] = None if before is None or after is None else after - before
        yield row


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
    Report(
        name="charges-changed",
        meaning="Charges that changed, in the order in which runs found it, newest first.",
        why="The invoice will have the provider's new charges. An increase that nobody agreed to "
        "appears here after the next run, not at the end of the quarter.",
        takes={"days": 90, **WINDOW, "country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            VALID_FROM,
            EVENT,
            Column(
                "monthly_charge_before",
                Kind.AMOUNT,
                "The old monthly charge, if it changed.",
            ),
            Column("monthly_charge_after", Kind.AMOUNT, "The new monthly charge."),
            Column(
                "monthly_difference",
                Kind.AMOUNT,
                "New minus old monthly charge; NULL if either is not known.",
                has_total=True,
                digits=SUM_DIGITS,
            ),
            Column("setup_charge_before", Kind.AMOUNT, "The old set-up charge, if it changed."),
            Column("setup_charge_after", Kind.AMOUNT, "The new set-up charge."),
        ),
        query=_charges_changed,
        finish=_with_decimals,
    ),
)
