"""
Endpoints of webhooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.receivers import Hooks

if TYPE_CHECKING:
    from sqlalchemy import Engine


@pytest.fixture
def hooks(engine: Engine) -> Hooks:
    """
    No endpoints yet.
    """
    return Hooks(engine)
