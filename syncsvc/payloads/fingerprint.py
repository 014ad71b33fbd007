"""
Recognise rows and pages that have not changed since they were stored, by a hash of their bytes.

Nearly all rows of a listing are the same as in the last run. Of a row with a known fingerprint only
the uuid and the addresses are decoded; of a known page, nothing. What is known of rows and pages is
stored by `reconcile.unchanged.fingerprint_store` and `page_store`.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo
    from typing import Any

    from syncsvc.payloads.extra_fields import IgnoredFields

# Raise it whenever a row may be read differently than before. Rows that were stored by another
# reader are then decoded once more; until then they would count as unchanged.
READER_VERSION = 2

# 8 bytes: among a million numbers, one changed row in 4 thousand trillion is taken for unchanged.
FIRST_8_BYTES = Struct("<q")
HASH_LENGTH = 16  # bytes


class KnownPage(msgspec.Struct, frozen=True):
    """
    A page of the listing whose rows the tables agree with.

    Attributes:
        digest: Of its rows, as they were sent.
        identity: Of its uuids, see `page_identity`.
        fingerprints: The sum of its rows' fingerprints, see `sum_of`.
        rows: How many there are.
        addresses: How many are shown on it.
        chunk: The stored row that has its rows and addresses.
        first_row: How many rows of other pages come before its own there.
        first_address: How many addresses do.
    """

    digest: bytes
    identity: bytes
    fingerprints: int
    rows: int
    addresses: int
    chunk: int = 0
    first_row: int = 0
    first_address: int = 0


class KnownPages:
    """
    The pages of the last listing that was noted, as long as the present one is like it.

    After the first page that is not known, the following ones are no longer looked for: an order
    that has changed rarely returns to what it was.

    Args:
        pages: None of them has a number of another.
        are_noted: No pages are known, and the present ones are to be noted.
    """

    def __init__(self, pages: Iterable[KnownPage] = (), *, are_noted: bool = False) -> None:
        self.are_noted = are_noted
        self._by_digest = {page.digest: page for page in pages}
        self._are_looked_for = bool(self._by_digest)

    def stop(self) -> None:
        """
        Neither look for pages any more, nor note them.
        """
        self.are_noted = self._are_looked_for = False

    def digest_of(self, rows: Iterable[Any], salted: bytes) -> bytes | None:
        """
        Return the digest of a page's rows; None if it has none, or nobody wants to know it.
        """
        if not (self.are_noted or self._are_looked_for):
            return None
        digest = sha256(salted)
        text = b",".join(rows)
        digest.update(text)
        return digest.digest()[:HASH_LENGTH] if text else None

    def find(self, digest: bytes | None) -> KnownPage | None:
        """
        Return the page with a digest. If there is none, it was the last that was looked for.
        """
        if digest is None or not self._are_looked_for:
            return None
        found = self._by_digest.get(digest)
        if found is None:
            self._are_looked_for = False
        return found


class Known:
    """
    The fingerprints of rows that the tables agree with, in parts by the first characters of uuids.

    Args:
        parts: The packed fingerprints of each part.
        live: How many live numbers the tables have of each part, known or not.
        cancelled: How many cancelled numbers the tables have.

    Attributes:
        fingerprints: Of all parts, one part after the other.
        pages: The pages of which the tables agree with every row.
        stored_pages: What is stored of pages, whether the tables agree with it or not; None if
            nothing can be stored.
    """

    def __init__(
        self,
        parts: Iterable[tuple[str, bytes]] = (),
        live: Mapping[str, int] | None = None,
        cancelled: int = 0,
    ) -> None:
        self.live = live or {}
        self.cancelled = cancelled
        self.pages = KnownPages()
        self.stored_pages: bytes | None = None
        self.fingerprints = array("q")
        self._slots: dict[str, tuple[int, int]] = {}
        for part, packed in parts:
            self.add(part, packed)

    def add(self, part: str, packed: bytes) -> None:
        """
        Add the packed fingerprints of a part.
        """
        first = len(self.fingerprints)
        self.fingerprints.extend(unpacked(packed))
        self._slots[part] = (first, len(self.fingerprints))

    def __len__(self) -> int:
        return len(self.fingerprints)

    @property
    def total(self) -> int:
        """
        How many live numbers the tables have.
        """
        return sum(self.live.values())

    @property
    def parts(self) -> set[str]:
        """
        The parts of which fingerprints are known.
        """
        return set(self._slots)

    def slots(self, part: str) -> tuple[int, int]:
        """
        Return the first place of a part's fingerprints, and the place after the last.
        """
        return self._slots.get(part, (0, 0))

    def slot(self, uuid: str, fingerprint: int) -> int | None:
        """
        Return the place of a row's fingerprint; None if the tables do not agree with this row.
        """
        first, end = self.slots(part_of(uuid))
        slot = bisect_left(self.fingerprints, fingerprint, first, end)
        return slot if slot < end and self.fingerprints[slot] == fingerprint else None


def part_of(uuid: str) -> str:
    """
    Return the part that has a number's fingerprint.
    """
    return uuid[:2]


@lru_cache(maxsize=16)
def salt(zone: tzinfo, ignored: IgnoredFields) -> bytes:
    """
    Return what else the reading of rows depends on: the reader, the time zone and ignored fields.
    """
    return f"{READER_VERSION} {zone} {','.join(sorted(ignored.in_row))} ".encode()


def fingerprint(row: bytes, salted: bytes) -> int:
    """
    Return 8 bytes of a row's hash, as a signed integer.
    """
    return int(FIRST_8_BYTES.unpack_from(sha256(salted + row).digest())[0])


def packed(fingerprints: Iterable[int]) -> bytes:
    """
    Pack fingerprints for storage: sorted, and big-endian as PostgreSQL's `int8send` has them.
    """
    return _big_endian(array("q", sorted(fingerprints))).tobytes()


def unpacked(kept: bytes) -> array[int]:
    """
    Unpack stored fingerprints.
    """
    found = array("q")
    found.frombytes(kept)
    return _big_endian(found)


def _big_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def page_identity(names: Iterable[str]) -> bytes:
    """
    Return what a page has in common with its repetition in another order, or with other details.

    Args:
        names: The uuids of the rows; the text of a row without one.
    """
    return sha256("\n".join(sorted(names)).encode()).digest()[:HASH_LENGTH]


def sum_of(fingerprints: Iterable[int]) -> int:
    """
    Return the sum of fingerprints, as a number of 64 bits.
    """
    return sum(fingerprints) % 2**64
