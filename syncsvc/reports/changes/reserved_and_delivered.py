"""
Reports about numbers from order to use, for those who order numbers and return them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, not_, or_, select

from syncsvc.reports.definition.expressions import (
    account_filter,
    in_window,
    is_reserved,
    newest_first,
    portable_order,
)
from syncsvc.reports.definition.report import (
    CHARGE,
    CHARGE_WITH_TOTAL,
    COUNTRY,
    NUMBER,
    STATUS,
    UUID,
    WINDOW,
    Column,
    Kind,
    Report,
    in_days,
)
from syncsvc.schema.tables import number_history, numbers
from syncsvc.schema.views import live_numbers, number_changes
from syncsvc.vocabulary import Event, Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import ColumnElement, Select

    from syncsvc.reports.definition.report import Arguments, Row

change = number_changes.c

LONG_AGO = datetime.min.replace(tzinfo=UTC)


def _reserved(arguments: Arguments) -> Select[Any]:
    """
    Select live numbers that have been reserved for longer than N days.

    A number became reserved when its last history row with another state ended.
    If it never had another state, it was reserved when it was provisioned or first seen.
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
    arrived = case(
        (live.provisioned_at < live.first_seen_at, live.provisioned_at), else_=live.first_seen_at
    )
    reserved = (
        select(
            live.number_e164,
            live.uuid,
            live.country_alpha2,
            live.status,
            func.coalesce(ended, arrived).label("reserved_since"),
            live.monthly_charge,
        )
        .where(account_filter(live_numbers, arguments), is_reserved(live.status))
        .subquery()
    )
    since_when = reserved.c.reserved_since
    return (
        select(reserved)
        .where(_long_enough(since_when, arguments))
        .order_by(since_when, *portable_order(reserved.c.number_e164, reserved.c.uuid))
    )


def _long_enough(since_when: ColumnElement[Any], arguments: Arguments) -> ColumnElement[bool]:
    """
    The condition for reservations from before the last N days, or from the time asked for.
    """
    if arguments.since is None and arguments.until is None:
        return since_when < arguments.window_start
    earliest = LONG_AGO if arguments.since is None else arguments.since
    return and_(since_when >= earliest, since_when <= (arguments.until or arguments.now))


def _with_days_reserved(rows: Iterable[Row], arguments: Arguments) -> Iterator[Row]:
    for row in rows:
        yield {**row, "days_reserved": in_days(row["reserved_since"], arguments.now)}


def _to_provision(arguments: Arguments) -> Select[Any]:
    """
    Select numbers that were listed before they were provisioned, with their first stamp.
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
            account_filter(number_changes, arguments),
            change.event == Event.ADDED,
            in_window(change.valid_from, arguments),
        )
        .order_by(*newest_first(change))
    )


def _with_days_waited(rows: Iterable[Row], arguments: Arguments) -> Iterator[Row]:
    for row in rows:
        until = arguments.now if row["outcome"] == "waiting" else row["provisioned_at"]
        yield {**row, "days": in_days(row["listed_at"], until)}


def _same_number_twice(_arguments: Arguments) -> Select[Any]:
    several = select(numbers.c.number_e164).group_by(numbers.c.number_e164).having(func.count() > 1)
    live_rows = func.count(case((numbers.c.lifecycle == Lifecycle.LIVE, 1)))
    live = live_rows.over(partition_by=numbers.c.number_e164)
    columns = (
        "account",
        "uuid",
        "lifecycle",
        "status",
        "monthly_charge",
        "first_seen_at",
        "cancelled_at",
    )
    return (
        select(numbers.c.number_e164, live.label("live"), *(numbers.c[name] for name in columns))
        .where(numbers.c.number_e164.in_(several))
        .order_by(
            live.desc(), *portable_order(numbers.c.number_e164, numbers.c.account, numbers.c.uuid)
        )
    )


REPORTS = (
    Report(
        name="reserved-numbers",
        meaning="Live numbers that have been reserved for longer than N days.",
        why="A number is paid for from its reservation, used or not. Numbers that nobody has "
        "started to use are the first to return.",
        takes={"days": 30, **WINDOW, "country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            STATUS,
            Column(
                "reserved_since",
                Kind.MOMENT,
                "When it became reserved; if it never had another status, when it was provisioned "
                "or first seen, whichever was earlier.",
            ),
            CHARGE_WITH_TOTAL,
            Column("days_reserved", Kind.DAYS, "Days since reserved_since."),
        ),
        query=_reserved,
        finish=_with_days_reserved,
    ),
    Report(
        name="days-to-provision",
        meaning="Numbers that were listed before they were provisioned, and how many days that "
        "took or has taken so far.",
        why="Shows how long the carrier takes to deliver, and which orders are stuck.",
        takes={"days": 365, **WINDOW, "country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            Column("listed_at", Kind.MOMENT, "Start of the run that first saw it."),
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
        finish=_with_days_waited,
    ),
    Report(
        name="same-number-twice",
        meaning="E.164 numbers with two uuids or in two accounts, over all accounts.",
        why="Two live rows mean that a number is paid for twice, or has moved between accounts. "
        "One live and one cancelled row mean that a number was returned and ordered again.",
        takes={"limit": None},
        columns=(
            NUMBER,
            UUID,
            Column("live", Kind.NUMBER, "How many of the number's rows are live."),
            Column("account", Kind.TEXT, "Account of this row."),
            Column("lifecycle", Kind.TEXT, "live or cancelled."),
            STATUS,
            CHARGE,
            Column("first_seen_at", Kind.MOMENT, "Start of the run that first saw it."),
            Column("cancelled_at", Kind.MOMENT, "When it was cancelled."),
        ),
        query=_same_number_twice,
        every_account=True,
    ),
)
