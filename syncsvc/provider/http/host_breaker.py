"""
Fail at once while a host is down, instead of letting every account wait for it.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from syncsvc.errors import HostDown

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES = 5  # requests in a row without an answer, or with a server error: the host is down then
PROBE_EVERY = 10.0  # seconds between two requests that find out if it is up again


class HostBreaker:
    """
    A circuit breaker for one host. Safe to use from several threads.

    Args:
        host: Its name, for the error.
        clock: Monotonic time, in seconds.
    """

    def __init__(self, host: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = host
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._next_probe = -math.inf

    @property
    def is_open(self) -> bool:
        """
        Return whether the host counts as down.
        """
        return self._failures >= FAILURES

    def admit(self) -> None:
        """
        Let a request begin: any while the host is up, a probe now and then while it is down.

        Raises:
            HostDown: The host is down, and no probe is due.
        """
        with self._lock:
            now = self._clock()
            if self.is_open and now < self._next_probe:
                raise HostDown(
                    f"The provider's host {self._host} is down: its last {FAILURES} requests got "
                    "no answer or a server error. It is tried again every "
                    f"{PROBE_EVERY:g} s.",
                    reason="host_down",
                )
            if self.is_open:
                self._next_probe = now + PROBE_EVERY

    def record(self, *, answered: bool) -> None:
        """
        Count a request that ended.

        Args:
            answered: The host sent a response other than a server error.
        """
        with self._lock:
            self._failures = 0 if answered else self._failures + 1
            if self._failures == FAILURES:
                self._next_probe = self._clock() + PROBE_EVERY
