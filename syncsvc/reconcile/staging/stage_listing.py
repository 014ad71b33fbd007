"""
Stage the records of a walk in temporary tables.

Nobody else sees a temporary table, so pages are staged as they arrive while
the real tables stay unchanged.

A row of the listing whose uuid can be read is staged even if the rest of it
can't: it is a reject, but its number is not absent. Unchanged rows are only
remembered, unless a walk has to be repeated or most rows differ.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.payloads.records import Number, Page, Reject, Unchanged, is_live_entry
from syncsvc.reconcile.staging.row_buffer import ROWS_AT_ONCE, RowBuffer
from syncsvc.reconcile.staging.stage_addresses import StagedAddresses
from syncsvc.reconcile.staging.staged_uuids import distinct_rows, live_with_entry, staged_uuids
from syncsvc.reconcile.statement_cache import built, values_for
from syncsvc.reconcile.temp_tables import (
    NUMBER_FIELDS,
    index_on_sqlite,
    keep_last_walk,
    keep_latest_of,
    keep_latest_of_walks,
    prepare_joins,
    staged_cancelled,
    staged_cancelled_by_uuid,
    staged_numbers,
    staged_numbers_by_uuid,
    staged_rejects,
)
from syncsvc.reconcile.unchanged.page_store import PagesDisagree
from syncsvc.reconcile.unchanged.unchanged_listing import UnchangedListing
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Select

    from syncsvc.payloads.fingerprint import Known

DIFFERENT_AT_MOST = 50_000  # rows, beyond which remembering the others does not pay
OF_A_SEARCH = 0  # in place of a walk's number


class Stage:
    """
    The rows of one run: in temporary tables, but for unchanged ones that can be remembered.

    Rows are numbered as they arrive, so that of two rows for one number the
    later one wins.

    Attributes:
        known: The fingerprints by which rows of the listing are taken for unchanged.
        unchanged: What is as it was, as far as it is not staged.
        stamped: A row has a cancelled stamp beside another status than "Cancelled".
    """

    def __init__(self, connection: Connection, account: str, known: Known) -> None:
        self.known = known
        self.stamped = False
        self._connection = connection
        self._account = account
        self._walk = self._seq = 0
        self._has_looked = False  # at a page's rows
        self._has_lost_pages = False  # that were skipped
        self._is_walking = False
        self._buffer = RowBuffer(connection)
        self.unchanged = UnchangedListing(connection, account, known)
        self._addresses = StagedAddresses(self._buffer, self.unchanged.addresses)

    def close(self) -> None:
        """
        Forget what is not staged.
        """
        self.unchanged.close()

    @property
    def is_unchanged(self) -> bool:
        """
        Every row and every address so far is as it was; nothing is staged.
        """
        return self.unchanged.is_remembered and not self._buffer.has_tables

    @property
    def different(self) -> int:
        """
        How many staged rows of the listing are not known to be unchanged.
        """
        return self._buffer.different

    def begin_walk(self) -> None:
        """
        Count the following pages as another walk.
        """
        self._is_walking = True
        if self._walk:
            self.unchanged.stop_noting()
            self._stage_remembered()
            self._addresses.forget()
        self._has_lost_pages = False  # those of an earlier walk do not matter
        self._walk += 1

    def add(self, page: Page, index: int) -> None:
        """
        Stage one page of the listing, but for the unchanged rows that can be remembered.
        """
        first = self._seq + 1
        self._seq += page.length
        if page.known is not None:
            self.unchanged.skipped.add(page.known, first)
            if not self._has_looked:
                return
        self.look_at_skipped()
        self._has_looked = True
        self.unchanged.note(page)
        self._add_rows(page, index, first)
        self._buffer.flush(at_least=ROWS_AT_ONCE)
        if self._buffer.different > DIFFERENT_AT_MOST:
            self._stage_remembered()

    def look_at_skipped(self) -> None:
        """
        Take the rows of the skipped pages like those of others.

        If they are no longer stored, a walk that goes on proves nothing, and has to be repeated.

        Raises:
            PagesDisagree: They are no longer stored, and the walk has ended.
        """
        if not self.unchanged.skipped.rows:
            return
        try:
            for first, page in self.unchanged.skipped.take():
                self._add_rows(page, 0, first)
                self._buffer.flush(at_least=ROWS_AT_ONCE)
        except PagesDisagree:
            self._has_lost_pages = True
            if not self._is_walking:
                raise
        self._buffer.flush()

    def _add_rows(self, page: Page, index: int, first: int) -> None:
        is_taken = self.unchanged.take(page, first)
        marks: Sequence[int | None] = page.fingerprints or [None] * len(page.rows)
        for seq, (row, mark) in enumerate(zip(page.rows, marks, strict=True), first):
            if not isinstance(row, Unchanged):
                self._add_row(row, seq, mark, (index, seq - first + 1))
            elif not is_taken:
                self._buffer.add_unchanged(self._walk, seq, mark, row.uuid)
            if not isinstance(row, Reject):
                self._addresses.show(row.addresses, self._walk)

    def _add_row(
        self, row: Number | Reject, seq: int, mark: int | None, place: tuple[int, int]
    ) -> None:
        """
        Stage a row that is not known, or could not be read.

        Args:
            place: The page, and the position on it.
        """
        if isinstance(row, Number):
            if row.cancelled_at is not None and row.lifecycle == Lifecycle.LIVE:
                self.stamped = True
            values = msgspec.structs.astuple(row)[:-1]
            self._buffer.add(staged_numbers, (self._walk, seq, False, False, mark, *values))
            return
        values = msgspec.structs.astuple(row)
        self._buffer.add(staged_rejects, (self._walk, seq, *place, *values))
        if row.uuid is not None:
            only_uuid = (row.uuid, *(None for _ in NUMBER_FIELDS[1:]))
            self._buffer.add(staged_numbers, (self._walk, seq, True, False, None, *only_uuid))

    def add_found(self, rows: Iterable[Number | Reject]) -> None:
        """
        Stage rows that searches found, although the listing does not have them.
        """
        self._walk = OF_A_SEARCH
        found = [_prefixed(row, "search") if isinstance(row, Reject) else row for row in rows]
        page = Page(rows=found, num_results=None, paginates=None)
        self._add_rows(page, index=0, first=self._seq + 1)
        self._seq += len(found)
        self._buffer.flush()

    def add_cancelled(self, page: Page, index: int) -> None:
        """
        Stage one page of the cancelled listing.
        """
        for position, row in enumerate(page.rows, 1):
            self._seq += 1
            if isinstance(row, Reject):
                values = msgspec.structs.astuple(_prefixed(row, "cancelled listing"))
                place = (self._walk, self._seq, index, position)
                self._buffer.add(staged_rejects, (*place, *values))
            elif isinstance(row, Number) and not is_live_entry(row):
                self._add_entry(row)
        self._buffer.flush(at_least=ROWS_AT_ONCE)

    def _add_entry(self, row: Number) -> None:
        """
        Stage an entry, with its addresses.
        """
        cancelled = msgspec.structs.replace(row, lifecycle=Lifecycle.CANCELLED.value)
        values = msgspec.structs.astuple(cancelled)[:-1]
        strong = row.lifecycle == Lifecycle.CANCELLED
        self._buffer.add(staged_cancelled, (self._seq, strong, *values))
        for address in row.addresses:
            if not self.unchanged.skipped.shows(address.id):
                self._addresses.show_formerly(address, self._seq)

    def keep_latest_cancelled(self) -> None:
        """
        Keep the latest row of each number in the cancelled listing.
        """
        self._buffer.flush()
        if not self._buffer.has_tables:
            return
        with self._connection.begin():
            prepare_joins(self._connection, staged_cancelled, staged_cancelled_by_uuid)
            keep_latest_of(self._connection, staged_cancelled)
            found = self._selected(built(live_with_entry))
        if found:
            self.look_at_skipped()
            with self._connection.begin():
                self._stage_again(found)

    def distinct_rows(self) -> int:
        """
        Count the distinct numbers that the current walk has read, rejects included.

        Each reject without a readable uuid counts as one.

        Returns:
            A negative number if some rows were lost.
        """
        if not self.unchanged.has_skipped_all:
            self.look_at_skipped()
        if self._has_lost_pages:
            return -1
        self._buffer.flush()
        if not self._buffer.has_tables:
            return self.unchanged.rows
        with self._connection.begin():
            index_on_sqlite(self._connection, staged_numbers_by_uuid)
            self._stage_again(self._selected(built(staged_uuids)))
            rows = self._connection.execute(built(distinct_rows), {"of_walk": self._walk})
            staged: int = rows.scalar_one()
            return self.unchanged.rows + staged

    def keep_latest(self, *, complete: bool) -> None:
        """
        Keep one row of each number: of the proved walk, else the latest of all walks.
        """
        self._is_walking = False
        if not complete:
            self._stage_remembered()
        if not self._buffer.has_tables:
            return
        with self._connection.begin():
            prepare_joins(self._connection, staged_numbers, staged_numbers_by_uuid)
            if complete and self._walk > 1:
                keep_last_walk(self._connection, self._walk)
            elif not complete:
                keep_latest_of_walks(self._connection, self._walk)

    def create_tables(self) -> None:
        """
        Create the staged tables, unless that has been done.
        """
        self._buffer.create_tables()

    def _stage_remembered(self) -> None:
        """
        Stage the rows that were only remembered.
        """
        self.look_at_skipped()
        self.create_tables()
        if self.unchanged.remembered is None:
            return
        with closing(self.unchanged.remembered) as remembered:
            self.unchanged.remembered = None
            for row in remembered.rows():
                self._buffer.add_unchanged(self._walk, row.position, row.fingerprint, row.uuid)
                self._buffer.flush(at_least=ROWS_AT_ONCE)
            self._addresses.show_known(self._walk)
            self._buffer.flush()

    def _selected(self, uuids: Select[Any]) -> Sequence[str]:
        """
        Return the uuids of some numbers, if these may be remembered.
        """
        if self.unchanged.remembered is None:
            return ()
        return self._connection.execute(uuids, values_for(self._account)).scalars().all()

    def _stage_again(self, uuids: Iterable[str]) -> None:
        """
        Stage the remembered rows of these numbers, which have another row or an entry.
        """
        if self.unchanged.remembered is None:
            return
        for row in self.unchanged.remembered.forget(uuids):
            self._buffer.add_unchanged(self._walk, row.position, row.fingerprint, row.uuid)
        self._buffer.insert()


def _prefixed(row: Reject, source: str) -> Reject:
    """
    Return a reject whose reason names another source than the listing.
    """
    return msgspec.structs.replace(row, reason=f"{source}: {row.reason}")
