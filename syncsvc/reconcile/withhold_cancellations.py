"""
Decide which cancellations are withheld: by the guard, or because a search speaks against them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import and_, case, func, insert, literal, not_, null, select

from syncsvc.provider.confirm_absence import SearchOutcome
from syncsvc.reconcile.credible_stamps import cancels_live_number
from syncsvc.reconcile.temp_tables import (
    count,
    missing_numbers,
    searched_numbers,
    stamped_numbers,
    withheld_numbers,
)
from syncsvc.schema.tables import numbers
from syncsvc.vocabulary import Evidence, Lifecycle, WithheldReason

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

FOUND, UNREADABLE = "found", "unreadable"  # outcomes of a search, beside those of `SearchOutcome`

missing, searched, withheld = missing_numbers.c, searched_numbers.c, withheld_numbers.c


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


def withhold(connection: Connection, scope: Scope, *, empty_listing: bool) -> None:
    """
    Fill `withheld_numbers` with every cancellation that is not believed, and why.
    """
    too_many = guard_trips(connection, scope, _count_weak_evidence(connection))
    any_found = count(connection, searched_numbers, searched.outcome == FOUND) > 0
    of_entry = _doubt_about_entry(scope, too_many=too_many)
    of_absence = _doubt_about_absence(
        scope,
        too_many=too_many or (empty_listing and not scope.guard.lifted),
        any_found=any_found,
    )
    reason = case((missing.entered, of_entry), else_=of_absence)
    evidence = case(
        (missing.entered, literal(Evidence.CANCELLED_LISTING)), else_=literal(Evidence.ABSENCE)
    )
    query = (
        select(missing.uuid, missing.number_e164, evidence, reason)
        .select_from(missing_numbers.outerjoin(searched_numbers, searched.uuid == missing.uuid))
        .where(func.coalesce(searched.outcome, "") != FOUND, reason.is_not(None))
    )
    connection.execute(insert(withheld_numbers).from_select(withheld.keys(), query))
    if too_many:
        _withhold_stamped(connection)


def _withhold_stamped(connection: Connection) -> None:
    stamped = stamped_numbers.c
    words = (literal(Evidence.LISTING), literal(WithheldReason.GUARD))
    query = select(stamped.uuid, stamped.number_e164, *words).where(cancels_live_number())
    connection.execute(insert(withheld_numbers).from_select(withheld.keys(), query))


def _count_weak_evidence(connection: Connection) -> int:
    """
    Count the absences, and the stamps beside another status, in either listing.
    """
    not_found = missing.uuid.not_in(with_outcome(FOUND))
    absent_or_weak = count(connection, missing_numbers, not_(missing.strong), not_found)
    return absent_or_weak + count(connection, stamped_numbers, cancels_live_number())


def _doubt_about_entry(scope: Scope, *, too_many: bool) -> ColumnElement[str | None]:
    """
    Return the reason to withhold a number with an entry in the cancelled listing, or NULL.

    The number may have come back since, which an incomplete listing may not
    show, so that beside one a search has to confirm the entry.
    """
    return case(
        (and_(literal(too_many), not_(missing.strong)), literal(WithheldReason.GUARD)),
        (searched.outcome == UNREADABLE, literal(WithheldReason.CONTRADICTED)),
        (literal(scope.complete), null()),
        (searched.outcome.is_(None), literal(WithheldReason.SEARCH_LIMIT)),
        (searched.outcome == SearchOutcome.UNSURE, literal(WithheldReason.SEARCH_FAILED)),
        else_=null(),
    )


def _doubt_about_absence(
    scope: Scope, *, too_many: bool, any_found: bool
) -> ColumnElement[str | None]:
    """
    Return the reason to withhold an absent number, or NULL.

    With the guard lifted, absences beyond the searches are believed too, but
    none if any search found a number.
    """
    lifted = scope.guard.lifted
    return case(
        (literal(too_many), literal(WithheldReason.GUARD)),
        (searched.outcome == UNREADABLE, literal(WithheldReason.CONTRADICTED)),
        (searched.outcome == SearchOutcome.UNSURE, literal(WithheldReason.SEARCH_FAILED)),
        (literal(lifted and any_found), literal(WithheldReason.CONTRADICTED)),
        (
            and_(literal(not lifted), searched.outcome.is_(None)),
            literal(WithheldReason.SEARCH_LIMIT),
        ),
        else_=null(),
    )


def with_outcome(outcome: str) -> Select[tuple[str]]:
    """
    Return the query for the uuids whose search had this outcome.
    """
    return select(searched.uuid).where(searched.outcome == outcome)


def guard_trips(connection: Connection, scope: Scope, weak: int) -> bool:
    """
    Return whether the guard withholds this many cancellations of the account.
    """
    live = count(
        connection,
        numbers,
        numbers.c.account == scope.account,
        numbers.c.lifecycle == Lifecycle.LIVE,
    )
    return scope.guard.trips(weak, live)
