"""
Count what a run found and changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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


class PlannedNumbers(NamedTuple):
    """
    How many numbers the plan has of each kind, so that nobody looks for those it has none of.

    Attributes:
        known: The tables have them already.
        new: The tables do not have them yet.
        provisioned_too: New ones whose history begins with two rows.
    """

    known: int
    new: int
    provisioned_too: int


def count_plan(connection: Connection, remembered: int) -> tuple[dict[str, int], PlannedNumbers]:
    """
    Count what the plan changes, and what was found unchanged.

    Args:
        remembered: How many unchanged numbers were listed and not staged.
    """
    listed, listed_live = connection.execute(built(_listed)).one()
    events, changed_live, numbers = _count_events(connection)
    found = {
        "listed": listed + remembered,
        **events,
        "unchanged": listed_live - changed_live + remembered,
        "address_changes": count(connection, planned_addresses),
        "rejected": count(connection, staged_rejects),
    }
    return found, numbers


def _listed() -> Select[int, int]:
    readable = and_(not_(staged.rejected), not_(SEARCHED))
    live = or_(staged.unchanged, staged.lifecycle == Lifecycle.LIVE)
    return select(_count_if(readable), _count_if(readable, live))


def _count_if(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count().filter(and_(*conditions))


def _count_events(connection: Connection) -> tuple[dict[str, int], int, PlannedNumbers]:
    """
    Count the rows of history by event, with those that were closed at once.

    Returns:
        The counts, how many of the rows the listing shows as live, and the numbers.
    """
    events = dict.fromkeys(map(str, Event), 0)
    listed_live = known = new = provisioned_too = 0
    for row in connection.execute(built(_events)):
        events[row.event] += row.known + row.new
        listed_live += row.listed_live
        known += row.known
        new += row.new
        provisioned_too += row.provisioned_too
    events[Event.PROVISIONED] += provisioned_too
    return events, listed_live, PlannedNumbers(known, new, provisioned_too)


def _events() -> Select[Any]:
    counts = {
        "known": _count_if(planned.known),
        "new": _count_if(not_(planned.known)),
        "provisioned_too": _count_if(IS_PROVISIONED_TOO),
        "listed_live": _count_if(IS_LISTED_LIVE),
    }
    labelled = (count.label(name) for name, count in counts.items())
    return select(planned.event, *labelled).group_by(planned.event)


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
