"""
Validate and convert single settings, as written in a variable or a file.

The text of a ValueError completes a sentence that begins with the value, such
as "'ftp://x' is not an http address", and never repeats the value. Values of
another type are returned unchanged, for pydantic to refuse.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import SecretStr

from syncsvc.settings.crontab import Crontab

if TYPE_CHECKING:
    from urllib.parse import SplitResult

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
LONGEST_INTERVAL = timedelta(days=365)
LONGEST_ACCOUNT = 100
LONGEST_HOST = 253
FERNET_KEY = re.compile(r"[A-Za-z0-9_+/-]{42}[AEIMQUYcgkosw048]=")  # 32 bytes in base64


def whole(value: object) -> object:
    """
    Convert text to a whole number.
    """
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"-?\d{1,18}", value.strip(), re.ASCII):
        raise ValueError("is not a whole number")
    return int(value)


def decimal(value: object) -> object:
    """
    Convert text to a number; exponents and "nan" are refused.
    """
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"-?\d{1,18}(\.\d{1,18})?", value.strip(), re.ASCII):
        raise ValueError("is not a number")
    return float(value)


def flag(value: object) -> object:
    """
    Convert the usual spellings of true and false to a boolean.
    """
    ways = {"true": True, "1": True, "yes": True, "on": True}
    ways |= {"false": False, "0": False, "no": False, "off": False}
    return ways.get(str(value).strip().lower(), value)


def lower(value: object) -> object:
    """
    Convert text to lower case, for settings in which case does not matter.
    """
    return value.lower() if isinstance(value, str) else value


def interval(value: object) -> object:
    """
    Convert an interval such as 90s, 15m, 6h or 1d to a timedelta.
    """
    if not isinstance(value, str):
        return _acceptable(value)
    written = re.fullmatch(r"(\d{1,9})([dhms])", value.strip(), re.ASCII)
    if written is None:
        raise ValueError("is not an interval")
    return _acceptable(timedelta(seconds=int(written[1]) * UNITS[written[2]]))


def _acceptable(length: object) -> timedelta:
    if not isinstance(length, timedelta):
        raise ValueError("is not an interval")  # noqa: TRY004 - pydantic collects ValueErrors only
    if not timedelta(seconds=1) <= length <= LONGEST_INTERVAL:
        raise ValueError("is too short or too long")
    return length


def interval_text(length: timedelta) -> str:
    """
    Format an interval in the largest unit that keeps it exact.
    """
    seconds = int(length.total_seconds())
    unit = next(unit for unit, size in UNITS.items() if seconds % size == 0)
    return f"{seconds // UNITS[unit]}{unit}"


def schedule(value: str) -> str:
    """
    Validate an interval, or a five-field crontab that comes due.
    """
    text = value.strip()
    if is_interval(text):
        interval(text)
        return text
    Crontab(text)
    return text


def is_interval(schedule: str) -> bool:
    """
    Return whether a schedule is meant as an interval: a crontab has several fields.
    """
    return len(schedule.split()) == 1


def timezone(value: str) -> str:
    """
    Validate the name of a time zone that this machine or the tzdata package knows.
    """
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is not a known time zone") from None
    return value


def account(value: str) -> str:
    """
    Validate a name that can be printed and typed.
    """
    if not 1 <= len(value) <= LONGEST_ACCOUNT:
        raise ValueError("is empty or too long")
    if not value.isprintable() or value != value.strip():
        raise ValueError("has white space at an end, or unprintable characters")
    return value


def currency(value: object) -> object:
    """
    Convert a currency code to upper case.
    """
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"[A-Za-z]{3}", value.strip(), re.ASCII):
        raise ValueError("is not an ISO 4217 currency code")
    return value.strip().upper()


def host(value: str) -> str:
    """
    Validate a host name or an IP address.
    """
    if not _is_host(value):
        raise ValueError("is neither a host name nor an IP address")
    return value


def _is_host(text: str) -> bool:
    return _is_address(text) or _is_host_name(text)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_host_name(text: str) -> bool:
    """
    Match labels of letters, digits, hyphens and underscores; the last is not a number.
    """
    label = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    named = re.fullmatch(rf"({label}\.)*(?!\d+$){label}", text)
    return named is not None and len(text) <= LONGEST_HOST


def is_loopback(address: str) -> bool:
    """
    Return whether a web address is on this machine.
    """
    name = urlsplit(address).hostname or ""
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def api_url(value: str) -> str:
    """
    Validate a web address, and remove slashes at its end.
    """
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError("is empty or has characters that are not visible ASCII")
    parts = _parts(value)
    if parts.scheme not in {"http", "https"}:
        raise ValueError("is not an http or https address")
    if "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError("has a user name, a password, a query or a fragment")
    if not _is_host(parts.hostname or ""):
        raise ValueError("has no valid host")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _parts(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ValueError("is not a valid address") from None
    if port == 0:
        raise ValueError("has port 0")
    return parts


def credential(value: object) -> object:
    """
    Validate a secret that is sent in a header, which a newline in it would end.
    """
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and not re.fullmatch(r"[!-~]+", text):
        raise ValueError("is empty or has white space or characters that are not visible ASCII")
    return value


def sealing_keys(value: object) -> object:
    """
    Validate Fernet keys, one a line; a line without one is named by its number alone.
    """
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        return value
    if not text.strip():
        raise ValueError("is empty")
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not re.fullmatch(FERNET_KEY, line.strip()):
            raise ValueError(f"has no Fernet key on line {number}")
    return value


def directory(value: object) -> object:
    """
    Validate the path of a directory, which may not exist yet.
    """
    if isinstance(value, str) and not (value and value.isprintable()):
        raise ValueError("is empty or has unprintable characters")
    return value


def field_names(value: object) -> object:
    """
    Split names of fields at commas; TOML may have them as a list.
    """
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise ValueError("is neither text nor a list of texts")
    names = [name.strip() for name in value]
    if not names or not all(names):
        raise ValueError("has an empty name")
    if not all(map(str.isprintable, names)):
        raise ValueError("has unprintable characters")
    return tuple(dict.fromkeys(names))
