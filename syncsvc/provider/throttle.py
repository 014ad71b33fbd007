"""
Send requests no faster than the provider accepts them.

Two limits adapt to its responses:

- The window, the number of requests in flight, by AIMD (additive increase,
  multiplicative decrease, RFC 5681 section 3.1): halved after a 429 or if
  responses get slow, one more for each window of good responses, and never
  more than the setting.
- The rate, the number of requests that begin in a second, by CUBIC (RFC 9438):
  no limit until the first 429, then a little less than what was tried, back to
  nearly that along a cubic curve with a plateau, and beyond it ever faster the
  longer no 429 follows. AWS SDKs limit their rate the same way in their adaptive
  retry mode.

A 429 also pauses all requests, and the headers X-RateLimit-Remaining and -Reset
are obeyed, so that a provider that sends them need not answer 429 at all.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from syncsvc.provider.http.response import Response

# "Simulated" values are from tests/measurements/throttle_constants.py, with its results in
# docs/performance.md. The goal: at least 90 % of the limit is used, less than 2 % are refused.

# The curve of the rate, as shares of the rate that was tried when a 429 came. Simulated: with the
# RFC's 0.7 as the floor, or a plateau of 0.9, less than 90 % is used.
FLOOR = 0.85  # directly after the 429 (the RFC's beta)
PLATEAU = 0.95  # when the curve is flat (W_max with fast convergence)

# Seconds from the floor to the plateau (the RFC's K), and as many again to twice the plateau. The
# RFC derives them from a constant that suits one size of rate; fixed, they suit any.
RECOVERY = 30.0  # simulated: 20 s and more will do; a limit that was raised is found in a minute
SEARCH = 5.0  # if the limit is hardly known yet. Simulated: 3 s are too few, 30 s too many

OVERSHOOT = 1.5  # times the granted rate: more is far above the limit. Simulated, 1.5 to 3 will do

# Seconds to pause after a 429 without Retry-After: doubled for each 429 with nothing granted in
# between. Simulated, any value from 0.03 to 1 will do.
FIRST_PAUSE = 0.125
LONGEST_PAUSE = 300.0  # chosen: the run's deadline ends longer waits

SHORTEST_PERIOD = 1e-3  # seconds to count granted requests over, so that no rate is infinite

# Responses are slow if they take both twice and 0.1 s longer than usual. Chosen: twice is what a
# queue as long as the window costs, and 0.1 s is more than what a network varies by.
SLOW = 2.0
SLOWER_BY = 0.1
USUAL_DRIFT = 1.001  # what is usual may rise by 0.1 % with each response, for routes that change
RECENT_WEIGHT = 1 / 8  # of the newest response in the average: as for TCP's (RFC 6298)


class Throttle:
    """
    Decides when the next request may begin. Safe to use from several threads.

    Args:
        concurrency: Requests in flight at most.
        clock: Monotonic time, in seconds.

    Attributes:
        window: Requests in flight at most, at present.
    """

    def __init__(self, concurrency: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._concurrency = concurrency
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False
        self.window = float(concurrency)
        self.in_flight = 0
        self._granted = 0  # requests since the last 429
        self._refused_in_a_row = 0
        self._first_at = math.inf
        self._plateau = math.inf  # requests per second, after some time without a 429
        self._floor = math.inf  # requests per second, directly after a 429
        self._recovery = RECOVERY  # seconds from the floor to the plateau
        self._refused_at = -math.inf
        self._narrowed_at = -math.inf
        self._next_at = -math.inf
        self._paused_until = -math.inf
        self._remaining = math.inf  # requests that the provider's headers allow until the reset
        self._reset_at = -math.inf
        self._first_after_reset = math.inf  # when the first request after a wait for it began
        self._headers_are_meaningless = False
        self._usual_seconds = math.inf  # of a response, if the provider is not busy
        self._recent_seconds = 0.0  # of a response, moving average

    def close(self) -> None:
        """
        Let all waiting threads continue.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @contextmanager
    def slot(self) -> Iterator[Callable[[Response], None]]:
        """
        Wait until a request may begin; call the result with its response, if there is one.
        """
        with self._changed:
            while not self._closed and (delay := self.delay()) > 0:
                self._changed.wait(None if delay == math.inf else delay)
            began_at = self.begin()
        try:
            yield lambda response: self.record(response, began_at)
        finally:
            with self._changed:
                self.in_flight -= 1
                self._changed.notify_all()

    def delay(self) -> float:
        """
        Return the seconds until a request may begin; infinite if one must first end.
        """
        now = self._clock()
        if self.in_flight and self.in_flight >= math.floor(self.window):
            return math.inf
        reset_at = self._reset_at if self._remaining < 1 else now
        return max(reset_at, self._paused_until, self._next_at, now) - now

    def begin(self) -> float:
        """
        Count a request that begins now, and return the time.
        """
        now = self._clock()
        if now >= self._reset_at:
            if self._remaining < 1:
                self._first_after_reset = now
            self._remaining = math.inf
        self._remaining -= 1
        self._first_at = min(self._first_at, now)
        self.in_flight += 1
        self._next_at = max(self._next_at, now) + 1 / self.rate(now)
        return now

    def rate(self, now: float) -> float:
        """
        Return the requests that may begin in a second: the cubic curve.
        """
        if self._plateau == math.inf:
            return math.inf
        seconds = max(now - max(self._refused_at, self._paused_until), 0.0)
        part = seconds / self._recovery - 1  # -1 at the floor, 0 at the plateau
        scale = self._plateau - self._floor if part < 0 else self._plateau
        return self._plateau + scale * part**3

    def record(self, response: Response, began_at: float) -> None:
        """
        Adapt both limits to a response.
        """
        with self._changed:
            now = self._clock()
            self._obey_rate_limit(response, now, began_at)
            if response.is_rate_limited:
                self._slow_down(now, began_at, response.retry_after)
            elif response.is_ok:
                self._speed_up(now, began_at)

    def _slow_down(self, now: float, began_at: float, retry_after: float | None) -> None:
        """
        Pause and lower both limits, once for all requests that were in flight together.
        """
        if began_at > self._refused_at:
            self._refused_in_a_row = 0 if self._granted else self._refused_in_a_row + 1
            self._lower_rate(now)
            self._narrow(now)
            self._refused_at, self._granted = now, 0
        pause = min(FIRST_PAUSE * 2**self._refused_in_a_row, LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, now + (retry_after or pause))

    def _lower_rate(self, now: float) -> None:
        """
        Start a new cubic curve, a little below the rate that was tried.

        If that was far above what was granted, or if this is the first 429, the curve starts from
        the granted rate. If nothing was granted since the last 429, the curve stays unchanged:
        this one came too early to tell.
        """
        since = max(self._refused_at, self._first_at)
        granted = (self._granted + 1) / max(now - since, SHORTEST_PERIOD)
        first = self._plateau == math.inf
        tried = min(self.rate(now), granted) if first else self.rate(now)
        if not first and tried <= OVERSHOOT * granted:
            self._floor, self._plateau = FLOOR * tried, PLATEAU * tried
            self._recovery = RECOVERY
        elif self._granted:
            self._floor, self._plateau = min(tried / 2, granted), min(tried, 2 * granted)
            self._recovery = SEARCH

    def _speed_up(self, now: float, began_at: float) -> None:
        self._granted += began_at > self._refused_at
        seconds = now - began_at
        self._usual_seconds = min(self._usual_seconds * USUAL_DRIFT, seconds)
        self._recent_seconds += (seconds - self._recent_seconds) * RECENT_WEIGHT
        usual = self._usual_seconds
        if self._recent_seconds > max(SLOW * usual, usual + SLOWER_BY):
            if began_at > self._narrowed_at:
                self._narrow(now)
        else:
            self.window = min(self.window + 1 / self.window, self._concurrency)

    def _narrow(self, now: float) -> None:
        self._narrowed_at = now
        self.window = max(self.window / 2, 1.0)

    def _obey_rate_limit(self, response: Response, now: float, began_at: float) -> None:
        """
        Keep to the requests that the provider's headers say are left.

        A host that says 0 again directly after its reset, with a response that it grants, does
        not count requests. Its headers are ignored from then on.
        """
        limit = response.rate_limit
        if limit is None:
            return
        if response.is_ok and limit.remaining < 1 and began_at == self._first_after_reset:
            self._headers_are_meaningless = True
            self._remaining = math.inf  # whatever a response to a request beside this one said
        if not self._headers_are_meaningless:
            self._remaining = limit.remaining - (self.in_flight - 1)
            self._reset_at = now + limit.reset_in
