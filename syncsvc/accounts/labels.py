"""
Labels of accounts: `tier=gold`, for people to choose accounts by.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from syncsvc.errors import ConfigurationError
from syncsvc.settings.sources import from_utf8, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
LONGEST_VALUE = 200


def pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """
    Split words such as `tier=gold` at their first =; of two with one key, the last one counts.

    Raises:
        ConfigurationError: One has no =, or nothing before it.
    """
    found = {}
    for word in map(from_utf8, words):
        key, sign, value = word.partition("=")
        if not (key and sign):
            raise ConfigurationError(f"{option}: {shown(word)} is not KEY=VALUE.")
        found[key] = value
    return found


def validated(labels: Mapping[str, object], account: str) -> dict[str, str]:
    """
    Validate labels, and return them in order.

    Raises:
        ConfigurationError: One can't be printed and typed; it names the account.
    """
    found = {}
    for key, value in sorted(labels.items()):
        if not KEY.fullmatch(key):
            raise ConfigurationError(
                f"Account {account!r}: the label {shown(key)} is not a name; give 1 to 63 letters, "
                "digits, and . _ / - between them."
            )
        if not (isinstance(value, str) and value.isprintable() and len(value) <= LONGEST_VALUE):
            raise ConfigurationError(
                f"Account {account!r}: the label {key} has a value that is not printable text of "
                f"at most {LONGEST_VALUE} characters."
            )
        found[key] = value
    return found
