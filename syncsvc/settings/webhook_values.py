"""
Validate what an endpoint of webhooks is made of: its address, patterns and secrets.

The text of a ValueError completes a sentence that begins with the field's name.
"""

from __future__ import annotations

import base64
import re
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from syncsvc.settings.values import api_url

if TYPE_CHECKING:
    from collections.abc import Callable

NAT64 = IPv6Network("64:ff9b::/96")
SECRET_SIZES = (24, 64)  # bytes of a signing secret, by Standard Webhooks


def webhook_url(value: str) -> str:
    """
    Validate the web address of an endpoint, which may have a query.
    """
    address, _, query = value.partition("?")
    if not re.fullmatch(r"[!-~]*", query) or "#" in query:
        raise ValueError("has a fragment, or characters that are not visible ASCII")
    path = "/" if address.endswith("/") else ""
    return api_url(address) + path + ("?" + query if query else "")


def patterns(value: object) -> object:
    """
    Convert a list of patterns, or a single one, to a tuple.
    """
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        return value
    if not all(each.strip() and each.isprintable() for each in value):
        raise ValueError("has an empty pattern, or characters that can't be printed")
    return tuple(dict.fromkeys(value))


def patterns_of(words: tuple[str, ...]) -> Callable[[object], object]:
    """
    Return a validator of patterns of which each matches some of these words.
    """

    def validated(value: object) -> object:
        found = patterns(value)
        if isinstance(found, tuple):
            for pattern in found:
                if not any(fnmatchcase(word, pattern) for word in words):
                    raise ValueError(f"has {pattern!r}, which matches no type of event")
        return found

    return validated


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """
    Return whether an address is one of the public internet, also one that is wrapped in IPv6.
    """
    inner = _wrapped(address)
    return is_public(inner) if inner is not None else address.is_global and not address.is_multicast


def is_private(address: IPv4Address | IPv6Address) -> bool:
    """
    Return whether an address is one of a private network, or this machine.

    Link-local addresses, under which clouds serve credentials, are neither private nor public.
    """
    inner = _wrapped(address)
    if inner is not None:
        return is_private(inner)
    other = address.is_link_local or address.is_multicast or address.is_unspecified
    return address.is_loopback or (address.is_private and not other and not address.is_reserved)


def _wrapped(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """
    Return the IPv4 address that an IPv6 address stands for.
    """
    if isinstance(address, IPv4Address):
        return None
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def is_webhook_secret(text: str) -> bool:
    """
    Return whether a text is a signing secret of Standard Webhooks: whsec_ and 24 to 64 bytes.
    """
    try:
        size = len(base64.b64decode(text.removeprefix("whsec_"), validate=True))
    except ValueError:
        return False
    return text.startswith("whsec_") and SECRET_SIZES[0] <= size <= SECRET_SIZES[1]
