from __future__ import annotations

import json
from datetime import UTC
from hashlib import sha256
from inspect import getmembers, isclass
from typing import TYPE_CHECKING

import msgspec

from support.build import address, number_row, uuid_at
from syncsvc.payloads import shapes
from syncsvc.payloads.decode_page import read_page
from syncsvc.payloads.fingerprint import READER_VERSION
from syncsvc.payloads.records import Address, Number

if TYPE_CHECKING:
    from collections.abc import Iterator

# A digest of the reader for each of its versions. If the test below fails, raise `READER_VERSION`
# and add the new digest, so that the next run decodes every row once more.
DIGESTS = {
    2: "76df84f5d835ced74a199d2cea546955bd4c8edf2cffe171f17ab8bc9616fcd9",
}

SAMPLES = (
    number_row(1, number_address=address(), emergency_number_address=address("2", extra="a")),
    number_row(2, details={"cancelled": "2020-02-29 12:00:00"}, monthly_charge=1.23456),
    number_row(3, provisioned="2016-01-03T17:48:59+02:00", status=" CANCELLED ", unknown={"a": 1}),
    number_row(4, country_iso="DEU", setup_charge=None, details={"unknown": [1.50]}),
    number_row(5, number_e164=" "),
    number_row(6, number_e164="4" * 65),
    number_row(7, number=7, monthly_charge="", number_address=address(addressCountry=[])),
    {"uuid": uuid_at(8), "number_e164": 44, "details": False},
)


def reader() -> Iterator[str]:
    """
    All that decides how a row is read: the fields and their types, and the records of samples.
    """
    structs: list[type[msgspec.Struct]] = [
        kind for _, kind in getmembers(shapes, isclass) if issubclass(kind, msgspec.Struct)
    ]
    structs += [Number, Address]
    for kind in structs:
        for field in msgspec.structs.fields(kind):
            yield f"{kind.__name__}.{field.name}: {field.encode_name} {field.type}"
    page = read_page(json.dumps({"numbers": SAMPLES}).encode(), UTC)
    yield from map(repr, page.rows)


def test_another_reader_has_another_version() -> None:
    """
    Fields, types and records are those for which this version of the reader stands.
    """
    digest = sha256("\n".join(reader()).encode()).hexdigest()

    assert DIGESTS[READER_VERSION] == digest
