"""
Read what a PHP program sends in place of the documented types.

PHP has one type for lists and objects, so an object without members arrives as `[]`; `false` and
`""` stand for a value that is not there; text of digits arrives as a number. Only rows that do not
have the documented types are repaired, so that all others are decoded at full speed.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from types import NoneType
from typing import Any, get_args

import msgspec

from syncsvc.payloads import unknown_fields


def repaired(raw: bytes, documented: Any) -> bytes:  # noqa: ANN401 - a type, or a union of types
    """
    Return a JSON value with the types that are documented, as far as PHP's habits explain others.

    Raises:
        MsgspecError, ValueError, RecursionError: It is not JSON, or has a number beyond limits.
    """
    return unknown_fields.CANONICAL.encode(_repair(unknown_fields.read(raw), documented))


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
