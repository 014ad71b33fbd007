"""
Decode a number's addresses, once for all numbers that have the same.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from syncsvc.payloads import extra_fields, values
from syncsvc.payloads.records import Address
from syncsvc.payloads.shapes import ADDRESS_SHAPE, LooseAddress, SentAddress, SentCountry, repaired

ADDRESS = msgspec.json.Decoder(SentAddress | None)
LOOSE_ADDRESS: msgspec.json.Decoder[LooseAddress | None] = msgspec.json.Decoder(LooseAddress | None)


class Addresses(msgspec.Struct, frozen=True):
    """
    The addresses of a number; its row's own win over those in `details`.
    """

    number_address_id: int | None
    emergency_number_address_id: int | None
    addresses: tuple[Address, ...]


@lru_cache(maxsize=2048)
def read_addresses(
    own: bytes,
    inside: bytes,
    own_emergency: bytes,
    inside_emergency: bytes,
    ignored: frozenset[str],
) -> Addresses:
    """
    Read a number's two addresses, once for all numbers with the same two.
    """
    address = _read_either("number_address", own, inside, ignored)
    emergency = _read_either("emergency_number_address", own_emergency, inside_emergency, ignored)
    return Addresses(
        number_address_id=address.id if address else None,
        emergency_number_address_id=emergency.id if emergency else None,
        addresses=tuple(filter(None, (address, emergency))),
    )


def _read_either(field: str, own: bytes, inside: bytes, ignored: frozenset[str]) -> Address | None:
    in_details = _read_address(field, inside, ignored)
    return _read_address(field, own, ignored) or in_details


@lru_cache(maxsize=2048)
def _read_address(field: str, raw: bytes, ignored: frozenset[str]) -> Address | None:
    """
    Read an address, once for all numbers that have it.
    """
    try:
        sent, rest = _decode_address(raw, ignored)
    except msgspec.ValidationError as exc:
        raise ValueError(f"{field}: {exc}") from None
    if sent is None:
        return None
    country = sent.address_country or SentCountry()
    return Address(
        id=values.identity(f"{field}.id", sent.id),
        name=sent.name,
        use_for_proof_of_address=values.flag(field, sent.use_for_proof_of_address),
        use_for_emergency_address=values.flag(field, sent.use_for_emergency_address),
        address_line1=sent.address_line1,
        address_line2=sent.address_line2,
        address_city=sent.address_city,
        address_region=sent.address_region,
        address_postal_code=sent.address_postal_code,
        country_name=country.name,
        country_iso=country.iso,
        extra=rest,
    )


def _decode_address(raw: bytes, ignored: frozenset[str]) -> tuple[SentAddress | None, str | None]:
    try:
        return ADDRESS.decode(raw), None
    except msgspec.ValidationError:
        return _decode_address_loosely(raw), extra_fields.unknown_fields(
            raw, ADDRESS_SHAPE, ignored
        )


def _decode_address_loosely(raw: bytes) -> SentAddress | None:
    try:
        return LOOSE_ADDRESS.decode(raw)
    except msgspec.ValidationError:
        return LOOSE_ADDRESS.decode(repaired(raw, SentAddress | None))
