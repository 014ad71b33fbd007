"""
A simulated provider that limits its request rate, in simulated time.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

import httpx

from syncsvc.provider.http.response import Response

if TYPE_CHECKING:
    from syncsvc.provider.throttle import Throttle


class SimulatedClock:
    """
    A clock that a simulation sets.
    """

    now = 1000.0

    def __call__(self) -> float:
        """
        Return the time.
        """
        return self.now


class RateLimit:
    """
    A provider's limit: requests per calendar second, or a token bucket.
    """

    def __init__(self, rate: float, *, bucket: bool) -> None:
        self.rate = rate
        self.bucket = bucket
        self.refused = 0
        self._left = rate if not bucket else max(rate / 4, 1.0)
        self._at = 1000.0

    def grants(self, now: float) -> bool:
        """
        Return whether one more request is granted at this time.
        """
        if self.bucket:
            self._left += (now - self._at) * self.rate
            self._left, self._at = min(self._left, max(self.rate / 4, 1.0)), now
        elif now // 1 > self._at // 1:
            self._left, self._at = self.rate, now
        if self._left < 1:
            self.refused += 1
            return False
        self._left -= 1
        return True


def response(status: int = 200, **headers: str) -> Response:
    """
    Return a response with these headers, whose names are written with underscores.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, httpx.Headers(named), b"")


def simulate(
    throttle: Throttle,
    clock: SimulatedClock,
    limit: RateLimit,
    pages: int,
    seconds: float = 0.02,
    **headers: str,
) -> float:
    """
    Fetch pages, retrying refused ones, and return how long it took.

    Args:
        seconds: Duration of each request.
        headers: Those of a 429.
    """
    began_at, done = clock.now, 0
    in_flight: list[tuple[float, int, float, bool]] = []
    ids = itertools.count()
    responses = {True: response(), False: response(429, **headers)}
    while done < pages:
        delay = throttle.delay()
        if in_flight and clock.now + delay >= in_flight[0][0]:
            clock.now, _id, at, granted = heapq.heappop(in_flight)
            throttle.record(responses[granted], at)
            throttle.in_flight -= 1
            done += granted
            continue
        clock.now += delay
        at = throttle.begin()
        granted = limit.grants(clock.now)
        heapq.heappush(in_flight, (clock.now + seconds, next(ids), at, granted))
    return clock.now - began_at
