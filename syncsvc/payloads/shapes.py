"""
The provider's objects, field by field, as sent.

Amounts and addresses are decoded later, through a cache: there are few different amounts, and many
numbers have the same address.

PHP has one type for lists and objects, so an object without members arrives as `[]`; `false` and
`""` stand for a value that is not there; text of digits arrives as a number. Only rows that do not
have the documented types are repaired, so that all others are decoded at full speed.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from syncsvc.payloads import extra_fields

if TYPE_CHECKING:
    from syncsvc.payloads.extra_fields import Shape

NULL = msgspec.Raw(b"null")


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


def repaired(raw: bytes, documented: Any) -> bytes:  # noqa: ANN401 - a type, or a union of types
    """
    Return a JSON value with the types that are documented, as far as PHP's habits explain others.

    Raises:
        MsgspecError, ValueError, RecursionError: It is not JSON, or has a number beyond limits.
    """
    return extra_fields.CANONICAL.encode(_repair(extra_fields.read(raw), documented))


def _repair(value: Any, documented: Any) -> Any:  # noqa: ANN401 - any JSON value
    types = get_args(documented) or (documented,)
    fields = next(filter(None, map(_fields, types)), None)
    if fields is not None and isinstance(value, dict):
        return {key: _repair(item, fields.get(key, Any)) for key, item in value.items()}
    if _is_nothing(value, types, is_object=fields is not None):
        return None
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if is_number and str in types and int not in types:
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    return value


def _is_nothing(value: Any, types: tuple[Any, ...], *, is_object: bool) -> bool:  # noqa: ANN401 - any JSON value
    """
    Whether a value is how PHP sends that an optional object or flag is not there.
    """
    if NoneType not in types:
        return False
    if is_object:
        return value is False or value == []
    return value == "" and bool in types


@cache
def _fields(kind: Any) -> dict[str, Any] | None:  # noqa: ANN401 - a type
    """
    The types of an object's fields, by their names in JSON; None if the type is no object.
    """
    if not isinstance(kind, type) or not issubclass(kind, msgspec.Struct):
        return None
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
