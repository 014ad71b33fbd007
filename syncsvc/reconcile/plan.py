"""
Plan what the staged listing changes, in set operations, before anything is written.

`planned_numbers` gets every number that is new or different, with its future
state and the event. The real tables are only read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Table,
    and_,
    case,
    func,
    insert,
    literal,
    not_,
    null,
    or_,
    select,
)

from syncsvc.reconcile.cancelled_stamps import (
    Columns,
    is_credible,
    is_not_listed,
    is_recent_cancellation,
    last_known_cancellation,
    says_cancelled,
)
from syncsvc.reconcile.statement_cache import ACCOUNT, STARTED_AT, built, execute_for
from syncsvc.reconcile.temp_tables import (
    ADDRESS_FIELDS,
    NUMBER_FIELDS,
    PLANNED,
    create_tables,
    credible_absences,
    credible_cancellations,
    planned_addresses,
    planned_numbers,
    staged_addresses,
    staged_cancelled,
    staged_numbers,
)
from syncsvc.schema.tables import addresses, numbers
from syncsvc.vocabulary import Event, Evidence, Lifecycle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Connection, Insert, Select

    from syncsvc.database.runs import Run

SET_BY_CANCELLATION = ("status", "monthly_charge", "setup_charge", "cancelled_at")

old = numbers.c
is_new = old.uuid.is_(None)
was_live = old.lifecycle == Lifecycle.LIVE
was_cancelled = old.lifecycle == Lifecycle.CANCELLED


def plan_changes(connection: Connection, run: Run) -> None:
    """
    Plan all differences, in the transaction that will publish.

    The tables with the evidence exist already, unless nothing was doubtful.
    """
    create_tables(connection, *PLANNED, credible_cancellations, credible_absences)
    execute_for(connection, run, _plan_addresses, _plan_listed, _plan_cancelled, _plan_absent)


def _plan_listed() -> Insert:
    """
    Plan the differences that the numbers' own rows in the listing show.
    """
    to_read = not_(or_(staged_numbers.c.rejected, staged_numbers.c.unchanged))
    return _plan_sent(staged_numbers, Evidence.LISTING, to_read)


def _plan_cancelled() -> Insert:
    """
    Plan what the cancelled listing says about numbers that the listing does not have.

    For a number that is live so far, `credible_cancellations` decides. One that
    is cancelled already takes no entry from before it was last reinstated.
    """
    uuid = staged_cancelled.c.uuid
    credible = or_(
        and_(is_new, says_cancelled()),
        and_(was_cancelled, is_recent_cancellation()),
        uuid.in_(select(credible_cancellations.c.uuid)),
    )
    return _plan_sent(staged_cancelled, Evidence.CANCELLED_LISTING, is_not_listed(uuid), credible)


def _plan_absent() -> Insert:
    """
    Plan the cancellation of the numbers in `credible_absences`.
    """
    set_by_absence: dict[str, ColumnElement[Any]] = {
        "lifecycle": literal(Lifecycle.CANCELLED),
        "cancelled_at": STARTED_AT,
    }
    columns: dict[str, ColumnElement[Any]] = {
        "known": literal(value=True),
        "event": literal(Event.CANCELLED),
        "evidence": literal(Evidence.ABSENCE),
        "stamp": null(),
        **{name: set_by_absence.get(name, old[name]) for name in NUMBER_FIELDS},
    }
    query = select(*columns.values()).where(
        old.account == ACCOUNT, was_live, old.uuid.in_(select(credible_absences.c.uuid))
    )
    return insert(planned_numbers).from_select(list(columns), query)


def _plan_sent(source: Table, evidence: Evidence, *conditions: ColumnElement[bool]) -> Insert:
    """
    Plan the differences that rows of one listing make.
    """
    new = source.c
    columns: dict[str, ColumnElement[Any]] = {
        "known": not_(is_new),
        "event": _event(new),
        "evidence": literal(evidence),
        "stamp": _stamp(new),
        **{name: _value(new, name) for name in NUMBER_FIELDS},
    }
    same_number = and_(old.account == ACCOUNT, old.uuid == new.uuid)
    query = (
        select(*columns.values())
        .select_from(source.outerjoin(numbers, same_number))
        .where(*conditions, _differs(new))
    )
    return insert(planned_numbers).from_select(list(columns), query)


def _plan_addresses() -> Insert:
    """
    Plan the addresses that are new or different; the later page wins.
    """
    return insert(planned_addresses).from_select(["known", *ADDRESS_FIELDS], _different_addresses())


def _different_addresses() -> Select[Any]:
    staged, known = staged_addresses.c, addresses.c
    latest = select(staged.id, func.max(staged.seq).label("seq")).group_by(staged.id).subquery()
    rows = staged_addresses.join(
        latest, and_(latest.c.id == staged.id, latest.c.seq == staged.seq)
    ).outerjoin(addresses, and_(known.account == ACCOUNT, known.id == staged.id))
    content = [name for name in ADDRESS_FIELDS if name != "id"]
    differs = or_(known.id.is_(None), *(staged[f].is_distinct_from(known[f]) for f in content))
    return (
        select(known.id.is_not(None), *(staged[f] for f in ADDRESS_FIELDS))
        .select_from(rows)
        .where(differs)
    )


def address_conflicts(connection: Connection) -> list[int]:
    """
    Return the ids of addresses that one listing showed with two contents.
    """
    return list(connection.execute(built(_conflicting_ids)).scalars())


def _conflicting_ids() -> Select[Any]:
    staged = staged_addresses.c
    return (
        select(staged.id)
        .where(staged.walk == select(func.max(staged.walk)).scalar_subquery())
        .group_by(staged.id)
        .having(func.min(staged.content) != func.max(staged.content))
        .order_by(staged.id)
    )


def _is_cancelled(new: Columns) -> ColumnElement[bool]:
    return new.lifecycle == Lifecycle.CANCELLED


def _value(new: Columns, name: str) -> ColumnElement[Any]:
    """
    Return the new value of a listed number's column.

    A cancelled number keeps its last known values, except what its row says
    about the cancellation, and when it was provisioned if that was not known.
    """
    if name in {"uuid", "lifecycle"}:
        return new[name]
    kept: ColumnElement[Any] = old[name]
    if name in SET_BY_CANCELLATION:
        kept = func.coalesce(new[name], old[name])
    elif name == "provisioned_at":
        kept = func.coalesce(old.provisioned_at, new.provisioned_at)
    return case((and_(not_(is_new), _is_cancelled(new)), kept), else_=new[name])


def _differs(new: Columns) -> ColumnElement[bool]:
    """
    Return whether a listed number is new or different.
    """
    other = [name for name in NUMBER_FIELDS if name != "uuid"]
    live_differs = or_(*(new[name].is_distinct_from(old[name]) for name in other))
    said = (
        and_(new[name].is_not(None), new[name].is_distinct_from(old[name]))
        for name in SET_BY_CANCELLATION
    )
    learnt = and_(old.provisioned_at.is_(None), new.provisioned_at.is_not(None))
    cancelled = _is_cancelled(new)
    return or_(
        is_new, and_(not_(cancelled), live_differs), and_(cancelled, or_(was_live, learnt, *said))
    )


def _event(new: Columns) -> ColumnElement[str]:
    """
    Return the first of cancelled, reinstated, provisioned, added and changed that applies.
    """
    return _of_event(new, {event: literal(event) for event in Event})


def _stamp(new: Columns) -> ColumnElement[Any]:
    """
    Return the provider's own time of the event, or NULL.
    """
    ended_at = last_known_cancellation()
    stamps = {
        Event.CANCELLED: case((is_credible(new), new.cancelled_at), else_=null()),
        Event.PROVISIONED: new.provisioned_at,
        Event.REINSTATED: case((new.provisioned_at > ended_at, new.provisioned_at), else_=null()),
    }
    return _of_event(new, {event: stamps.get(event, null()) for event in Event})


def _of_event(new: Columns, values: Mapping[Event, ColumnElement[Any]]) -> ColumnElement[Any]:
    """
    Return the value for the event of a listed number.
    """
    cancelled = _is_cancelled(new)
    stamped = new.provisioned_at.is_not(None)
    newly_stamped = and_(stamped, new.provisioned_at.is_distinct_from(old.provisioned_at))
    return case(
        (and_(cancelled, or_(is_new, was_live)), values[Event.CANCELLED]),
        (cancelled, values[Event.CHANGED]),
        (was_cancelled, values[Event.REINSTATED]),
        (newly_stamped, values[Event.PROVISIONED]),
        (is_new, values[Event.ADDED]),
        else_=values[Event.CHANGED],
    )
