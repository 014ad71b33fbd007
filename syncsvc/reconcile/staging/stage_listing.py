"""
Stage the records of a walk in temporary tables.

Nobody else sees a temporary table, so pages are staged as they arrive while
the real tables stay unchanged.

A row of the listing whose uuid can be read is staged even if the rest of it
can't: it is a reject, but its number is not absent.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    Table,
    and_,
    delete,
    not_,
    or_,
    select,
)

from syncsvc.database.bulk import copy_into
from syncsvc.payloads.records import Address, Number, Page, Reject, Unchanged
from syncsvc.reconcile.staging import unchanged_rows
from syncsvc.reconcile.staging.temp_tables import (
    LISTED,
    NUMBER_FIELDS,
    STAGED,
    count,
    create_tables,
    keep_latest_of,
    prepare_joins,
    staged_addresses,
    staged_cancelled,
    staged_cancelled_by_uuid,
    staged_numbers,
    staged_numbers_by_uuid,
    staged_rejects,
)
from syncsvc.reconcile.staging.unchanged_rows import content_digest
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from syncsvc.payloads.fingerprint import Known

ROWS_AT_ONCE = 2_000  # inserted into the database
ADDRESSES_REMEMBERED = 10_000  # so that an address of many numbers is staged once
UNCHANGED = ("walk", "seq", "rejected", "unchanged", "fingerprint", "uuid")
OF_A_SEARCH = 0  # in place of a walk's number
BEFORE_ALL_WALKS = -(2**40)  # so that an address in an old cancellation never wins


class Stage:
    """
    The rows of one run: remembered as long as all are unchanged, then in temporary tables.

    Rows are numbered as they arrive, so that of two rows for one number the
    later one wins.

    Attributes:
        known: The fingerprints by which rows of the listing are taken for unchanged.
        only_unchanged: Only unchanged rows were added.
        stamped: A row has a cancelled stamp beside another status than "Cancelled".
    """

    def __init__(self, connection: Connection, account: str, known: Known) -> None:
        self._connection = connection
        self.known = known
        self.only_unchanged = True
        self.stamped = False
        self._walk = 0
        self._seq = self._address_seq = 0
        self._known_addresses: dict[int, Address] = {}
        self._unchanged: list[tuple[Any, ...]] = []
        self._rows: defaultdict[Table, list[tuple[Any, ...]]] = defaultdict(list)
        self._is_settled = False
        self._so_far = unchanged_rows.start(connection, account, known)
        if self._so_far is None:
            self._create_tables()

    def close(self) -> None:
        """
        Forget what is not staged.
        """
        if self._so_far is not None:
            self._so_far.close()

    @property
    def is_unchanged(self) -> bool:
        """
        Every row and every address so far is as it was; nothing is staged.
        """
        return self._so_far is not None

    def begin_walk(self) -> None:
        """
        Count the following pages as another walk.
        """
        if self._walk:
            self._stage_rows_so_far()
        self._walk += 1
        self._known_addresses.clear()

    def add(self, page: Page, index: int) -> None:
        """
        Stage one page of the listing, or remember it if all of the listing is as it was.
        """
        if self._so_far is not None:
            if self._so_far.take(page.rows):
                return
            self._stage_rows_so_far()
        marks: Sequence[int | None] = page.fingerprints or [None] * len(page.rows)
        for position, (row, mark) in enumerate(zip(page.rows, marks, strict=True), 1):
            self._seq += 1
            place = (self._walk, self._seq)
            if isinstance(row, Unchanged):
                self._unchanged.append((*place, False, True, mark, row.uuid))
                self._add_addresses(row.addresses)
            elif isinstance(row, Number):
                if row.cancelled_at is not None and row.lifecycle == Lifecycle.LIVE:
                    self.stamped = True
                values = msgspec.structs.astuple(row)
                self._rows[staged_numbers].append((*place, False, False, mark, *values[:-1]))
                self._add_addresses(row.addresses)
            else:
                values = msgspec.structs.astuple(row)
                self._rows[staged_rejects].append((*place, index, position, *values))
                if row.uuid is not None:
                    self._rows[staged_numbers].append((*place, True, False, None, *_only_uuid(row)))
        if self._rows[staged_numbers] or self._rows[staged_rejects]:
            self.only_unchanged = False
        self._flush(at_least=ROWS_AT_ONCE)

    def add_found(self, rows: Iterable[Number | Reject]) -> None:
        """
        Stage rows that searches found, although the listing does not have them.
        """
        self._walk = OF_A_SEARCH
        found = [_prefixed(row, "search") if isinstance(row, Reject) else row for row in rows]
        self.add(Page(rows=found, num_results=None, paginates=None), index=0)
        self._flush()

    def add_cancelled(self, page: Page, index: int) -> None:
        """
        Stage one page of the cancelled listing.
        """
        if page.rows:
            self._stage_rows_so_far()
            self.only_unchanged = False
        for position, row in enumerate(page.rows, 1):
            self._seq += 1
            if isinstance(row, Reject):
                values = msgspec.structs.astuple(_prefixed(row, "cancelled listing"))
                self._rows[staged_rejects].append((self._walk, self._seq, index, position, *values))
            elif isinstance(row, Number) and not is_live_entry(row):
                cancelled = msgspec.structs.replace(row, lifecycle=Lifecycle.CANCELLED.value)
                values = msgspec.structs.astuple(cancelled)[:-1]
                strong = row.lifecycle == Lifecycle.CANCELLED
                self._rows[staged_cancelled].append((self._seq, strong, *values))
                for address in row.addresses:
                    values = msgspec.structs.astuple(address)
                    seq = BEFORE_ALL_WALKS + self._seq
                    digest = content_digest(address).hex()
                    self._rows[staged_addresses].append((0, seq, digest, *values))
        self._flush(at_least=ROWS_AT_ONCE)

    def keep_latest_cancelled(self) -> None:
        """
        Keep the latest row of each number in the cancelled listing.
        """
        if self.is_unchanged:
            return
        self._flush()
        with self._connection.begin():
            prepare_joins(self._connection, staged_cancelled_by_uuid)
            keep_latest_of(self._connection, staged_cancelled)

    def _flush(self, at_least: int = 1) -> None:
        """
        Insert the rows collected so far, if there are at least this many.
        """
        if sum(map(len, self._rows.values())) + len(self._unchanged) < at_least:
            return
        with self._connection.begin():
            copy_into(self._connection, staged_numbers, self._unchanged, UNCHANGED)
            for table, rows in self._rows.items():
                copy_into(self._connection, table, rows)
        self._unchanged.clear()
        self._rows.clear()

    def distinct_rows(self) -> int:
        """
        Count the distinct numbers that the current walk has read, rejects included.

        Each reject without a readable uuid counts as one.
        """
        if self._so_far is not None:
            return self._so_far.distinct()
        self._flush()
        of_walk = staged_numbers.c.walk == self._walk
        nameless = and_(staged_rejects.c.walk == self._walk, staged_rejects.c.uuid.is_(None))
        with self._connection.begin():
            names = select(staged_numbers.c.uuid).where(of_walk).distinct().subquery()
            known = count(self._connection, names)
            return known + count(self._connection, staged_rejects, nameless)

    def listed(self) -> int:
        """
        Count the rows of a listing of which each row is unchanged.
        """
        if self._so_far is not None:
            return len(self._so_far)
        return count(self._connection, staged_numbers)

    def keep_latest(self, *, complete: bool) -> None:
        """
        Keep one row of each number: of the proved walk, else the latest of all walks.
        """
        if self._so_far is not None and complete and self._so_far.is_complete():
            self._is_settled = True  # there is one row of each number, unless more is to come
            return
        self._stage_rows_so_far()
        with self._connection.begin():
            prepare_joins(self._connection, staged_numbers_by_uuid)
            if complete:
                self._keep_last_walk()
            else:
                self._keep_latest_of_all_walks()

    def _create_tables(self) -> None:
        with self._connection.begin():
            create_tables(self._connection, *STAGED)

    def _stage_rows_so_far(self) -> None:
        """
        Create the tables and stage the rows that were only remembered, if that has to be done yet.
        """
        if self._so_far is None:
            return
        self._create_tables()
        with closing(self._so_far) as so_far:
            self._so_far = None
            for uuid, mark in so_far.rows():
                self._seq += 1
                self._unchanged.append((self._walk, self._seq, False, True, mark, uuid))
                if len(self._unchanged) >= ROWS_AT_ONCE:
                    self._flush()
            self._add_addresses(so_far.addresses())
            self._flush()
        if self._is_settled:
            self.keep_latest(complete=True)

    def _keep_last_walk(self) -> None:
        for table in LISTED if self._walk > 1 else ():
            self._connection.execute(delete(table).where(table.c.walk < self._walk))

    def _keep_latest_of_all_walks(self) -> None:
        keep_latest_of(self._connection, staged_numbers)
        still_rejected = select(staged_numbers.c.seq).where(staged_numbers.c.rejected)
        nameless = staged_rejects.c.uuid.is_(None)
        outdated = or_(
            and_(nameless, staged_rejects.c.walk < self._walk),
            and_(not_(nameless), staged_rejects.c.seq.not_in(still_rejected)),
        )
        self._connection.execute(delete(staged_rejects).where(outdated))

    def _add_addresses(self, found: Iterable[Address]) -> None:
        """
        Stage the addresses that differ from what was staged last under their ids.
        """
        for address in found:
            if self._known_addresses.get(address.id) == address:
                continue
            if len(self._known_addresses) >= ADDRESSES_REMEMBERED:
                self._known_addresses.clear()
            self._known_addresses[address.id] = address
            self._address_seq += 1
            values = msgspec.structs.astuple(address)
            digest = content_digest(address).hex()
            row = (self._walk, self._address_seq, digest, *values)
            self._rows[staged_addresses].append(row)


def is_live_entry(row: Number | Reject | Unchanged) -> bool:
    """
    Return whether an entry of the cancelled listing is of a live number: another status, no stamp.

    A host may answer with its usual listing there, which must not cancel what that listing lacks.
    """
    if not isinstance(row, Number) or row.lifecycle == Lifecycle.CANCELLED or row.cancelled_at:
        return False
    return bool(row.status and not row.status.isspace())


def _prefixed(row: Reject, source: str) -> Reject:
    """
    Return a reject whose reason names another source than the listing.
    """
    return msgspec.structs.replace(row, reason=f"{source}: {row.reason}")


def _only_uuid(row: Reject) -> tuple[Any, ...]:
    """
    Return the staged row of a reject: the uuid and nothing else.
    """
    return (row.uuid, *(None for _ in NUMBER_FIELDS[1:]))
