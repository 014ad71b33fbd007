"""
Extract the fields that the service does not know, and read any JSON exactly.
"""

from __future__ import annotations

from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from syncsvc.payloads import values

if TYPE_CHECKING:
    from collections.abc import Iterable

Shape: TypeAlias = "dict[str, Shape]"  # the known fields of an object, and of the objects in it

ADDRESS_PREFIXES = tuple(
    f"{place}{role}."
    for place in ("", "details.")
    for role in ("number_address", "emergency_number_address")
)
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
LEAST, MOST = -1000, 308  # exponents of a JSON number in an unknown field


class IgnoredFields:
    """
    Names of unknown fields that are left out, such as one that differs in every response.

    Args:
        names: As in `extra`, with a dot before a field of an inner object. The fields of an address
            are those of its object in the row, such as `number_address.floor`.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.in_row = frozenset(names)
        self.in_address = frozenset(
            name.removeprefix(prefix)
            for name in self.in_row
            for prefix in ADDRESS_PREFIXES
            if name.startswith(prefix)
        )


def read(raw: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """
    Read any JSON value, with every digit of its numbers.

    Raises:
        MsgspecError, ValueError, RecursionError: It can't be read or not be stored.
    """
    return ANYTHING.decode(raw)


def canonical(stored: str | None) -> str | None:
    """
    Return fields that a database stored as the text that `unknown_fields` returned for them.

    Numbers may differ from it, because PostgreSQL writes them in its own way.
    """
    return None if stored is None else CANONICAL.encode(read(stored.encode())).decode()


def unknown_fields(raw: bytes, shape: Shape, ignored: frozenset[str] = frozenset()) -> str | None:
    """
    Return an object's unknown fields as canonical JSON: equal content has equal text.

    Args:
        raw: The object.
        shape: Its known fields.
        ignored: Unknown fields to leave out.
    """
    rest = _unknown(read(raw), shape)
    if ignored:
        rest = _without(rest, ignored)
    return CANONICAL.encode(rest).decode() if rest else None


def _unknown(value: Any, shape: Shape) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    if not isinstance(value, dict):
        return {}
    rest = {key: item for key, item in value.items() if key not in shape}
    inside = {key: _unknown(value.get(key), inner) for key, inner in shape.items() if inner}
    return rest | {key: found for key, found in inside.items() if found}


def _without(value: Any, ignored: frozenset[str], prefix: str = "") -> Any:  # noqa: ANN401 - any JSON value
    """
    Leave ignored fields out; an object that has no others goes with them.
    """
    if isinstance(value, list):
        return [_without(item, ignored, prefix) for item in value]
    if not isinstance(value, dict):
        return value
    left = {
        key: (item, _without(item, ignored, f"{prefix}{key}."))
        for key, item in value.items()
        if f"{prefix}{key}" not in ignored
    }
    return {key: new for key, (old, new) in left.items() if new != {} or old == {}}


def _exact(text: str) -> Decimal:
    """
    Read a JSON number with all its digits.
    """
    try:
        number = Decimal(text)
    except DecimalException:
        number = Decimal("Infinity")
    if not number.is_finite() or (number and not LEAST < number.adjusted() <= MOST):
        raise ValueError(f"the number {values.quoted(text)} is beyond what can be stored")
    return number


ANYTHING = msgspec.json.Decoder(float_hook=_exact)
CANONICAL = msgspec.json.Encoder(order="sorted", decimal_format="number")
