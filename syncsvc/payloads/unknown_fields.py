"""
Extract the fields that the service does not know, and read any JSON exactly.
"""

from __future__ import annotations

from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.payloads import values

if TYPE_CHECKING:
    from syncsvc.payloads.shapes import Shape

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
LEAST, MOST = -1000, 308  # exponents of a JSON number in an unknown field


def read(raw: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """
    Read any JSON value, with every digit of its numbers.

    Raises:
        MsgspecError, ValueError, RecursionError: It can't be read or not be stored.
    """
    return ANYTHING.decode(raw)


def unknown_fields(raw: bytes, shape: Shape) -> str | None:
    """
    Return an object's unknown fields as canonical JSON: equal content has equal text.
    """
    rest = _unknown(read(raw), shape)
    return CANONICAL.encode(rest).decode() if rest else None


def _unknown(value: Any, shape: Shape) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    if not isinstance(value, dict):
        return {}
    rest = {key: item for key, item in value.items() if key not in shape}
    inside = {key: _unknown(value.get(key), inner) for key, inner in shape.items() if inner}
    return rest | {key: found for key, found in inside.items() if found}


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
