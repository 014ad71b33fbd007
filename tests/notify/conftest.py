"""
Receivers and endpoints of webhooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.receivers import Hooks, Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """
    A receiver that accepts everything.
    """
    with Receiver() as serving:
        yield serving


@pytest.fixture
def hooks(engine: Engine) -> Hooks:
    """
    No endpoints yet.
    """
    return Hooks(engine)
