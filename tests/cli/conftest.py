"""
Reports of the known inventory, as the command line gives them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from support.build import Result


@pytest.fixture
def report(
    cli: Callable[..., Result],
    known_inventory: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Result]:
    """
    Call `syncsvc report` on the known inventory.
    """
    capsys.readouterr()  # what the runs said
    url = known_inventory.url.render_as_string(hide_password=False)
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", url)
    monkeypatch.delenv("COLUMNS")
    return lambda *words: cli("report", *words)
