"""
Store and load the pages of a listing of which the tables agree with every row.

What the pages are is stored with the fingerprints, so that a run that skips all of them reads no
other table. Pages are trusted only if their rows are exactly those whose fingerprints the tables
agree with now, by number and sum, and if the addresses are what they were. So both internal tables
may be emptied at any time: the next run then looks at every row.
"""

from __future__ import annotations

from array import array
from itertools import groupby
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, delete, insert, select, update

from syncsvc.errors import SyncError
from syncsvc.payloads.fingerprint import HASH_LENGTH, KnownPage, KnownPages, sum_of
from syncsvc.payloads.records import Page, Unchanged
from syncsvc.reconcile.statement_cache import ACCOUNT, built, values_for
from syncsvc.reconcile.unchanged.changed_addresses import (
    DIGEST_LENGTH,
    contents_by_id,
    digest_of_all,
    stored_addresses,
)
from syncsvc.reconcile.unchanged.live_rows_checksum import WHOLE
from syncsvc.reconcile.unchanged.note_pages import ID, ROW
from syncsvc.reconcile.unchanged.remember_unchanged import as_text
from syncsvc.schema.internal_tables import listing_fingerprints, listing_pages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Delete, Select, Update

    from syncsvc.payloads.fingerprint import Known
    from syncsvc.payloads.records import Address
    from syncsvc.reconcile.unchanged.note_pages import NotedPages

# Digest, identity, sum of fingerprints, rows, addresses and chunk.
PACKED_PAGE = Struct(f"<{HASH_LENGTH}s{HASH_LENGTH}sQIII")

stored = listing_pages.c
fingerprints = listing_fingerprints.c
CHUNK = bindparam("of_chunk", type_=stored.chunk.type)
PAGES = bindparam("packed_pages", type_=fingerprints.fingerprints.type)


class PagesDisagree(SyncError):
    """
    Stored pages do not have the rows whose fingerprints they were accepted by.
    """


class SkippedPages:
    """
    The pages of a walk whose rows have not been looked at, since they are all as they were.

    Its methods begin transactions of their own.

    Attributes:
        rows: How many rows they have.
    """

    def __init__(self, connection: Connection, account: str, known: Known) -> None:
        self.rows = 0
        self._connection = connection
        self._account = account
        self._known = known
        self._first_rows: dict[KnownPage, int] = {}
        self._address_ids: set[int] | None = None

    def add(self, page: KnownPage, first: int) -> None:
        """
        Skip a page.

        Args:
            first: The position of its first row.
        """
        self.rows += page.rows
        self._first_rows[page] = first

    def shows(self, address_id: int) -> bool:
        """
        Return whether an address is shown on one of the pages.

        Raises:
            PagesDisagree: They are no longer stored.
        """
        if not self._first_rows:
            return False
        if self._address_ids is None:
            self._address_ids = self._shown_addresses()
        return address_id in self._address_ids

    def _shown_addresses(self) -> set[int]:
        found: set[int] = set()
        missing = len(self._first_rows)
        for content in self._contents():
            found.update(content.address_ids)
            missing -= 1
        if missing:
            raise self._disagree()
        return found

    def take(self) -> Iterator[tuple[int, Page]]:
        """
        Yield the pages with their rows, and the positions of the first ones. No page is left.

        Raises:
            PagesDisagree: Other rows are stored, or none. They are then forgotten.
        """
        with self._connection.begin():
            by_id = {each.id: each for each in stored_addresses(self._connection, self._account)}
        expected = self.rows
        for content in self._contents():
            addresses = tuple(by_id[each] for each in content.address_ids if each in by_id)
            rows = self._rows(content, addresses)
            expected -= len(rows)
            yield self._first_rows[content.page], _page(rows, content.fingerprints)
        if expected:
            raise self._disagree()
        self._forget()

    def _forget(self) -> None:
        self.rows = 0
        self._first_rows = {}
        self._address_ids = None

    def _rows(self, content: PageContent, addresses: tuple[Address, ...]) -> list[Unchanged]:
        """
        Return a page's rows. The first one has all addresses, which is enough to stage them.
        """
        rows: list[Unchanged] = []
        for mark, uuid in zip(content.fingerprints, map(as_text, content.uuids), strict=True):
            slot = self._known.slot(uuid, mark)
            if slot is None:
                raise self._disagree()
            rows.append(Unchanged(uuid, slot, () if rows else addresses))
        return rows

    def _contents(self) -> Iterator[PageContent]:
        return contents(self._connection, self._account, self._first_rows)

    def _disagree(self) -> PagesDisagree:
        self._forget()
        with self._connection.begin():
            forget(self._connection, self._account)
        return PagesDisagree(
            "The stored rows of unchanged pages (table listing_pages) are missing or damaged. "
            "They have been deleted; the next run reads every row again."
        )


