"""
Report the charges of numbers that changed, for those who pay the carrier's invoice.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, or_, select

from syncsvc.reports.definition.expressions import account_filter, in_window, newest_first
from syncsvc.reports.definition.report import (
    COUNTRY,
    EVENT,
    NUMBER,
    SUM_DIGITS,
    UUID,
    VALID_FROM,
    WINDOW,
    Column,
    Kind,
    Report,
)
from syncsvc.schema.views import number_changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Function, Over, Select

    from syncsvc.reports.definition.report import Arguments, Row

CHARGES = ("monthly_charge", "setup_charge")
CHARGE_VALUES = {  # where the `changes` of a history row has each value
    "monthly_charge_before": ("monthly_charge", "old"),
    "monthly_charge_after": ("monthly_charge", "new"),
    "setup_charge_before": ("setup_charge", "old"),
    "setup_charge_after": ("setup_charge", "new"),
}


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
