"""
Decide which cancellations are withheld: by the guard, or because a search speaks against them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Boolean, and_, bindparam, case, func, insert, literal, not_, null, select

from syncsvc.provider.confirm_absence import SearchOutcome
from syncsvc.reconcile.cancelled_stamps import CANCELS_LIVE_NUMBER
from syncsvc.reconcile.statement_cache import built, count, values_at
from syncsvc.reconcile.temp_tables import (
    IS_LIVE,
    missing_numbers,
    searched_numbers,
    stamped_numbers,
    withheld_numbers,
)
from syncsvc.schema.tables import numbers
from syncsvc.vocabulary import Evidence, WithheldReason

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Insert

FOUND, UNREADABLE = "found", "unreadable"  # outcomes of a search, beside those of `SearchOutcome`

missing, searched, withheld = missing_numbers.c, searched_numbers.c, withheld_numbers.c

WAS_FOUND = searched.outcome == FOUND
FOUND_NUMBERS = select(searched.uuid).where(WAS_FOUND)
IS_WEAK = and_(not_(missing.strong), missing.uuid.not_in(FOUND_NUMBERS))

# What is known of a run before its cancellations are judged.
TOO_MANY, NONE_BELIEVED, ANY_FOUND, COMPLETE, LIFTED = (
    bindparam(name, type_=Boolean())
    for name in ("too_many", "none_believed", "any_found", "complete", "lifted")
)


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """
    The limit above which cancellations on weak evidence are withheld.

    Attributes:
        percent: Share of the live numbers; both this and `count` must be exceeded.
        lifted: Accept them all the same (`--allow-mass-cancel`).
    """

    percent: float = 10.0
    count: int = 10
    lifted: bool = False

    def trips(self, weak: int, live: int) -> bool:
        """
        Return whether this many cancellations on weak evidence are too many.
        """
        too_many = weak > self.count and weak * 100 > self.percent * live
        return too_many and not self.lifted


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the judgement is about.

    Attributes:
        started_at: Of the run.
        complete: The listing was proved complete.
    """

    account: str
    started_at: datetime
    complete: bool
    guard: Guard

    def values(self, **others: bool) -> dict[str, Any]:
        """
        Return the values for a statement about the run, with others that it needs.
        """
        return {**values_at(self.account, self.started_at), **others}


def withhold(connection: Connection, scope: Scope, *, empty_listing: bool) -> None:
    """
    Fill `withheld_numbers` with every cancellation that is not believed, and why.
    """
    too_many = guard_trips(connection, scope, _count_weak_evidence(connection))
    any_found = count(connection, searched_numbers, WAS_FOUND) > 0
    values = {
        "too_many": too_many,
        "none_believed": too_many or (empty_listing and not scope.guard.lifted),
        "any_found": any_found,
        "complete": scope.complete,
        "lifted": scope.guard.lifted,
    }
    connection.execute(built(_withhold_missing), values)
    if too_many:
        connection.execute(built(_withhold_stamped))


def _withhold_missing() -> Insert:
    reason = case((missing.entered, _doubt_about_entry()), else_=_doubt_about_absence())
    evidence = case(
        (missing.entered, literal(Evidence.CANCELLED_LISTING)), else_=literal(Evidence.ABSENCE)
    )
    query = (
        select(missing.uuid, missing.number_e164, evidence, reason)
        .select_from(missing_numbers.outerjoin(searched_numbers, searched.uuid == missing.uuid))
        .where(func.coalesce(searched.outcome, "") != FOUND, reason.is_not(None))
    )
    return insert(withheld_numbers).from_select(withheld.keys(), query)


def _withhold_stamped() -> Insert:
    stamped = stamped_numbers.c
    words = (literal(Evidence.LISTING), literal(WithheldReason.GUARD))
    query = select(stamped.uuid, stamped.number_e164, *words).where(CANCELS_LIVE_NUMBER)
    return insert(withheld_numbers).from_select(withheld.keys(), query)


def _count_weak_evidence(connection: Connection) -> int:
    """
    Count the absences, and the stamps beside another status, in either listing.
    """
    absent_or_weak = count(connection, missing_numbers, IS_WEAK)
    return absent_or_weak + count(connection, stamped_numbers, CANCELS_LIVE_NUMBER)


def _doubt_about_entry() -> ColumnElement[str | None]:
    """
    Return the reason to withhold a number with an entry in the cancelled listing, or NULL.

    The number may have come back since, which an incomplete listing may not
    show, so that beside one a search has to confirm the entry.
    """
    return case(
        (and_(TOO_MANY, not_(missing.strong)), literal(WithheldReason.GUARD)),
        (searched.outcome == UNREADABLE, literal(WithheldReason.CONTRADICTED)),
        (COMPLETE, null()),
        (searched.outcome.is_(None), literal(WithheldReason.SEARCH_LIMIT)),
        (searched.outcome == SearchOutcome.UNSURE, literal(WithheldReason.SEARCH_FAILED)),
        else_=null(),
    )


def _doubt_about_absence() -> ColumnElement[str | None]:
    """
    Return the reason to withhold an absent number, or NULL.

    With the guard lifted, absences beyond the searches are believed too, but
    none if any search found a number.
    """
    return case(
        (NONE_BELIEVED, literal(WithheldReason.GUARD)),
        (searched.outcome == UNREADABLE, literal(WithheldReason.CONTRADICTED)),
        (searched.outcome == SearchOutcome.UNSURE, literal(WithheldReason.SEARCH_FAILED)),
        (and_(LIFTED, ANY_FOUND), literal(WithheldReason.CONTRADICTED)),
        (
            and_(not_(LIFTED), searched.outcome.is_(None)),
            literal(WithheldReason.SEARCH_LIMIT),
        ),
        else_=null(),
    )


def guard_trips(connection: Connection, scope: Scope, weak: int) -> bool:
    """
    Return whether the guard withholds this many cancellations of the account.
    """
    live = count(connection, numbers, IS_LIVE, values=scope.values())
    return scope.guard.trips(weak, live)
