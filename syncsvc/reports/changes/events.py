"""
Reports about what happened to numbers, for those who are asked what changed, and when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select

from syncsvc.reports.definition.expressions import account_filter, in_window, newest_first, readable
from syncsvc.reports.definition.report import (
    CHARGE_WITH_TOTAL,
    COUNTRY,
    EVENT,
    NUMBER,
    UUID,
    VALID_FROM,
    WHAT_CHANGED,
    WINDOW,
    Column,
    Kind,
    Report,
    in_days,
    with_changes_as_text,
)
from syncsvc.schema.tables import number_history
from syncsvc.schema.views import churn_by_month, number_changes
from syncsvc.vocabulary import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from sqlalchemy import ColumnElement, Select

    from syncsvc.reports.definition.report import Arguments, Row

change = number_changes.c

CHURN = ("added", "provisioned", "reinstated", "cancelled")
EVIDENCE = Column("evidence", Kind.TEXT, "listing, cancelled_listing or absence.")
SOURCE = Column(
    "occurred_at_source",
    Kind.TEXT,
    "provider: its own timestamp; observed: the start of the run that saw it.",
)


def _churn(arguments: Arguments) -> Select[Any]:
    view = churn_by_month
    return (
        select(view.c.month, *(func.sum(view.c[name]).label(name) for name in CHURN))
        .where(account_filter(view, arguments), view.c.month >= arguments.first_month)
        .group_by(view.c.month)
        .order_by(view.c.month)
    )


def _every_month(rows: Iterable[Row], arguments: Arguments) -> Iterator[Row]:
    """
    Add rows of zeros for months without events, from the first of the months until now.
    """
    found = {row["month"]: row for row in rows}
    month, last = arguments.first_month, max([*found, arguments.now.date().replace(day=1)])
    while month <= last:
        counts = found.get(month, {})
        yield {"month": month, **{name: int(counts.get(name, 0)) for name in CHURN}}
        month = _next_month(month)


def _next_month(month: date) -> date:
    later = month.year * 12 + month.month
    return month.replace(year=later // 12, month=later % 12 + 1)


def _recent(event: Event, arguments: Arguments) -> tuple[ColumnElement[bool], ...]:
    """
    The conditions for changes of this kind in the time to look at.
    """
    return (
        account_filter(number_changes, arguments),
        change.event == event,
        in_window(change.valid_from, arguments),
    )


def _cancelled(arguments: Arguments) -> Select[Any]:
    return (
        select(
            change.valid_from,
            change.occurred_at,
            change.occurred_at_source,
            change.evidence,
            change.number_e164,
            change.uuid,
            change.country_alpha2,
            change.monthly_charge,
        )
        .where(*_recent(Event.CANCELLED, arguments))
        .order_by(*newest_first(change))
    )


def _with_days_until_known(rows: Iterable[Row], _asked: Arguments) -> Iterator[Row]:
    for row in rows:
        yield {**row, "days_until_known": in_days(row["occurred_at"], row["valid_from"])}


def _reinstated(arguments: Arguments) -> Select[Any]:
    """
    Select reinstatements, each with the cancellation before it.
    """
    earlier, before = number_history.alias(), number_history.alias()
    previous_id = (
        select(earlier.c.id)
        .where(
            earlier.c.account == change.account,
            earlier.c.uuid == change.uuid,
            earlier.c.valid_from < change.valid_from,
            earlier.c.event.in_([Event.CANCELLED, Event.REINSTATED]),
        )
        .order_by(earlier.c.valid_from.desc(), earlier.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    is_previous = and_(before.c.account == change.account, before.c.id == previous_id)
    return (
        select(
            change.valid_from,
            change.number_e164,
            change.uuid,
            change.country_alpha2,
            before.c.occurred_at.label("cancelled_at"),
            before.c.evidence.label("cancelled_on"),
            change.occurred_at.label("reinstated_at"),
        )
        .select_from(number_changes.outerjoin(before, is_previous))
        .where(*_recent(Event.REINSTATED, arguments))
        .order_by(*newest_first(change))
    )


def _with_days_away(rows: Iterable[Row], _asked: Arguments) -> Iterator[Row]:
    for row in rows:
        yield {**row, "days_away": in_days(row["cancelled_at"], row["reinstated_at"])}


def _latest(arguments: Arguments) -> Select[Any]:
    return (
        select(
            change.valid_from,
            change.occurred_at,
            change.number_e164,
            change.uuid,
            change.country_alpha2,
            change.event,
            change.evidence,
            readable(change.changes, arguments),
        )
        .where(account_filter(number_changes, arguments))
        .order_by(change.run_id.desc(), *newest_first(change))
    )


REPORTS = (
    Report(
        name="churn-by-month",
        meaning="Numbers that were added, provisioned, reinstated and cancelled in each month, by "
        "when it happened.",
        why="Shows the trend behind the bill. A month without events has zeros.",
        takes={"months": 12, "country": None},
        columns=(
            Column("month", Kind.MONTH, "The month, by its first day (UTC)."),
            Column(
                "added",
                Kind.NUMBER,
                "Numbers first seen, not provisioned yet.",
                has_total=True,
            ),
            Column(
                "provisioned",
                Kind.NUMBER,
                "Numbers provisioned, or given another provisioned timestamp.",
                has_total=True,
            ),
            Column(
                "reinstated",
                Kind.NUMBER,
                "Numbers live again after they were cancelled.",
                has_total=True,
            ),
            Column("cancelled", Kind.NUMBER, "Numbers cancelled.", has_total=True),
        ),
        query=_churn,
        finish=_every_month,
    ),
    Report(
        name="cancelled-numbers",
        meaning="Numbers cancelled in the last N days: when it happened, when a run found it, and "
        "on what evidence.",
        why="The carrier bills until a cancellation takes effect, and from then on calls to the "
        "number fail. A cancellation that nobody ordered appears here after the run that finds it; "
        "a large days_until_known means that the provider reported it late.",
        takes={"days": 90, **WINDOW, "country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            VALID_FROM,
            Column("occurred_at", Kind.MOMENT, "When it was cancelled."),
            SOURCE,
            EVIDENCE,
            CHARGE_WITH_TOTAL,
            Column(
                "days_until_known", Kind.DAYS, "From the cancellation until the run that found it."
            ),
        ),
        query=_cancelled,
        finish=_with_days_until_known,
    ),
    Report(
        name="came-back",
        meaning="Numbers that became live again after they were cancelled, newest first.",
        why="Such a number was cancelled by mistake, ordered again, or wrongly reported as "
        "cancelled. If it was cancelled on absence and came back soon, ask the provider.",
        takes={"days": 365, **WINDOW, "country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            VALID_FROM,
            Column("cancelled_at", Kind.MOMENT, "When it was cancelled."),
            Column(
                "cancelled_on",
                Kind.TEXT,
                "The evidence for that cancellation: listing, cancelled_listing or absence.",
            ),
            Column("reinstated_at", Kind.MOMENT, "When it became live again."),
            Column("days_away", Kind.DAYS, "From the cancellation to the reinstatement."),
        ),
        query=_reinstated,
        finish=_with_days_away,
    ),
    Report(
        name="latest-changes",
        meaning="The latest changes, newest first.",
        why="For a quick answer to what changed since yesterday or last week.",
        takes={"country": None, "limit": 50},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            VALID_FROM,
            Column("occurred_at", Kind.MOMENT, "When it happened."),
            EVENT,
            EVIDENCE,
            WHAT_CHANGED,
        ),
        query=_latest,
        finish=with_changes_as_text,
    ),
)
