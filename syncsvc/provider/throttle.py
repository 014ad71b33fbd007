"""
Ask no faster than the provider likes.

Two things are steered, both up gently and down at once. How many requests are
in flight: fewer after a refusal (429) or where answers take ever longer, one
more for each round that goes well, never more than the setting. And how many
begin in a second: no limit until the first refusal, then a little less than
what was tried or granted, back to nearly that within half a minute, and past
it ever faster the longer no refusal follows. `X-RateLimit-Remaining` and
`-Reset` are kept to where they are sent, so that there need be no refusal at
all.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from syncsvc.provider.transport import Answer

OK = 200
TOO_MANY_REQUESTS = 429
LESS, SHARE = 0.85, 0.95  # of what was tried: after a refusal, and when all is settled
FAR = 1.5  # times as fast as what was counted is far too fast
SETTLING = 30.0  # seconds from the one to the other, and as many again to well beyond
PROBING = 5.0  # the same, where what is granted is hardly known
HOLD = 0.125  # seconds after a refusal that does not say how long; doubled where another follows
LONGEST_HOLD = 300.0  # seconds
TICK = 1e-3  # seconds
SLOW = 2.0  # times as long as usual, and
SLOWER_BY = 0.1  # seconds more: answers are getting slow
LONGEST_RESET = 60.0  # seconds: a header alone, perhaps in other units, stops no run
EPOCH = 10**8  # an X-RateLimit-Reset beyond is a date, not a number of seconds
EPOCH_IN_PARTS = 10**11  # and beyond that it is in milliseconds or smaller parts


class Pace:
    """
    When the next request may begin. Safe to use from several threads.

    Args:
        most: Requests in flight at most.
        clock: Seconds that never go back.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._turns = threading.Condition()
        self._closed = False
        self.window = float(most)  # requests in flight, at most
        self.in_flight = 0
        self._granted = 0  # requests since the last refusal
        self._refused_in_a_row = 0
        self._first_at = math.inf
        self._safe = self._least = math.inf  # requests a second, settled and after a refusal
        self._settling = SETTLING
        self._refused_at = -math.inf
        self._slowed_at = -math.inf
        self._next_at = -math.inf
        self._held_until = -math.inf
        self._remaining = math.inf  # requests that are allowed until the provider counts anew,
        self._reset_at = -math.inf  # which is then
        self._first_after_reset = math.inf  # when the first request after such a wait began
        self._allowance_is_meaningless = False
        self._usual = math.inf  # seconds for an answer, when all is well
        self._recent = 0.0  # seconds for an answer, lately

    def close(self) -> None:
        """
        Let nobody wait any longer.
        """
        with self._turns:
            self._closed = True
            self._turns.notify_all()

    @contextmanager
    def turn(self) -> Iterator[Callable[[Answer], None]]:
        """
        Wait for one's turn; the caller tells the answer, where there is one.
        """
        with self._turns:
            while not self._closed and (delay := self.delay()) > 0:
                self._turns.wait(None if delay == math.inf else delay)
            began_at = self.begin()
        try:
            yield lambda answer: self.note(answer, began_at)
        finally:
            with self._turns:
                self.in_flight -= 1
                self._turns.notify_all()

    def delay(self) -> float:
        """
        Seconds until another request may begin; infinite until one in flight has ended.
        """
        now = self._clock()
        if self.in_flight and self.in_flight >= math.floor(self.window):
            return math.inf
        spent_until = self._reset_at if self._remaining < 1 else now
        return max(spent_until, self._held_until, self._next_at, now) - now

    def begin(self) -> float:
        """
        Count a request that begins now, and give the time.
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
        Requests that may begin in a second: soon what seems safe, later ever more.
        """
        if self._safe == math.inf:
            return math.inf
        part = max(now - max(self._refused_at, self._held_until), 0.0) / self._settling - 1
        return self._safe + (self._safe - self._least if part < 0 else self._safe) * part**3

    def note(self, answer: Answer, began_at: float) -> None:
        """
        Learn from an answer.
        """
        with self._turns:
            now = self._clock()
            self._note_allowance(answer, now, began_at)
            if answer.status == TOO_MANY_REQUESTS:
                self._slow_down(now, began_at, answer.retry_after)
            elif answer.status == OK:
                self._speed_up(now, began_at)

    def _slow_down(self, now: float, began_at: float, told: float | None) -> None:
        """
        Hold for as long as told, and go on slower; once for all that were in flight together.
        """
        if began_at > self._refused_at:
            self._refused_in_a_row = 0 if self._granted else self._refused_in_a_row + 1
            self._settle_on_less(now)
            self._narrow(now)
            self._refused_at, self._granted = now, 0
        hold = min(HOLD * 2**self._refused_in_a_row, LONGEST_HOLD)
        self._held_until = max(self._held_until, now + (told or hold))

    def _settle_on_less(self, now: float) -> None:
        """
        Take a little less than what was tried for safe, or what was counted where that is far less.

        Where nothing at all was granted since the last refusal, it came too early to tell.
        """
        since = max(self._refused_at, self._first_at)
        counted = (self._granted + 1) / max(now - since, TICK)
        tried = min(self.rate(now), counted if self._safe == math.inf else math.inf)
        if self._safe < math.inf and tried <= FAR * counted:
            self._least, self._safe, self._settling = LESS * tried, SHARE * tried, SETTLING
        elif self._granted:
            self._least, self._safe = min(tried / 2, counted), min(tried, 2 * counted)
            self._settling = PROBING

    def _speed_up(self, now: float, began_at: float) -> None:
        self._granted += began_at > self._refused_at
        seconds = now - began_at
        self._usual = min(self._usual * 1.001, seconds)
        self._recent += (seconds - self._recent) / 8
        if self._recent > max(SLOW * self._usual, self._usual + SLOWER_BY):
            if began_at > self._slowed_at:
                self._narrow(now)
        else:
            self.window = min(self.window + 1 / self.window, self._most)

    def _narrow(self, now: float) -> None:
        self._slowed_at = now
        self.window = max(self.window / 2, 1.0)

    def _note_allowance(self, answer: Answer, now: float, began_at: float) -> None:
        """
        Keep to what the provider says is left, unless it says nothing.

        A negative number means no limit to some hosts. One that is nothing again, straight after
        its reset, counts no requests: what was granted then shows it.
        """
        remaining = _number(answer.headers.get("X-RateLimit-Remaining"))
        limit = _number(answer.headers.get("X-RateLimit-Limit"))
        reset = _number(answer.headers.get("X-RateLimit-Reset"))
        if remaining is None or reset is None:
            return
        if answer.status == OK and remaining < 1 and began_at == self._first_after_reset:
            self._allowance_is_meaningless = True
        if remaining < 0 or (limit is not None and limit <= 0) or self._allowance_is_meaningless:
            return
        self._remaining = remaining - (self.in_flight - 1)
        self._reset_at = now + min(max(_seconds_until(reset), 0.0), LONGEST_RESET)


def _seconds_until(reset: float) -> float:
    """
    Seconds from now, of a number of them or of a date, which is told by its size.
    """
    if reset <= EPOCH:
        return reset
    while reset > EPOCH_IN_PARTS:
        reset /= 1000
    return reset - time.time()


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
