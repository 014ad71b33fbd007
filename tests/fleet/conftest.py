"""
A fleet for each test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.fleets import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@pytest.fixture
def fleet(own_database: Engine) -> Iterator[Fleet]:
    """
    A database with the task engine's tables; whatever was started in it ends with the test.
    """
    one = Fleet(own_database)
    yield one
    one.stop()
