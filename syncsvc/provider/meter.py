"""
What counts requests to the provider and their retries, such as `Metrics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Meter(Protocol):
    """
    Counts single requests to the provider.
    """

    def requested(self, endpoint: str, status: str, seconds: float) -> None:
        """
        Record a request; its status is the HTTP status, or the reason why there is none.
        """

    def retried(self, endpoint: str, reason: str) -> None:
        """
        Record a retry, and the reason for it.
        """


class NoMeter:
    """
    A meter that records nothing.
    """

    def requested(self, endpoint: str, status: str, seconds: float) -> None:
        """
        Do nothing.
        """

    def retried(self, endpoint: str, reason: str) -> None:
        """
        Do nothing.
        """


def endpoint(path: str, params: Mapping[str, str | int] | None) -> str:
    """
    Return the metrics' label for a request: numbers, cancelled, search or token.
    """
    if path.startswith("/api/oauth2/"):
        return "token"
    if path.endswith("/cancelled"):
        return "cancelled"
    return "search" if params and "search" in params else "numbers"
