"""
The records of one listing page.

The fields of `Number` and `Address` have the names of the tables' columns and the order in which
they are staged.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - msgspec reads the annotations
from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from decimal import Decimal  # noqa: TC003 - msgspec reads the annotations

import msgspec

from syncsvc.payloads.fingerprint import KnownPage, page_identity
from syncsvc.vocabulary import Lifecycle


class Address(msgspec.Struct, frozen=True, gc=False):
    """
    An address, as the row of a number has it.

    Attributes:
        id: The provider's id, within 64 bits.
        extra: Unknown fields, as canonical JSON.
    """

    id: int
    name: str | None
    use_for_proof_of_address: bool | None
    use_for_emergency_address: bool | None
    address_line1: str | None
    address_line2: str | None
    address_city: str | None
    address_region: str | None
    address_postal_code: str | None
    country_name: str | None
    country_iso: str | None
    extra: str | None


class Number(msgspec.Struct, frozen=True, gc=False):
    """
    A number, as its row in a listing has it.

    Attributes:
        uuid: Lower case, with hyphens.
        lifecycle: `cancelled` if the status says so. Whether a stamp beside another status
            cancels the number is decided later.
        monthly_charge: With 4 places.
        provisioned_at: Aware UTC, as every time here.
        extra: Unknown fields, as canonical JSON.
    """

    uuid: str
    number_e164: str
    number: str | None
    range_code: str | None
    range_name: str | None
    country_code: str | None
    country_name: str | None
    country_iso: str | None
    country_alpha2: str | None
    lifecycle: str
    status: str | None
    monthly_charge: Decimal | None
    setup_charge: Decimal | None
    provisioned_at: datetime | None
    cancelled_at: datetime | None
    number_address_id: int | None
    emergency_number_address_id: int | None
    details_status: str | None
    details_provisioned_at: datetime | None
    extra: str | None
    addresses: tuple[Address, ...]


class Reject(msgspec.Struct, frozen=True):
    """
    A row that could not be read.

    Attributes:
        uuid: The number's uuid; None if that could not be read either.
        reason: The field, what is wrong with it and what is accepted.
        payload: The row as sent (JSON text).
    """

    uuid: str | None
    reason: str
    payload: str


class Unchanged(msgspec.Struct, frozen=True, gc=False):
    """
    A row with the same bytes as when it was last stored.

    Attributes:
        slot: The place of its fingerprint among the known ones.
    """

    uuid: str
    slot: int
    addresses: tuple[Address, ...]


class Page(msgspec.Struct, frozen=True):
    """
    One page of a listing.

    Attributes:
        rows: In the order sent.
        fingerprints: Of the rows, in the same order; empty if they were not asked for.
        digest: Of the rows as sent; None if it was not asked for.
        known: The same page of an earlier listing; then the rows were not decoded.
        num_results: The size of the listing; None if the page has no such number.
        paginates: Whether there are more pages; None if the page does not say.
    """

    rows: Sequence[Number | Reject | Unchanged]
    num_results: int | None
    paginates: bool | None
    fingerprints: list[int] = []
    digest: bytes | None = None
    known: KnownPage | None = None

    @property
    def length(self) -> int:
        """
        Return the number of rows, decoded or not.
        """
        return self.known.rows if self.known else len(self.rows)

    @property
    def identity(self) -> bytes:
        """
        Return what the page has in common with its repetition in another order.
        """
        return self.known.identity if self.known else page_identity(map(_name, self.rows))


def _name(row: Number | Reject | Unchanged) -> str:
    return row.uuid or row.payload if isinstance(row, Reject) else row.uuid


def is_live_entry(row: Number | Reject | Unchanged) -> bool:
    """
    Return whether an entry of the cancelled listing is of a live number: another status, no stamp.

    A host may answer with its usual listing there, which must not cancel what that listing lacks.
    """
    if not isinstance(row, Number) or row.lifecycle == Lifecycle.CANCELLED or row.cancelled_at:
        return False
    return bool(row.status and not row.status.isspace())
