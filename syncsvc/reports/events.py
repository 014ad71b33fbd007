"""
What happens to numbers: for those who are asked what changed, and when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from syncsvc.reports.dialects import newest_first, of_account
from syncsvc.reports.report import Column, Kind, Report
from syncsvc.reports.spend import first_month
from syncsvc.reports.vocabulary import (
    CHARGE,
    COUNTRY,
    EVENT,
    LEARNT,
    NUMBER,
    UUID,
    WHAT,
    in_days,
    since,
    what_changed,
)
from syncsvc.schema.tables import number_history
from syncsvc.schema.views import churn_by_month, number_changes
from syncsvc.vocabulary import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from sqlalchemy import Select

    from syncsvc.reports.report import Asked, Row

change = number_changes.c

CHURN = ("added", "provisioned", "reinstated", "cancelled")
EVIDENCE = Column("evidence", Kind.TEXT, "listing, cancelled_listing or absence.")
SOURCE = Column(
    "occurred_at_source",
    Kind.TEXT,
    "provider: its own timestamp; observed: the start of the run that saw it.",
)


def _churn(asked: Asked) -> Select[Any]:
    view = churn_by_month
    return (
        select(view.c.month, *(func.sum(view.c[name]).label(name) for name in CHURN))
        .where(of_account(view, asked), view.c.month >= first_month(asked))
        .group_by(view.c.month)
        .order_by(view.c.month)
    )


def _every_month(rows: Iterable[Row], asked: Asked) -> Iterator[Row]:
    """
    The months in which something happened, and those between them and until now.
    """
    found = {row["month"]: row for row in rows}
    if not found:
        return
    month, last = min(found), max(*found, asked.now.date().replace(day=1))
    while month <= last:
        counts = found.get(month, {})
        yield {"month": month, **{name: int(counts.get(name, 0)) for name in CHURN}}
        month = _after(month)


def _after(month: date) -> date:
    later = month.year * 12 + month.month
    return month.replace(year=later // 12, month=later % 12 + 1)


def _cancelled(asked: Asked) -> Select[Any]:
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
        .where(
            of_account(number_changes, asked),
            change.event == Event.CANCELLED,
            change.valid_from >= since(asked),
        )
        .order_by(*newest_first(change))
    )


def _how_late(rows: Iterable[Row], _asked: Asked) -> Iterator[Row]:
    for row in rows:
        yield {**row, "days_until_known": in_days(row["occurred_at"], row["valid_from"])}


def _came_back(asked: Asked) -> Select[Any]:
    """
    Reinstatements, each with the cancellation before it.
    """
    earlier, before = number_history.alias(), number_history.alias()
    turn = (
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
        .select_from(number_changes.outerjoin(before, before.c.id == turn))
        .where(
            of_account(number_changes, asked),
            change.event == Event.REINSTATED,
            change.valid_from >= since(asked),
        )
        .order_by(*newest_first(change))
    )


def _how_long_away(rows: Iterable[Row], _asked: Asked) -> Iterator[Row]:
    for row in rows:
        yield {**row, "days_away": in_days(row["cancelled_at"], row["reinstated_at"])}


def _latest(asked: Asked) -> Select[Any]:
    return (
        select(
            change.valid_from,
            change.occurred_at,
            change.number_e164,
            change.uuid,
            change.country_alpha2,
            change.event,
            change.evidence,
            change.changes,
        )
        .where(of_account(number_changes, asked))
        .order_by(change.run_id.desc(), *newest_first(change))
    )


def _told(rows: Iterable[Row], _asked: Asked) -> Iterator[Row]:
    for row in rows:
        yield {**row, "what": what_changed(row["changes"])}


REPORTS = (
    Report(
        name="churn-by-month",
        meaning="What came and went in each month, by when it happened.",
        why="The trend behind the bill: orders, returns and numbers that came back. A month that "
        "nothing happened in is there with zeros.",
        takes={"months": 12, "country": None},
        columns=(
            Column("month", Kind.MONTH, "The month, by its first day (UTC)."),
            Column("added", Kind.NUMBER, "Numbers first seen, not provisioned yet."),
            Column(
                "provisioned",
                Kind.NUMBER,
                "Numbers provisioned, or given another provisioned timestamp.",
            ),
            Column("reinstated", Kind.NUMBER, "Numbers live again after they were cancelled."),
            Column("cancelled", Kind.NUMBER, "Numbers cancelled."),
        ),
        query=_churn,
        finish=_every_month,
    ),
    Report(
        name="cancelled-numbers",
        meaning="Numbers cancelled lately: when it happened, when we learnt of it, and on what "
        "evidence.",
        why="The carrier bills until a cancellation takes effect, and calls go nowhere from then "
        "on. One that nobody ordered shows here in the run that finds it; a large "
        "days_until_known says that the provider told it late.",
        takes={"days": 90, "country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            LEARNT,
            Column("occurred_at", Kind.MOMENT, "When it was cancelled."),
            SOURCE,
            EVIDENCE,
            CHARGE,
            Column("days_until_known", Kind.DAYS, "From the cancellation until we knew of it."),
        ),
        query=_cancelled,
        finish=_how_late,
    ),
    Report(
        name="came-back",
        meaning="Numbers that were live again after they were cancelled, newest first.",
        why="A number that comes back was cancelled by mistake, ordered anew, or wrongly reported "
        "gone. Those cancelled on absence and back soon after deserve a word with the provider.",
        takes={"days": 365, "country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            LEARNT,
            Column("cancelled_at", Kind.MOMENT, "When it had been cancelled."),
            Column(
                "cancelled_on",
                Kind.TEXT,
                "The evidence for that: listing, cancelled_listing or absence.",
            ),
            Column("reinstated_at", Kind.MOMENT, "When it was live again."),
            Column("days_away", Kind.DAYS, "From the one to the other."),
        ),
        query=_came_back,
        finish=_how_long_away,
    ),
    Report(
        name="latest-changes",
        meaning="What changed last, newest first.",
        why="What a colleague asks on Monday morning.",
        takes={"country": None, "limit": 50},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            LEARNT,
            Column("occurred_at", Kind.MOMENT, "When it happened."),
            EVENT,
            EVIDENCE,
            WHAT,
        ),
        query=_latest,
        finish=_told,
    ),
)
