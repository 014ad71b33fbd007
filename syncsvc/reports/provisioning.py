"""
How numbers are ordered and used: for those who order them and give them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, not_, or_, select

from syncsvc.reports.dialects import in_order, is_reserved, newest_first, of_account
from syncsvc.reports.report import Column, Kind, Report
from syncsvc.reports.vocabulary import CHARGE, COUNTRY, NUMBER, STATUS, UUID, in_days, since
from syncsvc.schema.tables import number_history, numbers
from syncsvc.schema.views import live_numbers, number_changes
from syncsvc.vocabulary import Event, Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Select

    from syncsvc.reports.report import Asked, Row

change = number_changes.c


def _reserved(asked: Asked) -> Select[Any]:
    """
    Live numbers that have been reserved since before so many days ago.

    A number was seen to become reserved where its last other row ended; one
    that was never seen otherwise was reserved when it came.
    """
    history, live = number_history.c, live_numbers.c
    ended = (
        select(func.max(history.valid_to))
        .where(
            history.account == live.account,
            history.uuid == live.uuid,
            or_(not_(is_reserved(history.status)), history.lifecycle == Lifecycle.CANCELLED),
        )
        .scalar_subquery()
    )
    came = case(
        (live.provisioned_at < live.first_seen_at, live.provisioned_at), else_=live.first_seen_at
    )
    reserved = (
        select(
            live.number_e164,
            live.uuid,
            live.country_alpha2,
            live.status,
            func.coalesce(ended, came).label("reserved_since"),
            live.monthly_charge,
        )
        .where(of_account(live_numbers, asked), is_reserved(live.status))
        .subquery()
    )
    since_when = reserved.c.reserved_since
    return (
        select(reserved)
        .where(since_when < since(asked))
        .order_by(since_when, *in_order(reserved.c.number_e164, reserved.c.uuid))
    )


def _how_long(rows: Iterable[Row], asked: Asked) -> Iterator[Row]:
    for row in rows:
        yield {**row, "days_reserved": in_days(row["reserved_since"], asked.now)}


def _to_provision(asked: Asked) -> Select[Any]:
    """
    Numbers that were listed before they were provisioned, and the first stamp after that.
    """
    later = number_history.alias()
    stamp = (
        select(later.c.provisioned_at)
        .where(
            later.c.account == change.account,
            later.c.uuid == change.uuid,
            later.c.provisioned_at.is_not(None),
        )
        .order_by(later.c.valid_from, later.c.id)
        .limit(1)
        .scalar_subquery()
    )
    outcome = case(
        (stamp.is_not(None), "provisioned"),
        (numbers.c.lifecycle == Lifecycle.CANCELLED, "cancelled"),
        else_="waiting",
    )
    same = and_(numbers.c.account == change.account, numbers.c.uuid == change.uuid)
    return (
        select(
            change.valid_from.label("listed_at"),
            stamp.label("provisioned_at"),
            outcome.label("outcome"),
            change.number_e164,
            change.uuid,
            change.country_alpha2,
        )
        .select_from(number_changes.join(numbers, same))
        .where(
            of_account(number_changes, asked),
            change.event == Event.ADDED,
            change.valid_from >= since(asked),
        )
        .order_by(*newest_first(change))
    )


def _until_provisioned(rows: Iterable[Row], asked: Asked) -> Iterator[Row]:
    for row in rows:
        until = asked.now if row["outcome"] == "waiting" else row["provisioned_at"]
        yield {**row, "days": in_days(row["listed_at"], until)}


def _same_number_twice(_asked: Asked) -> Select[Any]:
    several = select(numbers.c.number_e164).group_by(numbers.c.number_e164).having(func.count() > 1)
    living = func.count(case((numbers.c.lifecycle == Lifecycle.LIVE, 1)))
    live = living.over(partition_by=numbers.c.number_e164)
    shown = (
        "account",
        "uuid",
        "lifecycle",
        "status",
        "monthly_charge",
        "first_seen_at",
        "cancelled_at",
    )
    return (
        select(numbers.c.number_e164, live.label("live"), *(numbers.c[name] for name in shown))
        .where(numbers.c.number_e164.in_(several))
        .order_by(live.desc(), *in_order(numbers.c.number_e164, numbers.c.account, numbers.c.uuid))
    )


REPORTS = (
    Report(
        name="reserved-numbers",
        meaning="Live numbers that have been reserved for longer than so many days.",
        why="A number is paid for from its reservation, used or not. Those that nobody took into "
        "use are the first to give back.",
        takes={"days": 30, "country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            STATUS,
            Column(
                "reserved_since",
                Kind.MOMENT,
                "When it was seen to become reserved; where it never was anything else, when it "
                "was provisioned or, if that is not known, first seen.",
            ),
            CHARGE,
            Column("days_reserved", Kind.DAYS, "From then until now."),
        ),
        query=_reserved,
        finish=_how_long,
    ),
    Report(
        name="days-to-provision",
        meaning="Numbers that were listed before they were provisioned, and how long that took or "
        "has taken so far.",
        why="How long the carrier takes to deliver, and which orders are stuck.",
        takes={"days": 365, "country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            Column("listed_at", Kind.MOMENT, "Start of the run that saw it first."),
            Column(
                "provisioned_at",
                Kind.MOMENT,
                "The provider's first provisioned timestamp after that.",
            ),
            Column(
                "outcome",
                Kind.TEXT,
                "provisioned, waiting, or cancelled without having been provisioned.",
            ),
            Column("days", Kind.DAYS, "From listed to provisioned, or to now while it waits."),
        ),
        query=_to_provision,
        finish=_until_provisioned,
    ),
    Report(
        name="same-number-twice",
        meaning="E.164 numbers that stand under two uuids or in two accounts, over all accounts.",
        why="Two live rows for one number are paid twice, or a number has moved between accounts. "
        "One live and one cancelled row are a number that was given back and ordered again.",
        takes={"limit": None},
        columns=(
            NUMBER,
            UUID,
            Column("live", Kind.NUMBER, "How many of its rows are live."),
            Column("account", Kind.TEXT, "Account of this row."),
            Column("lifecycle", Kind.TEXT, "live or cancelled."),
            STATUS,
            CHARGE,
            Column("first_seen_at", Kind.MOMENT, "Start of the run that saw it first."),
            Column("cancelled_at", Kind.MOMENT, "When it was cancelled."),
        ),
        query=_same_number_twice,
        every_account=True,
    ),
)
