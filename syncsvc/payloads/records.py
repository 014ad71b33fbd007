"""
What one listing page says, in the service's own terms.

The fields of `Number` and `Address` bear the names of the tables' columns and
stand in the order in which they are staged.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - msgspec reads the annotations
from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from decimal import Decimal  # noqa: TC003 - msgspec reads the annotations

import msgspec


class Address(msgspec.Struct, frozen=True, gc=False):
    """
    An address as the provider sent it, at a number.

    Attributes:
        id: The provider's id, within 64 bits.
        extra: Fields that this version does not know, as canonical JSON.
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
    A number as its row in a listing shows it.

    Attributes:
        uuid: Lower case, with hyphens.
        lifecycle: `cancelled` if the status says so. Whether a stamp beside another status
            cancels the number is decided later.
        monthly_charge: With 4 places.
        provisioned_at: Aware UTC, as every time here.
        extra: Fields that this version does not know, as canonical JSON.
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
        uuid: The number's uuid, where at least that could be read.
        reason: The field, what was wrong with it, what is accepted.
        payload: The row as sent (JSON text).
    """

    uuid: str | None
    reason: str
    payload: str


class Unchanged(msgspec.Struct, frozen=True, gc=False):
    """
    A row that is byte for byte as it was when the tables were made to agree with it.
    """

    uuid: str
    addresses: tuple[Address, ...]


class Page(msgspec.Struct, frozen=True):
    """
    One page of a listing.

    Attributes:
        rows: In the order sent.
        fingerprints: Of the rows, in the same order; none where they are not wanted.
        num_results: What the provider says of the listing's size, where it is a count.
        paginates: Whether it says that there are more pages, where it says.
    """

    rows: Sequence[Number | Reject | Unchanged]
    num_results: int | None
    paginates: bool | None
    fingerprints: list[int] = []
