"""
Read the provider's single values: amounts, times, flags and ids.

Each function returns the value in the service's terms, or raises `ValueError` with the field, what
was sent and what is accepted.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

CENT = Decimal("0.0001")
AMOUNT_LIMIT = Decimal(10**8)
ID_LIMIT = 2**63

DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,9})?", re.ASCII)
INTEGER = re.compile(r"[+-]?\d{1,40}", re.ASCII)
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
STAMP = re.compile(r"[0-9]{4}[-0-9W]{3,6}([Tt ][0-9:.,]{2,21}([Zz]|[-+][0-9:]{2,8})?)?")
NO_STAMP = frozenset({"", "0000-00-00 00:00:00"})
ZERO_STAMP = re.compile(  # what MySQL and PHP make of it as a date, in ISO 8601, or calculated with
    r"(0000-00-00|-0001-11-30)([T ]00:00(:00([.,]0+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
QUOTED_LENGTH = 60  # characters of a value that an error repeats


def quoted(value: object) -> str:
    """
    Return a value as an error may repeat it: shortened, and in ASCII.
    """
    text = ascii(value)
    return text if len(text) <= QUOTED_LENGTH else f"{text[:QUOTED_LENGTH]}…"


def uuid(value: str) -> str:
    """
    Return a UUID in lower case.
    """
    if UUID.fullmatch(value) is None:
        raise ValueError(f"uuid: {quoted(value)} is not a UUID")
    return value.lower()


def amount(field: str, value: object) -> Decimal | None:
    """
    Return an amount of money, rounded half-even to 4 places; None if none was sent.
    """
    if value is None or value == "":
        return None
    try:
        rounded = _decimal(value).quantize(CENT)
    except DecimalException:
        rounded = None
    if rounded is None or abs(rounded) >= AMOUNT_LIMIT:
        raise ValueError(
            f"{field}: {quoted(value)} is not a decimal below 100000000 (numeric(12,4))"
        )
    return rounded + 0  # no negative zero


def _decimal(value: object) -> Decimal:
    if isinstance(value, Decimal | int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and DECIMAL.fullmatch(value):
        return Decimal(value)
    raise DecimalException


def moment(field: str, value: str | None, zone: tzinfo) -> datetime | None:
    """
    Return a timestamp in UTC; one without a time zone is taken to be in `zone`.

    Returns:
        None for every form of blank that the provider sends.
    """
    if not value or value in NO_STAMP or value.isspace():
        return None
    try:
        return _in_utc(value, zone)
    except (ValueError, OverflowError):
        if ZERO_STAMP.fullmatch(value):
            return None
        raise ValueError(
            f"{field}: {quoted(value)} is not a time such as 2016-01-03 17:48:59 or ISO 8601"
        ) from None


@lru_cache(maxsize=1024)  # rows repeat timestamps, and many numbers are ordered together
def _in_utc(value: str, zone: tzinfo) -> datetime:
    if STAMP.fullmatch(value) is None:
        raise ValueError
    stamp = datetime.fromisoformat(value.upper())
    if stamp.tzinfo is None:
        stamp = datetime.combine(stamp, stamp.time(), zone)  # in a fifth of the time of `replace`
    return stamp.astimezone(UTC)


def flag(field: str, value: bool | int | None) -> bool | None:  # noqa: FBT001 - the value to read
    """
    Return a flag, which may be sent as 0 or 1.
    """
    if value is None or isinstance(value, bool):
        return value
    if value not in {0, 1}:
        raise ValueError(f"{field}: {quoted(value)} is neither true, false, 0 nor 1")
    return bool(value)


def identity(field: str, value: int | str | None) -> int:
    """
    Return an id: an integer within 64 bits, sent as number or text.
    """
    if isinstance(value, str) and INTEGER.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or not -ID_LIMIT <= value < ID_LIMIT:
        raise ValueError(f"{field}: {quoted(value)} is not an integer within 64 bits")
    return value


def result_count(value: object) -> int | None:
    """
    Return a size such as `num_results`; None if it is no such number.
    """
    match value:
        case str() if INTEGER.fullmatch(value):
            value = int(value)
        case Decimal() if value == value.to_integral_value():  # PHP may send 450.0
            value = int(value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < ID_LIMIT
    return value if is_count else None  # type: ignore[return-value] # narrowed in is_count


def yes_or_no(value: object) -> bool | None:
    """
    Return a flag such as `paginates`; None if it is neither yes nor no.
    """
    return bool(value) if value in (True, False, 0, 1) and isinstance(value, int) else None
