"""
The provider's objects, field by field, as they are sent.

Amounts and addresses stay undecoded at first: few amounts differ, and one
address stands in many numbers, so that each is read once.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

NULL = msgspec.Raw(b"null")

Shape: TypeAlias = "dict[str, Shape]"  # the known fields of an object, with those inside


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
    What stands inside a number's `details`.
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


class GlancedDetails(msgspec.Struct, gc=False):
    """
    What stands inside a number's `details`, where only its addresses are wanted.
    """

    number_address: msgspec.Raw = NULL
    emergency_number_address: msgspec.Raw = NULL


class GlancedRow(msgspec.Struct, gc=False):
    """
    A number, where only its uuid and its addresses are wanted.
    """

    uuid: str
    details: GlancedDetails | None = None
    number_address: msgspec.Raw = NULL
    emergency_number_address: msgspec.Raw = NULL


class LooseCountry(SentCountry, forbid_unknown_fields=False):
    """
    The same, where there are fields that we do not know.
    """


class LooseAddress(SentAddress, forbid_unknown_fields=False, rename="camel"):
    """
    The same, where there are fields that we do not know.
    """

    address_country: LooseCountry | None = None


class LooseDetails(SentDetails, forbid_unknown_fields=False):
    """
    The same, where there are fields that we do not know.
    """


class LooseRow(SentRow, forbid_unknown_fields=False):
    """
    The same, where there are fields that we do not know.
    """

    details: LooseDetails | None = None


def shape_of(kind: type[msgspec.Struct], **nested: Shape) -> Shape:
    """
    The field names of an object, as sent.
    """
    names: Shape = {field.encode_name: {} for field in msgspec.structs.fields(kind)}
    return names | nested


ADDRESS_SHAPE = shape_of(SentAddress, addressCountry=shape_of(SentCountry))
ROW_SHAPE = shape_of(SentRow, details=shape_of(SentDetails))
