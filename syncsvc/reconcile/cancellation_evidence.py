"""
What may be believed of live numbers that the listing does not hold.

Such a number is cancelled only where something says so: an entry in the
cancelled listing that tells of a new cancellation, or its absence from a
listing that was proved complete, which a search confirms. The verdict is put
into two temporary tables, from which the plan takes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    Table,
    Text,
    and_,
    exists,
    insert,
    literal,
    not_,
    or_,
    select,
)
from sqlalchemy.schema import CreateTable

from syncsvc.payloads.records import Number, Reject
from syncsvc.provider.confirm_absence import Inquiry, Outcome
from syncsvc.reconcile.plan import not_listed, tells_news
from syncsvc.reconcile.planned import CREDIBLE, credible_absences, credible_cancellations
from syncsvc.reconcile.temp_tables import (
    copy_into,
    count,
    staged_cancelled,
    staged_numbers,
    staged_rejects,
    temporary,
)
from syncsvc.schema.tables import numbers
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Select

    from syncsvc.reconcile.staging import Stage

SEARCHES_AT_MOST = 200
WITHHELD_NAMED = 10
FOUND = "found"

missing_numbers = Table(
    "missing_numbers",
    temporary,
    Column("uuid", Text, nullable=False),
    Column("number_e164", Text, nullable=False),
    Column("number", Text),
    Column("entered", Boolean, nullable=False),  # the cancelled listing tells it, as news
    prefixes=["TEMPORARY"],
)
searched_numbers = Table(
    "searched_numbers",
    temporary,
    Column("uuid", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    prefixes=["TEMPORARY"],
)
missing, searched = missing_numbers.c, searched_numbers.c


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """
    When cancellations that rest on absence are too many to be true.

    Attributes:
        percent: Of the live numbers; both this and `count` must be exceeded.
        lifted: Accept them all the same (`--allow-mass-cancel`).
    """

    percent: float = 10.0
    count: int = 10
    lifted: bool = False

    def trips(self, absences: int, live: int) -> bool:
        """
        Whether so many absences, of so many live numbers, are not to be believed.
        """
        many = absences > self.count and absences * 100 > self.percent * live
        return many and not self.lifted


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of the missing numbers.

    Attributes:
        searches: Made, of which `found` returned their number.
        withheld: Cancellations that were not accepted.
        first_withheld: Ten of them, in E.164.
    """

    missing: int = 0
    searches: int = 0
    found: int = 0
    withheld: int = 0
    first_withheld: list[str] = []


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the judgement is about.

    Attributes:
        complete: The listing was proved complete.
    """

    account: str
    complete: bool
    guard: Guard


def judge(
    connection: Connection,
    scope: Scope,
    stage: Stage,
    search: Callable[[Sequence[Inquiry]], Mapping[str, Number | Reject | Outcome]],
) -> Verdict:
    """
    Fill `credible_cancellations` and `credible_absences`; stage the numbers that are found.

    Args:
        search: Looks for numbers, and gives what came out of each, by uuid.
    """
    with connection.begin():
        connection.execute(CreateTable(missing_numbers))
        empty_listing = count(connection, staged_numbers) == 0
        _note_missing(connection, scope)
        if not count(connection, missing_numbers):
            return Verdict()
        for table in (searched_numbers, *CREDIBLE):
            connection.execute(CreateTable(table))
        inquiries = _worth_a_search(connection, scope, empty_listing=empty_listing)
    outcomes = search(inquiries)
    stage.add_found(row for row in outcomes.values() if not isinstance(row, Outcome))
    with connection.begin():
        rows = [(uuid, _word(outcome)) for uuid, outcome in outcomes.items()]
        copy_into(connection, searched_numbers, rows)
        _believe_entries(connection, scope)
        _believe_absences(connection, scope)
        return _verdict(connection)


def _word(outcome: Number | Reject | Outcome) -> str:
    """
    What the verdict makes of a search; of a row that can't be read, nothing.
    """
    match outcome:
        case Number():
            return FOUND
        case Reject():
            return Outcome.UNSURE.value
        case _:
            return outcome.value


def _note_missing(connection: Connection, scope: Scope) -> None:
    """
    Note the live numbers that are not listed, where that may mean something.
    """
    entry = staged_cancelled.c
    entered = and_(entry.uuid.is_not(None), tells_news(scope.account))
    unreadable = exists().where(staged_rejects.c.uuid == numbers.c.uuid)
    query = (
        select(numbers.c.uuid, numbers.c.number_e164, numbers.c.number, entered)
        .select_from(numbers.outerjoin(staged_cancelled, entry.uuid == numbers.c.uuid))
        .where(
            numbers.c.account == scope.account,
            numbers.c.lifecycle == Lifecycle.LIVE,
            not_listed(numbers.c.uuid),
            not_(unreadable),
            or_(entered, literal(_may_infer(connection, scope))),
        )
    )
    connection.execute(insert(missing_numbers).from_select(missing.keys(), query))


def _may_infer(connection: Connection, scope: Scope) -> bool:
    """
    Whether a number's absence says anything: every row read must be known by its uuid.
    """
    nameless = count(connection, staged_rejects, staged_rejects.c.uuid.is_(None))
    return scope.complete and not nameless


def _worth_a_search(connection: Connection, scope: Scope, *, empty_listing: bool) -> list[Inquiry]:
    """
    The missing numbers to search for, as many as a run may.

    Those without an entry come first: nothing else can tell of them.
    """
    hopeless = _hopeless(connection, scope, empty_listing=empty_listing)
    query = (
        select(missing.uuid, missing.number, missing.number_e164)
        .where(or_(missing.entered, literal(not hopeless)))
        .order_by(missing.entered, missing.number_e164, missing.uuid)
        .limit(SEARCHES_AT_MOST)
    )
    rows = connection.execute(query)
    return [
        Inquiry(uuid=uuid, digits=_digits(local) or _digits(e164)) for uuid, local, e164 in rows
    ]


def _digits(text: str | None) -> str:
    return "".join(c for c in text or "" if c in "0123456789")


def _hopeless(connection: Connection, scope: Scope, *, empty_listing: bool) -> bool:
    """
    Whether no absence will be believed, whatever searches may say.
    """
    absences = count(connection, missing_numbers, not_(missing.entered))
    too_many = absences > SEARCHES_AT_MOST and _guard_trips(connection, scope, absences)
    return too_many or (empty_listing and not scope.guard.lifted)


def _guard_trips(connection: Connection, scope: Scope, absences: int) -> bool:
    live = count(
        connection,
        numbers,
        numbers.c.account == scope.account,
        numbers.c.lifecycle == Lifecycle.LIVE,
    )
    return scope.guard.trips(absences, live)


def _believe_entries(connection: Connection, scope: Scope) -> None:
    """
    Believe the cancelled listing, but where a search contradicts it.

    The number may have come back since. Beside a listing that was not proved
    complete nothing speaks against that, so that a search has to confirm it.
    """
    confirmed = missing.uuid.in_(_with(Outcome.GONE))
    contradicted = missing.uuid.in_(_with(FOUND))
    credible = not_(contradicted) if scope.complete else confirmed
    query = select(missing.uuid).where(missing.entered, credible)
    connection.execute(insert(credible_cancellations).from_select(["uuid"], query))


def _believe_absences(connection: Connection, scope: Scope) -> None:
    """
    Believe the absences that searches confirm, unless they are too many.

    With the guard lifted, those beyond the searches are believed too, but
    none where any search found a number.
    """
    found = count(connection, searched_numbers, searched.outcome == FOUND)
    if scope.guard.lifted:
        credible = not_(missing.uuid.in_(_with(Outcome.UNSURE)))
        refused = found > 0
    else:
        credible = missing.uuid.in_(_with(Outcome.GONE))
        absent = and_(not_(missing.entered), not_(missing.uuid.in_(_with(FOUND))))
        absences = count(connection, missing_numbers, absent)
        refused = _guard_trips(connection, scope, absences)
    if not refused:
        query = select(missing.uuid).where(not_(missing.entered), credible)
        connection.execute(insert(credible_absences).from_select(["uuid"], query))


def _with(outcome: str) -> Select[tuple[str]]:
    return select(searched.uuid).where(searched.outcome == outcome)


def _verdict(connection: Connection) -> Verdict:
    """
    What is missing and was neither found nor believed to be gone is withheld.
    """
    withheld = and_(
        missing.uuid.not_in(_with(FOUND)),
        missing.uuid.not_in(select(credible_cancellations.c.uuid)),
        missing.uuid.not_in(select(credible_absences.c.uuid)),
    )
    first = (
        select(missing.number_e164)
        .where(withheld)
        .order_by(missing.number_e164)
        .limit(WITHHELD_NAMED)
    )
    return Verdict(
        missing=count(connection, missing_numbers),
        searches=count(connection, searched_numbers),
        found=count(connection, searched_numbers, searched.outcome == FOUND),
        withheld=count(connection, missing_numbers, withheld),
        first_withheld=list(connection.execute(first).scalars()),
    )
