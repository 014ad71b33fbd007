"""
Stage the addresses that rows show, unless they are as the tables have them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from syncsvc.reconcile.temp_tables import staged_addresses
from syncsvc.reconcile.unchanged.changed_addresses import ShownAddresses, content_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncsvc.payloads.records import Address
    from syncsvc.reconcile.staging.row_buffer import RowBuffer

OF_NO_WALK = 0  # in place of a walk's number
BEFORE_ALL_WALKS = -(2**40)  # so that an address in an old cancellation never wins


class StagedAddresses:
    """
    The addresses of one run, numbered as they arrive, so that of two contents the later one wins.

    Args:
        contents: Digests of the addresses in the tables, by id.
    """

    def __init__(self, buffer: RowBuffer, contents: Mapping[int, bytes]) -> None:
        self._buffer = buffer
        self._shown = ShownAddresses(contents)
        self._seq = 0

    def show(self, shown: tuple[Address, ...], walk: int) -> None:
        """
        Stage those of a row's addresses that differ from what is known.
        """
        for address in self._shown.to_stage(shown):
            self._add(address, walk)

    def show_known(self, walk: int) -> None:
        """
        Stage the addresses that were shown as the tables have them, and forget what these have.
        """
        for address in self._shown.as_known():
            self._add(address, walk)
        self.forget()

    def forget(self) -> None:
        """
        Forget what was shown, and what the tables have.
        """
        self._shown = ShownAddresses({})

    def show_formerly(self, address: Address, entry: int) -> None:
        """
        Stage an address of an entry in the cancelled listing, unless the listing shows it as known.

        Args:
            entry: The number of the entry's row.
        """
        if not self._shown.is_as_known(address.id):
            self._stage(address, OF_NO_WALK, BEFORE_ALL_WALKS + entry)

    def _add(self, address: Address, walk: int) -> None:
        self._seq += 1
        self._stage(address, walk, self._seq)

    def _stage(self, address: Address, walk: int, seq: int) -> None:
        values = msgspec.structs.astuple(address)
        digest = content_digest(address).hex()
        self._buffer.add(staged_addresses, (walk, seq, digest, *values))
