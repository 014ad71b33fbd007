"""
Take a JSON text apart without recursion, where the parser gives up.

A row that is nested too deeply, or bears half of a surrogate pair, makes the
parser refuse the page that it stands on. Cutting the page into its rows first
keeps the fault with its row. Only brackets, strings and separators are looked
at; whether a piece is JSON is for the caller to find out.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]', re.DOTALL)


def elements(text: str) -> Iterator[str]:
    """
    The elements of a JSON array, each as it stands in the text.
    """
    return (value for _key, value in _pieces(text))


def members(text: str) -> dict[str, str]:
    """
    The members of a JSON object, each value as it stands in the text.
    """
    return {json.loads(key): value for key, value in _pieces(text) if key.startswith('"')}


def is_json(text: str) -> bool:
    """
    Whether a text is JSON (RFC 8259), half surrogates and any depth included.
    """
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str, parse_float=str)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """
    What stands between the outermost commas, as (text before the colon, value).
    """
    depth = start = 0
    key = ""
    is_open = False  # a comma wants another piece
    for token in TOKEN.finditer(text):
        mark = token[0]
        if depth == 1 and mark == ":":
            key, start = text[start : token.start()].strip(), token.end()
        elif depth == 1 and mark in ",]}":
            value = text[start : token.start()].strip()
            if value:
                yield key, value
            elif mark == "," or is_open:
                raise ValueError("There is a comma too many.")
            key, start, is_open = "", token.end(), mark == ","
        if mark in "[{":
            depth += 1
            start = token.end() if depth == 1 else start
        elif mark in "]}":
            depth -= 1
    if depth:
        raise ValueError("The text ends before its brackets do.")


def _refuse(constant: str) -> None:
    raise ValueError(constant)
