"""
The Arrow source made by hand: decoded as the limit decodes, numbers and addresses apart.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
from bench_tasks import COLUMNS, PAGE_SIZE, decode, flat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench_tasks import Address

ROWS_AT_ONCE = 50 * PAGE_SIZE
MONEY, MOMENT = pa.decimal128(12, 4), pa.timestamp("us")
TYPES = {name: pa.string() for name in COLUMNS.split(", ")} | {
    "monthly_charge": MONEY,
    "setup_charge": MONEY,
    "provisioned": MOMENT,
    "details_provisioned": MOMENT,
    "number_address_id": pa.int64(),
    "emergency_number_address_id": pa.int64(),
}
SENT_AS = {MONEY: pa.float64(), MOMENT: pa.string()}  # and cast, column by column
ADDRESS_TYPES = {
    "id": pa.int64(),
    "name": pa.string(),
    "use_for_proof_of_address": pa.bool_(),
    "use_for_emergency_address": pa.bool_(),
    "address_line1": pa.string(),
    "address_line2": pa.string(),
    "address_city": pa.string(),
    "address_region": pa.string(),
    "address_postal_code": pa.string(),
    "country_name": pa.string(),
    "country_iso": pa.string(),
}
Rows = list[tuple[Any, ...]]


def table(rows: Rows, types: dict[str, Any], *, hashed: bool) -> Any:
    """
    Rows as a table; hashed, with a digest of each, by which dlt tells a new version.
    """
    columns = {
        name: pa.array(values, SENT_AS.get(kind, kind)).cast(kind)
        for (name, kind), values in zip(types.items(), zip(*rows, strict=True), strict=True)
    }
    if hashed:
        columns["row_hash"] = pa.array(map(digest, rows), pa.string())
    return pa.table(columns)


def digest(row: tuple[Any, ...]) -> str:
    """
    The same for the same row, in every run.
    """
    return hashlib.blake2b(msgspec.json.encode(row), digest_size=16).hexdigest()


def flat_address(address: Address) -> tuple[Any, ...]:
    """
    An address as a table has it.
    """
    *own, country = msgspec.structs.astuple(address)
    return (*own, country.name, country.iso)


class Walk:
    """
    One walk over the listing; the addresses are there when the numbers were read.
    """

    def __init__(self, url: str, *, hashed: bool) -> None:
        self._url = url
        self._hashed = hashed
        self._addresses: dict[int, Address] = {}

    def numbers(self) -> Iterator[Any]:
        """
        The numbers, 10,000 in a table.
        """
        some: Rows = []
        for rows in decode(self._url):
            for row in rows:
                for each in (row.details.number_address, row.details.emergency_number_address):
                    self._addresses[each.id] = each
                some.append(flat(row))
            if len(some) >= ROWS_AT_ONCE:
                yield table(some, TYPES, hashed=self._hashed)
                some = []
        if some:
            yield table(some, TYPES, hashed=self._hashed)

    def addresses(self) -> Iterator[Any]:
        """
        Each address once.
        """
        rows = [flat_address(each) for each in self._addresses.values()]
        yield table(rows, ADDRESS_TYPES, hashed=self._hashed)
