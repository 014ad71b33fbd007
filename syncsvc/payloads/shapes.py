"""
The provider's objects, field by field, as sent.

Amounts and addresses are decoded later, through a cache: there are few different amounts, and many
numbers have the same address.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

NULL = msgspec.Raw(b"null")

Shape: TypeAlias = "dict[str, Shape]"  # the known fields of an object, and of the objects in it


class SentCountry(msgspec.Struct, forbid_unknown_fields=True):
    """
    The country of an address.
    """

    name: str | None = None
    iso: str | None = None


class SentAddress(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """
    An address.
    """

    id: int | str | None = None
    name: str | None = None
    use_for_proof_of_address: bool | int | None = None
    use_for_emergency_address: bool | int | None = None
    address_line1: str | None = None
    address_line2: str | None = None
    address_city: str | None = None
    address_region: str | None = None
    address_postal_code: str | None = None
    address_country: SentCountry | None = None


class SentDetails(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """
    A number's `details`.
    """

    status: str | None = None
    provisioned: str | None = None
    cancelled: str | None = None
    number_address: msgspec.Raw = NULL
    emergency_number_address: msgspec.Raw = NULL


class SentRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """
    A number.
    """

    uuid: str
    number_e164: str
    number: str | None = None
    range_code: str | None = None
    range_name: str | None = None
    country_code: str | None = None
    country_name: str | None = None
    country_iso: str | None = None
    monthly_charge: msgspec.Raw = NULL
    setup_charge: msgspec.Raw = NULL
    status: str | None = None
    details: SentDetails | None = None
    provisioned: str | None = None
    cancelled: str | None = None
    number_address: msgspec.Raw = NULL
    emergency_number_address: msgspec.Raw = NULL


class ShortDetails(msgspec.Struct, gc=False):
    """
    The addresses in a number's `details`.
    """

    number_address: msgspec.Raw = NULL
    emergency_number_address: msgspec.Raw = NULL


class ShortRow(msgspec.Struct, gc=False):
    """
    The uuid and the addresses of a number: all that is read of an unchanged row.
    """

    uuid: str
    details: ShortDetails | list[None] | bool | None = None  # PHP sends [] or false for no object
    number_address: msgspec.Raw = NULL
    emergency_number_address: msgspec.Raw = NULL


class LooseCountry(SentCountry, forbid_unknown_fields=False):
    """
    A country with fields that we do not know.
    """


class LooseAddress(SentAddress, forbid_unknown_fields=False, rename="camel"):
    """
    An address with fields that we do not know.
    """

    address_country: LooseCountry | None = None


class LooseDetails(SentDetails, forbid_unknown_fields=False):
    """
    `details` with fields that we do not know.
    """


class LooseRow(SentRow, forbid_unknown_fields=False):
    """
    A number with fields that we do not know.
    """

    details: LooseDetails | None = None


def shape_of(kind: type[msgspec.Struct], **nested: Shape) -> Shape:
    """
    Return the field names of an object, as sent.
    """
    names: Shape = {field.encode_name: {} for field in msgspec.structs.fields(kind)}
    return names | nested


ADDRESS_SHAPE = shape_of(SentAddress, addressCountry=shape_of(SentCountry))
ROW_SHAPE = shape_of(SentRow, details=shape_of(SentDetails))
