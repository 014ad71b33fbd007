"""
Remember the rows of a walk outside the database, as long as the listing is the one before.

Nearly every run finds nothing new. Until the first difference nothing is staged, and no temporary
table is created; then all rows so far are staged after all. They take 20 bytes each, in memory for
a small inventory and in an unlinked temporary file for a large one.
"""

from __future__ import annotations

import hashlib
from array import array
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Text, cast, select

from syncsvc.payloads.records import Address, Unchanged
from syncsvc.payloads.unknown_fields import canonical
from syncsvc.schema.tables import addresses

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from syncsvc.payloads.fingerprint import Known
    from syncsvc.payloads.records import Number, Reject

IN_MEMORY = 2 * 2**20  # bytes, of 100,000 rows
ADDRESSES_AT_MOST = 50_000  # digests in memory, 10 MB
UUID_LENGTH = 16  # bytes


class UnchangedRows:
    """
    The rows of one walk, all of them unchanged, and the addresses that they show.

    Args:
        known: The fingerprints by which rows are unchanged.
        contents: Digests of the addresses in the tables, by id.
    """

    def __init__(self, known: Known, contents: Mapping[int, bytes]) -> None:
        self._known = known
        self._contents = contents
        self._shown: dict[int, Address] = {}
        self._last_addresses: tuple[Address, ...] = ()
        self._seen = bytearray(len(known))
        self._pages: list[int] = []  # numbers of rows
        self._file = SpooledTemporaryFile[bytes](max_size=IN_MEMORY)

    def close(self) -> None:
        """
        Remove the temporary file.
        """
        self._file.close()

    def take(self, rows: Sequence[Number | Reject | Unchanged]) -> bool:
        """
        Remember a page, unless a row or an address is not as it was, or no file can be written.
        """
        unchanged = [row for row in rows if isinstance(row, Unchanged)]
        if len(unchanged) < len(rows) or not all(map(self._has_known_addresses, unchanged)):
            return False
        slots = array("I", [row.slot for row in unchanged])
        uuids = bytes.fromhex("".join([row.uuid for row in unchanged]).replace("-", ""))
        try:
            self._file.write(slots.tobytes() + uuids)
        except OSError:  # the directory for temporary files is full or missing
            return False
        self._pages.append(len(unchanged))
        for slot in slots:
            self._seen[slot] = True
        return True

    def __len__(self) -> int:
        return sum(self._pages)

    def distinct(self) -> int:
        """
        Count the distinct numbers that were seen.
        """
        return self._seen.count(True)

    def is_complete(self) -> bool:
        """
        Return whether every live number was seen.
        """
        return self.distinct() == self._known.live

    def rows(self) -> Iterator[tuple[str, int]]:
        """
        Yield uuids and fingerprints, in the order of the rows.
        """
        self._file.seek(0)
        for length in self._pages:
            slots = array("I", self._file.read(length * array("I").itemsize))
            for slot in slots:
                digits = self._file.read(UUID_LENGTH).hex()
                uuid = "-".join(
                    (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
                )
                yield uuid, self._known.fingerprints[slot]

    def addresses(self) -> Collection[Address]:
        """
        Return the addresses that were shown.
        """
        return self._shown.values()

    def _has_known_addresses(self, row: Unchanged) -> bool:
        if row.addresses is self._last_addresses:  # one tuple serves many rows
            return True
        for address in row.addresses:
            if self._shown.get(address.id) is address:
                continue
            if self._contents.get(address.id) != content_digest(address):
                return False
            self._shown[address.id] = address
        self._last_addresses = row.addresses
        return True


def start(connection: Connection, account: str, known: Known) -> UnchangedRows | None:
    """
    Return where to remember rows; None if none is known, or if the addresses are too many.
    """
    if not known:
        return None
    columns = (
        cast(addresses.c.extra, Text) if name == "extra" else addresses.c[name]
        for name in Address.__struct_fields__
    )
    query = select(*columns).where(addresses.c.account == account).limit(ADDRESSES_AT_MOST + 1)
    with connection.begin():
        rows = connection.execute(query, execution_options={"yield_per": 1000})
        stored = (Address(*(*row[:-1], canonical(row[-1]))) for row in rows)
        contents = {address.id: content_digest(address) for address in stored}
    return UnchangedRows(known, contents) if len(contents) <= ADDRESSES_AT_MOST else None


def content_digest(address: Address) -> bytes:
    """
    Return a digest of an address's content.
    """
    return hashlib.blake2b(msgspec.json.encode(address), digest_size=16).digest()
