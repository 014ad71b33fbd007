"""
Files that the documentation names.
"""

from __future__ import annotations

import re
from pathlib import Path

HOME = Path(__file__).parents[2]
PAGES = (HOME / "README.md", HOME / "CONTRIBUTING.md", *(HOME / "docs").rglob("*.md"))
BELOW = ("", "syncsvc", "tests", "deploy", "docs")  # pages leave out the first folder
NAMED = re.compile(r"`([\w.-]+(?:/[\w.-]+)+\.(?:py|md|sh|toml|yaml|yml|service))`")


def test_every_file_that_a_page_names_is_there() -> None:
    """
    A file that was renamed or removed is not named on any page.
    """
    named = {(page, name) for page in PAGES for name in NAMED.findall(page.read_text())}
    gone = {
        f"{page.relative_to(HOME)}: {name}"
        for page, name in named
        if not any((HOME / folder / name).exists() for folder in BELOW)
    }

    assert len(named) > 50
    assert gone == set()
