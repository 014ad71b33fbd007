"""
Split a JSON array or object into its elements without parsing them.

The parser refuses a whole page if one row is nested too deeply or has half of a surrogate pair.
Splitting the page first confines the fault to its row. Only brackets, strings and separators are
looked at; the caller has to check that each piece is JSON.
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
    Yield the elements of a JSON array, each as it is in the text.
    """
    return (value for _key, value in _pieces(text))


def members(text: str) -> dict[str, str]:
    """
    Return the members of a JSON object, each value as it is in the text.
    """
    return {json.loads(key): value for key, value in _pieces(text) if key.startswith('"')}


def is_json(text: str) -> bool:
    """
    Return whether a text is JSON (RFC 8259), with half surrogates and any depth allowed.
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
    Yield the pieces between the outermost commas, as (text before the colon, value).
    """
    depth = start = 0
    key = ""
    is_open = False  # after a comma another piece has to follow
    for token in TOKEN.finditer(text):
        mark = token[0]
        if depth == 1 and mark == ":":
            key, start = text[start : token.start()].strip(), token.end()
        elif depth == 1 and mark in ",]}":
            value = text[start : token.start()].strip()
            if value:
                yield key, value
            elif mark == "," or is_open:
                raise ValueError("There is one comma too many.")
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
