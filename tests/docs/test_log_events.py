"""
The table of log events is the code's.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TREE = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "log"}
ROW = re.compile(r"^\| `([a-z_.]+)` \| (\w+) \| ?(.*?) ?\| .+ \|$", re.MULTILINE)
OWN_LEVEL = {"exception": "error", "log": "error"}
ALL_KEYS = "all keys of `sync --json`"


def logged() -> Iterator[tuple[str, str, str]]:
    """
    Event, level and fields of every call of a logger in the package.
    """
    for path in sorted((TREE / "syncsvc").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr=level)) if level in LEVELS:
                    for argument in node.args[:2]:
                        match argument:
                            case ast.Constant(value=str(event)) if re.fullmatch(
                                r"[a-z]+\.[a-z_]+", event
                            ):
                                yield event, OWN_LEVEL.get(level, level), _fields(node)
                            case _:
                                pass
                case _:
                    pass


def _fields(call: ast.Call) -> str:
    """
    The fields of a record, as the table names them.
    """
    names = [keyword.arg for keyword in call.keywords if keyword.arg not in {"exc_info", None}]
    whole = any(
        isinstance(keyword.value, ast.Call) for keyword in call.keywords if keyword.arg is None
    )
    return ALL_KEYS if whole else ", ".join(f"`{name}`" for name in names)


def test_every_event_is_documented_as_it_is_logged() -> None:
    """
    No event, level or field is missing from docs/logs.md, and none is there that the code has not.
    """
    documented = set(ROW.findall((TREE / "docs" / "logs.md").read_text()))

    assert set(logged()) == documented
