"""
Report the difference of two dates, number by number, for those who compare two inventories.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select

from syncsvc.reports.definition.expressions import account_filter, portable_order, readable
from syncsvc.reports.definition.report import (
    COUNTRY,
    NUMBER,
    RANGE,
    REQUIRED,
    SUM_DIGITS,
    UUID,
    Column,
    Kind,
    Report,
    changes_as_text,
)
from syncsvc.schema.tables import TRACKED_COLUMNS, number_history, numbers
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Select

    from syncsvc.reports.definition.report import Arguments, Row

CAME_AND_WENT = "new and cancelled"
KINDS: dict[tuple[str | None, str], str] = {  # by the lifecycle before and after
    (None, Lifecycle.LIVE): "new",
    (None, Lifecycle.CANCELLED): CAME_AND_WENT,
    (Lifecycle.LIVE, Lifecycle.CANCELLED): "cancelled",
    (Lifecycle.CANCELLED, Lifecycle.LIVE): "reinstated",
}


def _states(arguments: Arguments) -> Select[Any]:
    """
    Select, of the numbers that changed in between, the state at the start and all later ones.
    """
    history, start, end = number_history.c, arguments.start, arguments.end or arguments.now
    changed = select(history.uuid).where(
        history.account == arguments.account,
        history.valid_from > start,
        history.valid_from <= end,
    )
    same = and_(history.account == numbers.c.account, history.uuid == numbers.c.uuid)
    names = ("number_e164", "uuid", "country_alpha2", "range_name", "first_seen_at")
    return (
        select(
            *(numbers.c[name] for name in names),
            *(history[name] for name in TRACKED_COLUMNS),
            readable(history.changes, arguments),
        )
        .join_from(number_history, numbers, same)
        .where(
            account_filter(numbers, arguments),
            history.uuid.in_(changed),
            history.valid_from <= end,
            or_(history.valid_to.is_(None), history.valid_to > start),
        )
        .order_by(
            *portable_order(numbers.c.country_alpha2, numbers.c.number_e164, numbers.c.uuid),
            history.valid_from,
            history.id,
        )
    )


def _differences(rows: Iterable[Row], arguments: Arguments) -> Iterator[Row]:
    for _, states in groupby(rows, lambda row: row["uuid"]):
        found = _difference(list(states), arguments)
        if found is not None:
            yield found


def _difference(states: Sequence[Row], arguments: Arguments) -> Row | None:
    """
    Compare the state at the start with the last one; None if they are the same.

    If the state at the start was pruned, the oldest one since takes its place.
    """
    after = states[-1]
    is_new = arguments.start is None or after["first_seen_at"] > arguments.start
    before = None if is_new else states[0]
    changes = {} if before is None else _changes(before, states[1:])
    if before is not None and not changes:
        return None
    old, new = _live_charge(before), _live_charge(after)
    lifecycles = (None if before is None else before["lifecycle"], after["lifecycle"])
    return {
        **after,
        "difference": KINDS.get(lifecycles, "changed"),
        "status_before": before and before["status"],
        "status_after": after["status"],
        "monthly_charge_before": old,
        "monthly_charge_after": new,
        "monthly_difference": (new or Decimal(0)) - (old or Decimal(0)),
        "what": changes_as_text(changes),
    }


def _live_charge(state: Row | None) -> Decimal | None:
    if state is None or state["lifecycle"] != Lifecycle.LIVE:
        return None
    charge: Decimal | None = state["monthly_charge"]
    return charge


def _changes(before: Row, later: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """
    Return what differs in the end: tracked columns by their states, others by what runs noted.
    """
    noted: dict[str, dict[str, Any]] = {}
    for row in later:
        for name, pair in (row["changes"] or {}).items():
            old = noted.get(name, pair)["old"]
            noted[name] = {"old": old, "new": pair["new"]}
    for name in TRACKED_COLUMNS if later else ():
        noted[name] = {"old": _as_noted(before[name]), "new": _as_noted(later[-1][name])}
    return {name: pair for name, pair in noted.items() if pair["old"] != pair["new"]}


def _as_noted(value: object) -> object:
    """
    Write a value as the column `changes` has it.
    """
    if isinstance(value, Decimal):
        return f"{value:.4f}"
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


REPORTS = (
    Report(
        name="changes",
        meaning="The difference of two dates, number by number: what was known at the end of the "
        "first, against the second.",
        why="Explains why this month's figures are not last month's: the differences of the "
        "monthly charges add up to that of the spend reports with --at. What changed and changed "
        "back in between is left out; `latest-changes` has every step.",
        takes={"start": REQUIRED, "end": None, "country": None, "limit": None},
        columns=(
            COUNTRY,
            RANGE,
            NUMBER,
            UUID,
            Column(
                "difference",
                Kind.TEXT,
                f"new, cancelled, reinstated, changed, or {CAME_AND_WENT}.",
            ),
            Column("status_before", Kind.TEXT, "Status at the start; NULL if it is new."),
            Column("status_after", Kind.TEXT, "Status at the end."),
            Column(
                "monthly_charge_before", Kind.AMOUNT, "Monthly charge at the start, if it was live."
            ),
            Column("monthly_charge_after", Kind.AMOUNT, "The one at the end, if it was live."),
            Column(
                "monthly_difference",
                Kind.AMOUNT,
                "The one minus the other; not live and not known count as zero.",
                has_total=True,
                digits=SUM_DIGITS,
            ),
            Column("what", Kind.TEXT, "The columns that differ, with old and new value."),
        ),
        query=_states,
        finish=_differences,
        regroups=True,
    ),
)