def _page(rows: Sequence[Unchanged], fingerprints: Iterable[int]) -> Page:
    return Page(rows=rows, fingerprints=[*fingerprints], num_results=None, paginates=None)


class PageContent(NamedTuple):
    """
    The rows of a page, by column, and the ids of the addresses shown on it.
    """

    page: KnownPage
    fingerprints: array[int]
    uuids: list[bytes]
    address_ids: array[int]


def trusted(known: Known, addresses: bytes) -> KnownPages:
    """
    Return the pages of an account of which the tables agree with every row.

    Args:
        addresses: Hash of the account's addresses in the tables.
    """
    told = known.stored_pages
    if told is None:
        return KnownPages()
    then, packed = told[:DIGEST_LENGTH], told[DIGEST_LENGTH:]
    pages = [*_unpacked(packed)]
    is_same = (
        addresses == then
        and sum(page.rows for page in pages) == len(known)
        and sum_of(page.fingerprints for page in pages) == sum_of(known.fingerprints)
    )
    return KnownPages(pages) if pages and is_same else KnownPages(are_noted=True)


def save(connection: Connection, account: str, noted: NotedPages) -> None:
    """
    Store the pages of a walk in place of those of an earlier one.

    Call it in the transaction that publishes, when everything else is written.
    """
    forget(connection, account)
    known = contents_by_id(connection, account)
    if known is None:
        return
    pages = [digest_of_all(known)]
    for number, chunk in enumerate(noted.chunks()):
        pages += [_packed(page, number) for page in chunk.pages]
        values = {"account": account, "chunk": number, "rows": chunk.rows}
        connection.execute(insert(listing_pages), {**values, "address_ids": chunk.address_ids})
    _tell(connection, account, b"".join(pages))


def forget(connection: Connection, account: str) -> None:
    """
    Delete the stored pages of an account.
    """
    connection.execute(built(_delete), values_for(account))
    _tell(connection, account, b"")


def _tell(connection: Connection, account: str, pages: bytes) -> None:
    """
    Tell the next run, which reads the fingerprints anyway, what is stored of pages.
    """
    connection.execute(built(_update_whole), {**values_for(account), PAGES.key: pages})


def contents(
    connection: Connection, account: str, pages: Iterable[KnownPage]
) -> Iterator[PageContent]:
    """
    Yield the rows of pages. A page that is no longer stored as a whole is left out.
    """
    for chunk, some in groupby(pages, key=lambda page: page.chunk):
        values = {**values_for(account), CHUNK.key: chunk}
        with connection.begin():
            found = connection.execute(built(_stored_rows), values).one_or_none()
        if found is not None:
            contents = (_content(page, *found) for page in some)
            yield from filter(None, contents)


def _content(page: KnownPage, rows: bytes, ids: bytes) -> PageContent | None:
    first, end = page.first_row * ROW, (page.first_row + page.rows) * ROW
    if len(rows) < end:
        return None
    middle = first + page.rows * ID
    uuids = rows[middle:end]
    starts = range(0, len(uuids), ROW - ID)
    of_page = slice(page.first_address * ID, (page.first_address + page.addresses) * ID)
    return PageContent(
        page,
        array("q", rows[first:middle]),
        [uuids[start : start + ROW - ID] for start in starts],
        array("q", ids[of_page]),
    )


def _packed(page: KnownPage, chunk: int) -> bytes:
    sizes = page.rows, page.addresses, chunk
    return PACKED_PAGE.pack(page.digest, page.identity, page.fingerprints, *sizes)


def _unpacked(packed: bytes) -> Iterator[KnownPage]:
    first_row = first_address = last = 0
    for digest, identity, total, rows, addresses, chunk in PACKED_PAGE.iter_unpack(packed):
        if chunk != last:
            first_row, first_address, last = 0, 0, chunk
        yield KnownPage(digest, identity, total, rows, addresses, chunk, first_row, first_address)
        first_row += rows
        first_address += addresses


def _update_whole() -> Update:
    whole = fingerprints.account == ACCOUNT, fingerprints.part == WHOLE
    return update(listing_fingerprints).where(*whole).values(fingerprints=PAGES)


def _stored_rows() -> Select[Any]:
    columns = stored.rows, stored.address_ids
    return select(*columns).where(stored.account == ACCOUNT, stored.chunk == CHUNK)


def _delete() -> Delete:
    return delete(listing_pages).where(stored.account == ACCOUNT)
