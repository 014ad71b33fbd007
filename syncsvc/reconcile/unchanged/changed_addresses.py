"""
Tell the addresses that a walk shows differently than the tables have them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Text, cast, select

from syncsvc.payloads.extra_fields import canonical
from syncsvc.payloads.records import Address
from syncsvc.reconcile.statement_cache import ACCOUNT, built, values_for
from syncsvc.schema.tables import addresses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Select

KNOWN_AT_MOST = 50_000  # digests in memory, 10 MB
DIGEST_LENGTH = 16  # bytes
STAGED_AT_MOST = 10_000  # remembered, so that an address of many numbers is staged once


class ShownAddresses:
    """
    The addresses that a walk has shown so far.

    Args:
        contents: Digests of the addresses in the tables, by id.
    """

    def __init__(self, contents: Mapping[int, bytes]) -> None:
        self._contents = contents
        self._as_known: dict[int, Address] = {}
        self._staged: dict[int, Address] = {}
        self._last: tuple[Address, ...] = ()

    def to_stage(self, shown: tuple[Address, ...]) -> Sequence[Address]:
        """
        Return those of a row's addresses that have to be staged.

        An address that differs from the tables is staged whenever it differs from what was shown
        before under its id, so that the last one wins and both are found.
        """
        if shown is self._last:  # one tuple serves many rows
            return ()
        self._last = shown
        new = [address for address in shown if self._as_known.get(address.id) is not address]
        return [each for address in new for each in self._if_different(address)]

    def is_as_known(self, address_id: int) -> bool:
        """
        Return whether the walk has shown an address as the tables have it, and not otherwise.
        """
        return address_id in self._as_known

    def as_known(self) -> list[Address]:
        """
        Return the addresses that were shown as the tables have them.
        """
        return [*self._as_known.values()]

    def _if_different(self, address: Address) -> Iterator[Address]:
        before = self._staged.get(address.id)
        if before == address:
            return
        if before is None and self._contents.get(address.id) == content_digest(address):
            self._as_known[address.id] = address
            return
        if address.id in self._as_known:
            yield self._as_known.pop(address.id)
        if len(self._staged) >= STAGED_AT_MOST and not self._contents:
            self._staged.clear()
        self._staged[address.id] = address
        yield address


def contents_by_id(connection: Connection, account: str) -> dict[int, bytes] | None:
    """
    Return digests of an account's addresses; None if these are too many to remember.
    """
    stored = stored_addresses(connection, account)
    contents = {address.id: content_digest(address) for address in stored}
    return contents if len(contents) <= KNOWN_AT_MOST else None


def stored_addresses(connection: Connection, account: str) -> Iterator[Address]:
    """
    Yield an account's addresses, one more at most than can be remembered.
    """
    few = {"yield_per": 1000}
    rows = connection.execute(built(_contents), values_for(account), execution_options=few)
    yield from (Address(*(*row[:-1], canonical(row[-1]))) for row in rows)


def _contents() -> Select[Any]:
    columns = (
        cast(addresses.c.extra, Text) if name == "extra" else addresses.c[name]
        for name in Address.__struct_fields__
    )
    return select(*columns).where(addresses.c.account == ACCOUNT).limit(KNOWN_AT_MOST + 1)


def digest_of_all(contents: Mapping[int, bytes]) -> bytes:
    """
    Return a digest of all addresses, whatever their order.
    """
    total = sum(int.from_bytes(digest) for digest in contents.values())
    return (total % 2**128).to_bytes(DIGEST_LENGTH)


def content_digest(address: Address) -> bytes:
    """
    Return a digest of an address's content.
    """
    return hashlib.blake2b(msgspec.json.encode(address), digest_size=DIGEST_LENGTH).digest()
