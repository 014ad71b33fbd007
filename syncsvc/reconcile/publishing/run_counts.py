"""
Count what a run found and changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, func, not_, or_, select

from syncsvc.reconcile.staging.stage_listing import OF_A_SEARCH
from syncsvc.reconcile.statement_cache import built, count
from syncsvc.reconcile.temp_tables import (
    planned_addresses,
    planned_numbers,
    staged_numbers,
    staged_rejects,
)
from syncsvc.vocabulary import Event, Evidence, Lifecycle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Connection, Select

planned, staged = planned_numbers.c, staged_numbers.c
SEARCHED = staged.walk == OF_A_SEARCH
IS_LISTED_LIVE = and_(
    planned.lifecycle == Lifecycle.LIVE,
    planned.evidence == Evidence.LISTING,
    planned.uuid.not_in(select(staged.uuid).where(SEARCHED)),
)
# First seen cancelled, with a stamp of when it began.
IS_PROVISIONED_TOO = and_(
    not_(planned.known), planned.event == Event.CANCELLED, planned.provisioned_at.is_not(None)
)
CHANGES = (*map(str, Event), "address_changes", "rejected")


def count_plan(connection: Connection, remembered: int) -> dict[str, int]:
    """
    Count what the plan changes, and what was found unchanged.

    Args:
        remembered: How many unchanged numbers were listed and not staged.
    """
    listed, listed_live = connection.execute(built(_listed)).one()
    events, changed_live = _count_events(connection)
    return {
        "listed": listed + remembered,
        **events,
        "unchanged": listed_live - changed_live + remembered,
        "address_changes": count(connection, planned_addresses),
        "rejected": count(connection, staged_rejects),
    }


def _listed() -> Select[int, int]:
    readable = and_(not_(staged.rejected), not_(SEARCHED))
    live = or_(staged.unchanged, staged.lifecycle == Lifecycle.LIVE)
    return select(_count_if(readable), _count_if(readable, live))


def _count_if(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count().filter(and_(*conditions))


def _count_events(connection: Connection) -> tuple[dict[str, int], int]:
    """
    Count the rows of history by event, with those that were closed at once.

    Returns:
        The counts, and how many of the rows the listing shows as live.
    """
    events = dict.fromkeys(map(str, Event), 0)
    listed_live = 0
    for event, rows, provisioned, live in connection.execute(built(_events)):
        events[event] += rows
        events[Event.PROVISIONED] += provisioned
        listed_live += live
    return events, listed_live


def _events() -> Select[str, int, int, int]:
    counts = func.count(), _count_if(IS_PROVISIONED_TOO), _count_if(IS_LISTED_LIVE)
    return select(planned.event, *counts).group_by(planned.event)


def counts_without_changes(listed: int) -> dict[str, int]:
    """
    Return the same counts for a listing of so many numbers without any change.
    """
    nothing = dict.fromkeys(CHANGES, 0)
    return {**nothing, "listed": listed, "unchanged": listed}


def has_changes(found: Mapping[str, int]) -> bool:
    """
    Return whether a run changes anything, or has rejects.
    """
    return any(found[name] for name in CHANGES)
