"""
Decide which cancellations to believe.

A live number that the listing does not have is cancelled only on evidence: a
recent entry in the cancelled listing, or its absence from a complete listing,
which a search confirms. A number that the listing has may have a `cancelled`
stamp beside another status than "Cancelled". Absences and such stamps are weak
evidence: if there are too many of them at once, the guard withholds them all.
The verdict is put into temporary tables, from which the plan takes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Boolean, and_, bindparam, exists, insert, not_, or_, select

from syncsvc.database.bulk import copy_into
from syncsvc.payloads.records import Number, Reject
from syncsvc.provider.confirm_absence import SearchOutcome, SearchRequest
from syncsvc.reconcile.cancelled_stamps import (
    AHEAD,
    EARLY,
    apply_stamps,
    insert_stamped,
    is_recent_cancellation,
)
from syncsvc.reconcile.staging.find_absent import doubtful_parts, find_absent
from syncsvc.reconcile.statement_cache import ACCOUNT, built, count, has_rows
from syncsvc.reconcile.temp_tables import (
    IS_NAMELESS,
    JUDGED,
    absent_numbers,
    create_tables,
    credible_absences,
    credible_cancellations,
    missing_numbers,
    searched_numbers,
    staged_cancelled,
    staged_numbers,
    staged_rejects,
    stamped_numbers,
    withheld_numbers,
)
from syncsvc.reconcile.withhold_cancellations import (
    FOUND,
    FOUND_NUMBERS,
    UNREADABLE,
    WAS_FOUND,
    Scope,
    guard_trips,
    withhold,
)
from syncsvc.schema.tables import numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Insert, Select, Table

    from syncsvc.reconcile.staging.stage_listing import Stage

SEARCHES_AT_MOST = 200
NUMBERS_NAMED = 10  # in the log and in the run's detail
missing, withheld = missing_numbers.c, withheld_numbers.c
IS_WITHOUT_ENTRY = not_(missing.entered)
IS_EARLY = stamped_numbers.c.kind == EARLY
IS_AHEAD = stamped_numbers.c.kind == AHEAD


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """
    The counts of what was judged.

    Attributes:
        searches: Made, of which `found` returned their number.
        withheld: Cancellations that were not accepted.
        first_withheld: Ten of them, in E.164.
        early_stamps: Stamps from before their number was provisioned, beside a live status.
        first_early_stamps: Ten of their numbers, in E.164.
        stamps_ahead: Stamps more than 24 hours ahead, beside a live status.
    """

    missing: int = 0
    searches: int = 0
    found: int = 0
    withheld: int = 0
    first_withheld: list[str] = []
    early_stamps: int = 0
    first_early_stamps: list[str] = []
    stamps_ahead: int = 0


def judge(
    connection: Connection,
    scope: Scope,
    stage: Stage,
    search: Callable[[Sequence[SearchRequest]], Mapping[str, Number | Reject | SearchOutcome]],
) -> Verdict:
    """
    Decide on all cancellations but those of a number's own status; stage what searches find.

    Args:
        search: Looks for numbers, and returns what came out of each, by uuid.
    """
    doubtful = doubtful_parts(connection, scope.account, stage)
    if stage.unchanged.is_remembered and not doubtful and not stage.stamped:
        return Verdict()
    stage.create_tables()
    with connection.begin():
        find_absent(connection, scope.account, stage, doubtful)
        create_tables(connection, missing_numbers)
        empty_listing = not stage.unchanged.rows and not has_rows(connection, staged_numbers)
        _note_missing(connection, scope)
        if not stage.stamped and not count(connection, missing_numbers):
            return Verdict()
        create_tables(connection, *JUDGED)
        requests = _worth_a_search(connection, scope, empty_listing=empty_listing)
    outcomes = search(requests)
    stage.add_found(row for row in outcomes.values() if not isinstance(row, SearchOutcome))
    with connection.begin():
        rows = [(uuid, _outcome(result)) for uuid, result in outcomes.items()]
        copy_into(connection, searched_numbers, rows)
        connection.execute(built(insert_stamped), scope.values())
        withhold(connection, scope, empty_listing=empty_listing)
        _believe_the_rest(connection)
        apply_stamps(connection)
        return _verdict(connection)


def _outcome(result: Number | Reject | SearchOutcome) -> str:
    match result:
        case Number():
            return FOUND
        case Reject():
            return UNREADABLE
        case _:
            return result.value


def _note_missing(connection: Connection, scope: Scope) -> None:
    """
    Fill `missing_numbers`: the absent numbers, if that may mean something.
    """
    may_infer = _may_infer(connection, scope)
    connection.execute(built(_insert_missing), scope.values(may_infer=may_infer))


def _insert_missing() -> Insert:
    entry = staged_cancelled.c
    recent = is_recent_cancellation()
    entered = and_(entry.uuid.is_not(None), recent)
    strong = and_(entered, entry.strong)
    unreadable = exists().where(staged_rejects.c.uuid == numbers.c.uuid)
    query = (
        select(numbers.c.uuid, numbers.c.number_e164, numbers.c.number, entered, strong)
        .select_from(numbers.outerjoin(staged_cancelled, entry.uuid == numbers.c.uuid))
        .where(
            numbers.c.account == ACCOUNT,
            numbers.c.uuid.in_(select(absent_numbers.c.uuid)),
            not_(unreadable),
            or_(entered, bindparam("may_infer", type_=Boolean())),
        )
    )
    return insert(missing_numbers).from_select(missing.keys(), query)


def _may_infer(connection: Connection, scope: Scope) -> bool:
    """
    Return whether absences count: in a complete listing whose rows all have a readable uuid.
    """
    nameless = count(connection, staged_rejects, IS_NAMELESS)
    return scope.complete and not nameless


def _worth_a_search(
    connection: Connection, scope: Scope, *, empty_listing: bool
) -> list[SearchRequest]:
    """
    Return the missing numbers to search for, at most as many as a run may.
    """
    hopeless = _hopeless(connection, scope, empty_listing=empty_listing)
    rows = connection.execute(built(_first_missing), {"hopeless": hopeless})
    return [
        SearchRequest(uuid=uuid, digits=_digits(local) or _digits(e164))
        for uuid, local, e164 in rows
    ]


def _first_missing() -> Select[Any]:
    # Those without an entry come first: a search is the only further evidence for them, while an
    # entry beside a complete listing counts without one.
    return (
        select(missing.uuid, missing.number, missing.number_e164)
        .where(or_(missing.entered, not_(bindparam("hopeless", type_=Boolean()))))
        .order_by(missing.entered, missing.number_e164, missing.uuid)
        .limit(SEARCHES_AT_MOST)
    )


def _digits(text: str | None) -> str:
    return "".join(c for c in text or "" if c in "0123456789")


def _hopeless(connection: Connection, scope: Scope, *, empty_listing: bool) -> bool:
    """
    Return whether no absence will be believed, whatever the searches find.
    """
    absences = count(connection, missing_numbers, IS_WITHOUT_ENTRY)
    too_many = absences > SEARCHES_AT_MOST and guard_trips(connection, scope, absences)
    return too_many or (empty_listing and not scope.guard.lifted)


def _believe_the_rest(connection: Connection) -> None:
    """
    Accept the missing numbers that were neither found nor withheld.
    """
    connection.execute(built(_insert_believed, credible_cancellations, missing.entered))
    connection.execute(built(_insert_believed, credible_absences, IS_WITHOUT_ENTRY))


def _insert_believed(table: Table, of_kind: ColumnElement[bool]) -> Insert:
    doubtful = or_(missing.uuid.in_(FOUND_NUMBERS), missing.uuid.in_(select(withheld.uuid)))
    query = select(missing.uuid).where(not_(doubtful), of_kind)
    return insert(table).from_select(["uuid"], query)


def _verdict(connection: Connection) -> Verdict:
    return Verdict(
        missing=count(connection, missing_numbers),
        searches=count(connection, searched_numbers),
        found=count(connection, searched_numbers, WAS_FOUND),
        withheld=count(connection, withheld_numbers),
        first_withheld=_first(connection, withheld.number_e164),
        early_stamps=count(connection, stamped_numbers, IS_EARLY),
        first_early_stamps=_first(connection, stamped_numbers.c.number_e164, IS_EARLY),
        stamps_ahead=count(connection, stamped_numbers, IS_AHEAD),
    )


def _first(
    connection: Connection, number: Column[Any], *conditions: ColumnElement[bool]
) -> list[str]:
    """
    Return the first few numbers that meet the conditions, in their order.
    """
    return list(connection.execute(built(_in_order, number, *conditions)).scalars())


def _in_order(number: Column[Any], *conditions: ColumnElement[bool]) -> Select[Any]:
    return select(number).where(*conditions).order_by(number).limit(NUMBERS_NAMED)
