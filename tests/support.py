"""
What several tests build.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any

from syncsvc.exchange import Exchange
from syncsvc.provider import NumberApi
from syncsvc.tokens import FixedToken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from syncsvc.sandbox import Sandbox


@contextmanager
def api_for(sandbox: Sandbox, **options: Any) -> Iterator[NumberApi]:
    """
    A client with other options than the usual ones.
    """
    exchange = Exchange(
        sandbox.url, timeout=options.pop("timeout", 5.0), connections=options.pop("connections", 4)
    )
    tokens = options.pop("tokens", None) or FixedToken(sandbox.token)
    usual = {"page_size": 200, "retries": 3, "zone": UTC}
    client = NumberApi(exchange, tokens, **{**usual, **options})
    try:
        yield client
    finally:
        client.close()
