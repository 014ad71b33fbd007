"""
Note the pages of a walk, with the fingerprints and uuids of their rows.

They take 24 bytes a row, in memory for a small inventory and in an unlinked temporary file for a
large one.
"""

from __future__ import annotations

from array import array
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, NamedTuple

from syncsvc.payloads.fingerprint import KnownPage, sum_of
from syncsvc.payloads.records import Number, Unchanged
from syncsvc.reconcile.unchanged.remember_unchanged import IN_MEMORY, as_bytes
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from syncsvc.payloads.records import Address, Page, Reject

ROWS_AT_ONCE = 10_000
ID = array("q").itemsize  # bytes
ROW = ID + 16  # bytes of a fingerprint and a uuid


class Chunk(NamedTuple):
    """
    Some of the pages that were noted, with their rows and the ids of their addresses.
    """

    pages: list[KnownPage]
    rows: bytes
    address_ids: bytes


class NotedPages:
    """
    The pages of one walk.

    Attributes:
        are_all: Every page could be noted.
    """

    def __init__(self) -> None:
        self.are_all = True
        self._pages: list[KnownPage] = []
        self._file = SpooledTemporaryFile[bytes](max_size=IN_MEMORY)

    @property
    def rows(self) -> int:
        """
        Return the number of rows on the pages.
        """
        return sum(page.rows for page in self._pages)

    def close(self) -> None:
        """
        Remove the temporary file.
        """
        self._file.close()

    def note(self, page: Page) -> None:
        """
        Note a page, if the tables will agree with all of its rows, and all before could be noted.

        They may not do so with a row that can't be read, is cancelled or has a cancelled stamp.
        """
        if not self.are_all:
            return
        if page.digest is None or not all(map(_is_plain, page.rows)):
            self.are_all = False
            return
        ids = array("q", _address_ids(page.rows))
        uuids = as_bytes("".join([row.uuid or "" for row in page.rows]))
        try:
            self._file.write(array("q", page.fingerprints).tobytes() + uuids + ids.tobytes())
        except OSError:  # the directory for temporary files is full or missing
            self.are_all = False
        self._pages.append(
            KnownPage(
                digest=page.digest,
                identity=page.identity,
                fingerprints=sum_of(page.fingerprints),
                rows=page.length,
                addresses=len(ids),
            )
        )

    def chunks(self) -> Iterator[Chunk]:
        """
        Yield the pages in order, about 10,000 rows at a time.
        """
        self._file.seek(0)
        pages, rows, ids, count = [], bytearray(), bytearray(), 0
        for page in self._pages:
            pages.append(page)
            rows += self._file.read(page.rows * ROW)
            ids += self._file.read(page.addresses * ID)
            count += page.rows
            if count >= ROWS_AT_ONCE or page is self._pages[-1]:
                yield Chunk(pages, bytes(rows), bytes(ids))
                pages, rows, ids, count = [], bytearray(), bytearray(), 0


def _is_plain(row: Number | Reject | Unchanged) -> bool:
    if isinstance(row, Number):
        return row.cancelled_at is None and row.lifecycle == Lifecycle.LIVE
    return isinstance(row, Unchanged)


def _address_ids(rows: Sequence[Number | Reject | Unchanged]) -> set[int]:
    found: set[int] = set()
    last: tuple[Address, ...] = ()
    for row in rows:
        if row.addresses is not last:  # type: ignore[union-attr] # all rows are plain
            last = row.addresses  # type: ignore[union-attr]
            found.update(address.id for address in last)
    return found
