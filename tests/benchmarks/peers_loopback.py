"""
Nothing that a peer starts leaves the machine: no telemetry, no look-up of a name.
"""

from __future__ import annotations

from typing import Any

LOOPBACK = (None, "localhost", "127.0.0.1", "::1")
CONNECTING, LOOKING_UP = ("socket.connect", "socket.sendto"), ("socket.getaddrinfo",)


def stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    """
    An audit hook that refuses connections to, and look-ups of, other machines.
    """
    if event in LOOKING_UP:
        _refuse_others(arguments[0])
    elif event in CONNECTING and isinstance(arguments[1], tuple):  # a Unix socket's is a path
        _refuse_others(arguments[1][0])


def _refuse_others(host: Any) -> None:
    if host not in LOOPBACK:
        raise PermissionError(f"a peer tried to reach {host}")
