"""
Prepared pages: a listing written to a file once, so that serving it costs next to nothing.

The rows look like the one that the provider documents, with both addresses. A
hundred numbers share an office.
"""

from __future__ import annotations

from array import array
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE_SIZE = 200
GONE = 500  # of each thousand, in a changed listing
NUMBERS_OF_OFFICE = 100

ADDRESS = (
    b'{"id":%d,"name":"Office %d","useForProofOfAddress":%s,"useForEmergencyAddress":%s,'
    b'"addressLine1":"%d Alexander Road","addressLine2":"","addressCity":"London",'
    b'"addressRegion":"London","addressPostalCode":"NW2 1AA",'
    b'"addressCountry":{"name":"United Kingdom","iso":"GB"}}'
)
ROW = (
    b'{"uuid":"%08x-6bce-4b2f-9d5d-%012x","number_e164":"+441245%07d","number":"%07d",'
    b'"range_code":"1245","range_name":"Chelmsford","country_code":"44",'
    b'"country_name":"United Kingdom","country_iso":"UK","monthly_charge":%s,"setup_charge":0,'
    b'"status":"Reserved","details":{"status":"Reserved","provisioned":"%s","cancelled":"",'
    b'"number_address":%s,"emergency_number_address":%s},"provisioned":"%s"}'
)
MIXED = 2654435761  # odd, so that uuids come in no order and none twice


def row(place: int, charge: bytes = b"0.3") -> bytes:
    """
    The number at a place, as the provider would send it.
    """
    office = place // NUMBERS_OF_OFFICE * 2
    address = ADDRESS % (office, office, b"true", b"false", office)
    emergency = ADDRESS % (office + 1, office + 1, b"false", b"true", office)
    mixed = place * MIXED % 2**32
    clock = (mixed // 3600 % 24, mixed // 60 % 60, mixed % 60)
    stamp = b"2018-%02d-%02d %02d:%02d:%02d" % (place % 12 + 1, place % 28 + 1, *clock)
    return ROW % (mixed, place, place, place, charge, stamp, address, emergency, stamp)


def rows(size: int, *, changed: bool) -> Iterator[bytes]:
    """
    The listing's rows; `changed` has 1 % of them changed and 0.1 % gone.
    """
    for place in range(size):
        if not changed:
            yield row(place)
        elif place % 1000 != GONE:
            yield row(place, b"0.45" if place % 100 == 1 else b"0.3")


def bodies(size: int, *, changed: bool) -> Iterator[bytes]:
    """
    The listing's pages, as they are answered.
    """
    total = size - (size - GONE + 999) // 1000 if changed else size
    sent, listing = 0, rows(size, changed=changed)
    while some := list(islice(listing, PAGE_SIZE)):
        sent += len(some)
        more = b"true" if sent < total else b"false"
        body = b'{"numbers":[%s],"num_results":%d,"paginates":%s}'
        yield body % (b",".join(some), total, more)


def prepare(directory: Path, size: int, *, changed: bool = False) -> Path:
    """
    Write a listing's pages to a file, unless they are there, and their offsets beside it.
    """
    path = directory / f"{size}-{'changed' if changed else 'first'}.pages"
    index = path.with_suffix(".index")
    if index.exists() and _begins_with(path, next(bodies(size, changed=changed))):
        return path
    offsets = array("Q", [0])
    with path.open("wb") as pages:
        for body in bodies(size, changed=changed):
            offsets.append(offsets[-1] + pages.write(body))
    index.write_bytes(offsets.tobytes())
    return path


def _begins_with(path: Path, body: bytes) -> bool:
    """
    Whether a file holds the pages of today: those of another version begin otherwise.
    """
    with path.open("rb") as pages:
        return pages.read(len(body)) == body
