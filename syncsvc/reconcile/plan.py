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

from syncsvc.reconcile.credible_stamps import (
    Columns,
    is_credible,
    is_not_listed,
    is_recent_cancellation,
    last_known_cancellation,
    says_cancelled,
)
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
from syncsvc.schema.columns import UtcDateTime
from syncsvc.schema.tables import addresses, numbers
from syncsvc.vocabulary import Event, Evidence, Lifecycle

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select

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
    _plan_addresses(connection, run)
    _plan_listed(connection, run)
    _plan_cancelled(connection, run)
    _plan_absent(connection, run)


def _plan_listed(connection: Connection, run: Run) -> None:
    """
    Plan the differences that the numbers' own rows in the listing show.
    """
    to_read = not_(or_(staged_numbers.c.rejected, staged_numbers.c.unchanged))
    _plan_sent(connection, run, staged_numbers, Evidence.LISTING, to_read)


def _plan_cancelled(connection: Connection, run: Run) -> None:
    """
    Plan what the cancelled listing says about numbers that the listing does not have.

    For a number that is live so far, `credible_cancellations` decides. One that
    is cancelled already takes no entry from before it was last reinstated.
    """
    uuid = staged_cancelled.c.uuid
    credible = or_(
        and_(is_new, says_cancelled(run.started_at)),
        and_(was_cancelled, is_recent_cancellation(run.account, run.started_at)),
        uuid.in_(select(credible_cancellations.c.uuid)),
    )
    _plan_sent(
        connection, run, staged_cancelled, Evidence.CANCELLED_LISTING, is_not_listed(uuid), credible
    )


def _plan_absent(connection: Connection, run: Run) -> None:
    """
    Plan the cancellation of the numbers in `credible_absences`.
    """
    set_by_absence: dict[str, ColumnElement[Any]] = {
        "lifecycle": literal(Lifecycle.CANCELLED),
        "cancelled_at": literal(run.started_at, UtcDateTime),
    }
    columns: dict[str, ColumnElement[Any]] = {
        "known": literal(value=True),
        "event": literal(Event.CANCELLED),
        "evidence": literal(Evidence.ABSENCE),
        "stamp": null(),
        **{name: set_by_absence.get(name, old[name]) for name in NUMBER_FIELDS},
    }
    query = select(*columns.values()).where(
        old.account == run.account, was_live, old.uuid.in_(select(credible_absences.c.uuid))
    )
    connection.execute(insert(planned_numbers).from_select(list(columns), query))


def _plan_sent(
    connection: Connection,
    run: Run,
    source: Table,
    evidence: Evidence,
    *conditions: ColumnElement[bool],
) -> None:
    """
    Plan the differences that rows of one listing make.
    """
    new = source.c
    columns: dict[str, ColumnElement[Any]] = {
        "known": not_(is_new),
        "event": _event(new),
        "evidence": literal(evidence),
        "stamp": _stamp(new, run),
        **{name: _value(new, name) for name in NUMBER_FIELDS},
    }
    same_number = and_(old.account == run.account, old.uuid == new.uuid)
    query = (
        select(*columns.values())
        .select_from(source.outerjoin(numbers, same_number))
        .where(*conditions, _differs(new))
    )
    connection.execute(insert(planned_numbers).from_select(list(columns), query))


def _plan_addresses(connection: Connection, run: Run) -> None:
    """
    Plan the addresses that are new or different; the later page wins.
    """
    query = _different_addresses(run.account)
    connection.execute(insert(planned_addresses).from_select(["known", *ADDRESS_FIELDS], query))


def _different_addresses(account: str) -> Select[Any]:
    staged, known = staged_addresses.c, addresses.c
    latest = select(staged.id, func.max(staged.seq).label("seq")).group_by(staged.id).subquery()
    rows = staged_addresses.join(
        latest, and_(latest.c.id == staged.id, latest.c.seq == staged.seq)
    ).outerjoin(addresses, and_(known.account == account, known.id == staged.id))
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
    staged = staged_addresses.c
    query: Select[Any] = (
        select(staged.id)
        .where(staged.walk == select(func.max(staged.walk)).scalar_subquery())
        .group_by(staged.id)
        .having(func.min(staged.content) != func.max(staged.content))
        .order_by(staged.id)
    )
    return list(connection.execute(query).scalars())


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
    return case((and_(_is_cancelled(new), not_(is_new)), kept), else_=new[name])


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
    cancelled = _is_cancelled(new)
    stamped = new.provisioned_at.is_not(None)
    newly_stamped = and_(stamped, new.provisioned_at.is_distinct_from(old.provisioned_at))
    return case(
        (and_(cancelled, or_(is_new, was_live)), literal(Event.CANCELLED)),
        (cancelled, literal(Event.CHANGED)),
        (was_cancelled, literal(Event.REINSTATED)),
        (newly_stamped, literal(Event.PROVISIONED)),
        (is_new, literal(Event.ADDED)),
        else_=literal(Event.CHANGED),
    )


def _stamp(new: Columns, run: Run) -> ColumnElement[Any]:
    """
    Return the provider's own time of the event, or NULL.
    """
    event = _event(new)
    ended_at = last_known_cancellation(run.started_at)
    back = case((new.provisioned_at > ended_at, new.provisioned_at), else_=null())
    ended = case((is_credible(new, run.started_at), new.cancelled_at), else_=null())
    return case(
        (event == Event.CANCELLED, ended),
        (event == Event.PROVISIONED, new.provisioned_at),
        (event == Event.REINSTATED, back),
        else_=null(),
    )
