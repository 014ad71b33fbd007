"""
How the simulated provider pages its listings, and which tokens it accepts.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal

from werkzeug.exceptions import NotFound

from syncsvc.sandbox.faults import check_choices

REFRESH_LIFETIME = 604800


@dataclass(kw_only=True)
class Behaviour:
    """
    Choices that the provider's documentation leaves open.
    """

    max_per_page: int = 200
    past_end: Literal["empty", "not_found", "repeat"] = "empty"
    paginates: Literal["exact", "always", "never", "absent"] = "exact"
    num_results: Literal["total", "page", "absent"] = "total"
    shuffled: bool = False  # another order on every request
    cancelled_listing: Literal["ok", "forbidden", "not_found"] = "ok"
    gzip: bool = False  # if the client accepts it
    latency: float = 0  # seconds for each listing request
    token_lifetime: int = 3600  # seconds

    def __post_init__(self) -> None:
        check_choices(self)


def envelope(rows: list[Any], page: int, asked: int, behaviour: Behaviour) -> dict[str, Any]:
    """
    One page of these rows, in the provider's envelope.

    Raises:
        NotFound: The page is past the end, and `past_end` says so.
    """
    size = min(asked, behaviour.max_per_page)
    last = max(1, -(-len(rows) // size))
    if page > last and behaviour.past_end == "not_found":
        raise NotFound("There is no such page.")
    if page > last and behaviour.past_end == "repeat":
        page = last
    numbers = rows[(page - 1) * size : page * size]
    results = {"total": len(rows), "page": len(numbers)}
    paginates = {"exact": page < last, "always": True, "never": False}
    return {
        "numbers": numbers,
        **only("num_results", results.get(behaviour.num_results)),
        **only("paginates", paginates.get(behaviour.paginates)),
    }


def only(key: str, value: object) -> dict[str, Any]:
    """
    Return the pair, or nothing if the value is None.
    """
    return {} if value is None else {key: value}


class Tokens:
    """
    The valid tokens.
    """

    def __init__(self, fixed: str) -> None:
        self._fixed: str | None = fixed
        self._access: dict[str, float] = {}
        self._refresh: dict[str, float] = {}
        self._lock = threading.Lock()

    def issue(self, lifetime: float) -> dict[str, Any]:
        """
        Make an access token and a refresh token.
        """
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        with self._lock:
            self._access[access] = time.monotonic() + lifetime
            self._refresh[refresh] = time.monotonic() + REFRESH_LIFETIME
        return {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": lifetime,
            "refresh_token": refresh,
        }

    def accepts(self, token: str) -> bool:
        """
        Return whether this access token is valid now.
        """
        with self._lock:
            return token == self._fixed or time.monotonic() < self._access.get(token, 0)

    def use_refresh(self, token: str) -> bool:
        """
        Use up this refresh token; return whether it was valid.
        """
        with self._lock:
            return time.monotonic() < self._refresh.pop(token, 0)

    def expire(self, *, refresh: bool, fixed: bool) -> None:
        """
        Make every issued access token invalid, and the others if requested.
        """
        with self._lock:
            self._access.clear()
            if refresh:
                self._refresh.clear()
            if fixed:
                self._fixed = None
