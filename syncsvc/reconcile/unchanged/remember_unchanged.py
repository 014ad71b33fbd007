"""
Remember the unchanged rows of a walk outside the database.

Nearly every run finds nothing new, and then nothing is staged, and no temporary table is created.
If something is new, only that is staged. The rows remembered here are all of live numbers, so
counting them tells in which parts a number is missing. They take 24 bytes each, in memory for a
small inventory and in an unlinked temporary file for a large one.
"""

from __future__ import annotations

from array import array
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from syncsvc.payloads.records import Unchanged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from syncsvc.payloads.fingerprint import Known
    from syncsvc.payloads.records import Number, Reject

IN_MEMORY = 2 * 2**20  # bytes, of 90,000 rows
PLACE = array("I").itemsize  # bytes of a slot, and of a position
UUID_LENGTH = 16  # bytes


class RememberedRow(NamedTuple):
    """
    An unchanged row of the listing.

    Attributes:
        position: Among all rows of the walk.
    """

    position: int
    uuid: str
    fingerprint: int


class _Page(NamedTuple):
    """
    The unchanged rows of one page, by column.
    """

    slots: array[int]
    positions: array[int]
    uuids: list[bytes]

    def rows(self) -> Iterator[tuple[int, int, bytes]]:
        """
        Yield the same by row.
        """
        return zip(self.slots, self.positions, self.uuids, strict=True)


class UnchangedRows:
    """
    The unchanged rows of one walk.

    Args:
        known: The fingerprints by which rows are unchanged.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self._seen = bytearray(len(known))
        self._pages: list[int] = []  # numbers of rows
        self._file = SpooledTemporaryFile[bytes](max_size=IN_MEMORY)
        self._is_writable = True

    def close(self) -> None:
        """
        Remove the temporary file.
        """
        self._file.close()

    def take(self, rows: Sequence[Number | Reject | Unchanged], first: int) -> bool:
        """
        Remember the unchanged rows of a page, unless no file can be written.

        Args:
            first: The position of the first row.
        """
        found = [row for row in rows if isinstance(row, Unchanged)]
        slots = array("I", [row.slot for row in found])
        positions = array(
            "I", [at for at, row in enumerate(rows, first) if isinstance(row, Unchanged)]
        )
        uuids = as_bytes("".join([row.uuid for row in found]))
        if not self._write(slots.tobytes() + positions.tobytes() + uuids):
            return False
        self._pages.append(len(found))
        for slot in slots:
            self._seen[slot] = True
        return True

    def __len__(self) -> int:
        """
        Count the distinct numbers.
        """
        return self._seen.count(True)

    def of_part(self, part: str) -> int:
        """
        Count the distinct numbers of a part.
        """
        return self._seen.count(True, *self._known.slots(part))

    def uuids(self, parts: Collection[str]) -> set[bytes]:
        """
        Return the uuids of some parts.
        """
        wanted = {int(part, 16) for part in parts}
        return {uuid for page in self._read() for uuid in page.uuids if uuid[0] in wanted}

    def fingerprints(self, part: str) -> list[int]:
        """
        Return the fingerprints of the rows of a part.
        """
        first, end = self._known.slots(part)
        every = self._known.fingerprints
        return [every[slot] for slot in range(first, end) if self._seen[slot]]

    def rows(self) -> Iterator[RememberedRow]:
        """
        Yield the rows in their order.
        """
        for page in self._read():
            yield from (self._row(*each) for each in page.rows() if self._seen[each[0]])

    def forget(self, uuids: Iterable[str]) -> list[RememberedRow]:
        """
        Return the rows of these numbers, and forget them.
        """
        wanted = {as_bytes(uuid) for uuid in uuids}
        if not wanted:
            return []
        pages = (page for page in self._read() if not wanted.isdisjoint(page.uuids))
        found = [each for page in pages for each in page.rows() if each[-1] in wanted]
        rows = [self._row(*each) for each in found if self._seen[each[0]]]
        for slot, _position, _uuid in found:
            self._seen[slot] = False
        return rows

    def _row(self, slot: int, position: int, uuid: bytes) -> RememberedRow:
        return RememberedRow(position, as_text(uuid), self._known.fingerprints[slot])

    def _write(self, content: bytes) -> bool:
        if self._is_writable:
            try:
                self._file.write(content)
            except OSError:  # the directory for temporary files is full or missing
                self._is_writable = False
        return self._is_writable

    def _read(self) -> Iterator[_Page]:
        """
        Yield the pages, with the rows that were forgotten.
        """
        self._file.seek(0)
        for length in self._pages:
            slots = array("I", self._file.read(length * PLACE))
            positions = array("I", self._file.read(length * PLACE))
            uuids = self._file.read(length * UUID_LENGTH)
            starts = range(0, len(uuids), UUID_LENGTH)
            yield _Page(slots, positions, [uuids[start : start + UUID_LENGTH] for start in starts])


def as_bytes(uuid: str) -> bytes:
    """
    Return the 16 bytes of a uuid, or of each of some uuids.
    """
    return bytes.fromhex(uuid.replace("-", ""))


def as_text(uuid: bytes) -> str:
    """
    Return a uuid of 16 bytes as the tables have it.
    """
    return str(UUID(bytes=uuid))
