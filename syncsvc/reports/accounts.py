"""
Report every account of a fleet: how it stands, its numbers and what they cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from syncsvc.accounts.standing import standing, usable_interval
from syncsvc.reports.definition.expressions import exact_sum, portable_order
from syncsvc.reports.definition.report import SUM_DIGITS, Column, Kind, Report
from syncsvc.reports.every_account import ACCOUNT, CURRENCY, covered
from syncsvc.reports.spending.pro_rata_billing import ZERO
from syncsvc.schema.tables import account_status, numbers
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Select

    from syncsvc.reports.definition.report import Arguments, Row

STATUS = (
    *("live_numbers", "cancelled_numbers", "withheld", "rejected", "failures", "last_finished_at"),
    *("last_success_at", "next_run_at", "host", "attention"),
)


def _accounts(_arguments: Arguments) -> Select[Any]:
    every, status = covered(), account_status.c
    spend = (
        select(numbers.c.account, exact_sum(numbers.c.monthly_charge).label("monthly_charge"))
        .where(numbers.c.lifecycle == Lifecycle.LIVE)
        .group_by(numbers.c.account)
        .subquery("spend")
    )
    return (
        select(every, *(status[name] for name in STATUS), spend.c.monthly_charge)
        .select_from(
            every.outerjoin(account_status, status.account == every.c.account).outerjoin(
                spend, spend.c.account == every.c.account
            )
        )
        .order_by(*portable_order(every.c.account))
    )


def _with_state(rows: Iterable[Row], arguments: Arguments) -> Iterator[Row]:
    for row in rows:
        has_status = row["failures"] is not None
        state = standing(
            enabled=row["enabled"],
            status=row if has_status else None,
            interval=usable_interval(row["schedule"], arguments.schedule),
            now=arguments.due_by or arguments.now,
        )
        charge = row["monthly_charge"]
        yield {
            **row,
            "state": state.value,
            "monthly_charge": ZERO if charge is None and has_status else charge,
            "currency": row["currency"] or arguments.currency,
        }


REPORTS = (
    Report(
        name="accounts",
        meaning="One row for each account: its state, its numbers, what they cost, and its runs.",
        why="To see which accounts of a fleet need a look, and to share the cost of all among "
        "them. Accounts are those of `syncsvc accounts list`; without any such rows, those that "
        "ever ran.",
        takes={"limit": None},
        columns=(
            ACCOUNT,
            Column(
                "state",
                Kind.TEXT,
                "paused; never: no run has ended; failing: the last run published nothing, or see "
                "attention; withheld: cancellations wait for a decision; late; or ok.",
            ),
            Column("live_numbers", Kind.NUMBER, "Live numbers.", has_total=True),
            Column(
                "cancelled_numbers", Kind.NUMBER, "Numbers that were cancelled.", has_total=True
            ),
            Column(
                "monthly_charge",
                Kind.AMOUNT,
                "Monthly charges of live numbers, in the currency of the account.",
                has_total=True,
                digits=SUM_DIGITS,
            ),
            CURRENCY,
            Column(
                "withheld",
                Kind.NUMBER,
                "Cancellations that the last run that published withheld.",
                has_total=True,
            ),
            Column(
                "rejected",
                Kind.NUMBER,
                "Rows that the last run that published could not read.",
                has_total=True,
            ),
            Column("failures", Kind.NUMBER, "Runs in a row that published nothing."),
            Column("last_success_at", Kind.MOMENT, "End of the last run that published."),
            Column("next_run_at", Kind.MOMENT, "When it is due next, by the database's clock."),
            Column("host", Kind.TEXT, "Origin of the provider's address."),
            Column("attention", Kind.TEXT, "Why somebody has to act; NULL if nobody has to."),
        ),
        query=_accounts,
        finish=_with_state,
        every_account=True,
    ),
)
