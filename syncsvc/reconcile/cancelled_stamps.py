"""
Which `cancelled` stamps may be true, and which entries of the cancelled listing are recent.

A stamp is credible if it is later than the number was provisioned and at most
24 hours ahead of the run. Only such a stamp cancels a number by itself, and
only such a stamp dates a cancellation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, and_, case, exists, func, insert, literal, not_, or_, select, update
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from syncsvc.reconcile.statement_cache import ACCOUNT, LATEST_STAMP, built
from syncsvc.reconcile.temp_tables import (
    staged_cancelled,
    staged_numbers,
    stamped_numbers,
    withheld_numbers,
)
from syncsvc.schema.tables import number_history, numbers
from syncsvc.vocabulary import Event, Lifecycle

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Insert, Select, Update

CREDIBLE, EARLY, AHEAD = "credible", "early", "ahead"

Columns = ReadOnlyColumnCollection[str, Column[Any]]

known = numbers.c
stamped = stamped_numbers.c
# A row of `stamped_numbers` would cancel a number that is live so far.
CANCELS_LIVE_NUMBER = and_(stamped.kind == CREDIBLE, stamped.was_live)


def is_credible(row: Columns) -> ColumnElement[bool]:
    """
    Return whether a staged row's stamp may be the time when its number was cancelled.

    The staged row has to be joined with `numbers`.
    """
    stamp = row.cancelled_at
    return and_(stamp.is_not(None), not_(_is_early(row)), not_(_is_ahead(stamp)))


def _is_early(row: Columns) -> ColumnElement[bool]:
    """
    Return whether a stamp is not later than the number's `provisioned`, if that is known.
    """
    begun = func.coalesce(row.provisioned_at, known.provisioned_at)
    return and_(begun.is_not(None), row.cancelled_at <= begun)


def _is_ahead(stamp: ColumnElement[Any]) -> ColumnElement[bool]:
    return stamp > LATEST_STAMP


def last_known_cancellation() -> ColumnElement[Any]:
    """
    Return when a known cancelled number was cancelled: its stamp if credible, else the event.
    """
    history = number_history.c
    observed = (
        select(func.max(history.occurred_at))
        .where(
            history.account == known.account,
            history.uuid == known.uuid,
            history.event == Event.CANCELLED,
        )
        .scalar_subquery()
    )
    early = and_(known.provisioned_at.is_not(None), known.cancelled_at <= known.provisioned_at)
    doubtful = or_(known.cancelled_at.is_(None), early, _is_ahead(known.cancelled_at))
    return case((doubtful, observed), else_=known.cancelled_at)


def is_not_listed(uuid: ColumnElement[str]) -> ColumnElement[bool]:
    """
    Return whether the listing does not have a number, not even as an unreadable row.
    """
    return not_(exists().where(staged_numbers.c.uuid == uuid))


def says_cancelled() -> ColumnElement[bool]:
    """
    Return whether an entry of the cancelled listing is evidence, if it is recent.

    Beside another status than "Cancelled" its stamp has to be credible.
    """
    entry = staged_cancelled.c
    return or_(entry.strong, entry.cancelled_at.is_(None), is_credible(entry))


def is_recent_cancellation() -> ColumnElement[bool]:
    """
    Return whether an entry is about a known number's present life, not about one before it.
    """
    ended, back = number_history.alias("ended").c, number_history.alias("back").c
    entry = staged_cancelled.c
    came_back_later = exists().where(
        back.account == ACCOUNT,
        back.uuid == ended.uuid,
        back.event == Event.REINSTATED,
        back.id > ended.id,
    )
    of_earlier_life = exists().where(
        ended.account == ACCOUNT,
        ended.uuid == known.uuid,
        ended.lifecycle == Lifecycle.CANCELLED,  # the cancellation, or a correction of it
        ended.cancelled_at >= entry.cancelled_at,
        came_back_later,
    )
    before_it_began = or_(
        *(
            and_(begun.is_not(None), entry.cancelled_at < begun)
            for begun in (known.provisioned_at, entry.provisioned_at)
        )
    )
    recent = or_(entry.cancelled_at.is_(None), not_(or_(before_it_began, of_earlier_life)))
    return and_(says_cancelled(), recent)


def insert_stamped() -> Insert:
    """
    Return the statement that fills `stamped_numbers`.

    These are the staged rows with a stamp beside another status than "Cancelled".
    """
    row = staged_numbers.c
    was_live = func.coalesce(known.lifecycle == Lifecycle.LIVE, literal(value=False))
    kind = case(
        (_is_early(row), literal(EARLY)),
        (_is_ahead(row.cancelled_at), literal(AHEAD)),
        else_=literal(CREDIBLE),
    )
    same_number = and_(known.account == ACCOUNT, known.uuid == row.uuid)
    query = (
        select(row.uuid, row.number_e164, was_live, kind)
        .select_from(staged_numbers.outerjoin(numbers, same_number))
        .where(row.lifecycle == Lifecycle.LIVE, row.cancelled_at.is_not(None))
    )
    return insert(stamped_numbers).from_select(stamped.keys(), query)


def apply_stamps(connection: Connection) -> None:
    """
    Let credible stamps cancel, leave early ones out, and keep what was withheld unchanged.

    No such row gets a fingerprint: the next run has to judge its stamp again.
    """
    for statement in built(_uses_of_stamps):
        connection.execute(statement)


def _uses_of_stamps() -> list[Update]:
    row = staged_numbers.c
    withheld = and_(row.uuid.in_(_of_kind(CREDIBLE)), row.uuid.in_(select(withheld_numbers.c.uuid)))
    values = (
        (row.uuid.in_(select(stamped.uuid)), {"fingerprint": None}),
        (row.uuid.in_(_of_kind(EARLY)), {"cancelled_at": None}),
        (row.uuid.in_(_of_kind(CREDIBLE)), {"lifecycle": Lifecycle.CANCELLED}),
        (withheld, {"unchanged": True, "lifecycle": Lifecycle.LIVE}),
    )
    return [update(staged_numbers).where(where).values(changed) for where, changed in values]


def _of_kind(kind: str) -> Select[tuple[str]]:
    return select(stamped.uuid).where(stamped.kind == kind)
