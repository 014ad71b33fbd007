from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from support.build import api_for, number_row
from syncsvc.provider.throttle import Pace
from syncsvc.provider.transport import Answer
from syncsvc.sandbox import Inventory
from syncsvc.sandbox.faults import Fault

if TYPE_CHECKING:
    from syncsvc.sandbox import Sandbox

SECONDS = 400  # of the provider, at its limit


class Time:
    """
    A clock that a simulation sets.
    """

    now = 1000.0

    def __call__(self) -> float:
        """
        Read it.
        """
        return self.now


class Quota:
    """
    A provider that grants so many requests in each second of its clock, or as they trickle in.
    """

    def __init__(self, rate: float, *, trickles: bool) -> None:
        self.rate = rate
        self.trickles = trickles
        self.refused = 0
        self._left = rate if not trickles else max(rate / 4, 1.0)
        self._at = 1000.0

    def grants(self, now: float) -> bool:
        """
        Whether one more request is granted at this time.
        """
        if self.trickles:
            self._left += (now - self._at) * self.rate
            self._left, self._at = min(self._left, max(self.rate / 4, 1.0)), now
        elif now // 1 > self._at // 1:
            self._left, self._at = self.rate, now
        if self._left < 1:
            self.refused += 1
            return False
        self._left -= 1
        return True


def answer(status: int = 200, **headers: str) -> Answer:
    """
    An answer with these headers, whose names are written with underscores.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, httpx.Headers(named), b"")


def simulate(
    pace: Pace, clock: Time, quota: Quota, pages: int, seconds: float = 0.02, **headers: str
) -> float:
    """
    Fetch pages, each of which takes some seconds; how long it took.

    A refused page is asked for again.
    """
    began_at, done = clock.now, 0
    under_way: list[tuple[float, int, float, bool]] = []
    names = itertools.count()
    while done < pages:
        delay = pace.delay()
        if under_way and clock.now + delay >= under_way[0][0]:
            clock.now, _name, at, granted = heapq.heappop(under_way)
            pace.note(answer() if granted else answer(429, **headers), at)
            pace.in_flight -= 1
            done += granted
            continue
        clock.now += delay
        at = pace.begin()
        granted = quota.grants(clock.now)
        heapq.heappush(under_way, (clock.now + seconds, next(names), at, granted))
    return clock.now - began_at


@pytest.mark.parametrize("trickles", [True, False])
@pytest.mark.parametrize("rate", [5, 20, 100])
@pytest.mark.parametrize("headers", [{}, {"Retry_After": "1"}, {"Retry_After": "0"}])
def test_a_limited_provider_is_used_to_its_limit(
    rate: int, trickles: bool, headers: dict[str, Any]
) -> None:
    """
    Of R requests a second at least 90 % are made use of, and less than 2 % of all are refused.
    """
    clock = Time()
    quota = Quota(rate, trickles=trickles)

    took = simulate(Pace(4, clock), clock, quota, rate * SECONDS, **headers)

    assert took <= SECONDS / 0.9
    assert quota.refused < 0.02 * (rate * SECONDS + quota.refused)


def test_an_unlimited_provider_is_not_held_back() -> None:
    """
    Where nothing is refused, as many requests are in flight as the setting says.
    """
    clock = Time()

    took = simulate(Pace(4, clock), clock, Quota(10**6, trickles=True), 1000, seconds=0.05)

    assert took == pytest.approx(1000 * 0.05 / 4, rel=0.01)


def test_a_refusal_halves_what_is_in_flight_and_success_raises_it_again() -> None:
    """
    429 lowers the number in flight, once for all under way; it never rises above the setting.
    """
    clock = Time()
    pace = Pace(4, clock)
    began = [pace.begin() for _ in range(3)]
    clock.now += 0.1
    for at in began:
        pace.note(answer(429), at)
        pace.in_flight -= 1
    lowered = pace.window

    simulate(pace, clock, Quota(10**6, trickles=True), 100)

    assert lowered == 2
    assert pace.window == 4


def test_answers_that_get_slow_lower_what_is_in_flight() -> None:
    """
    Where answers take twice as long as they did and more, fewer requests are in flight.
    """
    clock = Time()
    pace = Pace(8, clock)
    for seconds in [0.1] * 20 + [0.5] * 20:
        at = pace.begin()
        clock.now += seconds
        pace.note(answer(), at)
        pace.in_flight -= 1

    assert pace.window < 4


def test_a_provider_that_says_what_is_left_need_not_refuse() -> None:
    """
    Where X-RateLimit-Remaining says that nothing is left, the next request begins at the reset.
    """
    clock = Time()
    pace = Pace(4, clock)
    began = [pace.begin() for _ in range(2)]
    pace.note(answer(X_RateLimit_Remaining="2", X_RateLimit_Reset="30"), began[0])
    pace.in_flight -= 1
    one_more = pace.delay()
    pace.begin()

    held = pace.delay()
    clock.now += 30

    assert (one_more, held, pace.delay()) == (0, 30, 0)


def test_a_reset_may_be_a_date() -> None:
    """
    X-RateLimit-Reset is seconds from now, or since 1970.
    """
    clock = Time()
    pace = Pace(4, clock)
    at = pace.begin()
    reset = f"{time.time() + 20:.0f}"

    pace.note(answer(X_RateLimit_Remaining="0", X_RateLimit_Reset=reset), at)

    assert pace.delay() == pytest.approx(20, abs=2)


@pytest.mark.parametrize("sent", ["", "soon", "nan", "inf"])
def test_an_allowance_that_is_none_is_ignored(sent: str) -> None:
    """
    What is no number does not hold anything up.
    """
    pace = Pace(4, Time())
    at = pace.begin()

    pace.note(answer(X_RateLimit_Remaining=sent, X_RateLimit_Reset="30"), at)

    assert pace.delay() == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"X_RateLimit_Remaining": "-1", "X_RateLimit_Reset": "60"},
        {"X_RateLimit_Remaining": "0", "X_RateLimit_Limit": "0", "X_RateLimit_Reset": "60"},
        {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "-1"},
        {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "1000000000000"},
    ],
)
def test_an_allowance_that_says_nothing_holds_nothing_up(headers: dict[str, Any]) -> None:
    """
    A negative number, a limit of none and a reset in the past are no reason to wait.
    """
    pace = Pace(4, Time())
    at = pace.begin()

    pace.note(answer(**headers), at)

    assert pace.delay() == 0


@pytest.mark.parametrize("unit", [10**3, 10**6, 10**9])
def test_a_reset_may_be_a_date_in_smaller_units(unit: int) -> None:
    """
    Milliseconds, microseconds and nanoseconds since 1970 are told by their size.
    """
    pace = Pace(4, Time())
    at = pace.begin()

    reset = f"{(time.time() + 20) * unit:.0f}"
    pace.note(answer(X_RateLimit_Remaining="0", X_RateLimit_Reset=reset), at)

    assert pace.delay() == pytest.approx(20, abs=2)


@pytest.mark.parametrize("reset", ["61", "60000", "99999999", "4000000000", "4000000000000"])
def test_a_reset_is_waited_for_a_minute_at_most(reset: str) -> None:
    """
    However far ahead a header puts the reset, a request is tried after 60 s.
    """
    pace = Pace(4, Time())
    at = pace.begin()

    pace.note(answer(X_RateLimit_Remaining="0", X_RateLimit_Reset=reset), at)

    assert pace.delay() == 60


def test_an_allowance_that_is_always_used_up_is_waited_for_once() -> None:
    """
    A host that says 0 to requests that it grants, straight after the reset too, is not believed.
    """
    clock = Time()
    pace = Pace(4, clock)
    delays = []
    for _ in range(4):
        at = pace.begin()
        pace.note(answer(X_RateLimit_Remaining="0", X_RateLimit_Reset="30"), at)
        pace.in_flight -= 1
        delays.append(pace.delay())
        clock.now += delays[-1]

    assert delays == [30, 0, 0, 0]


def test_nobody_waits_after_the_end() -> None:
    """
    A thread that waits for its turn is let go when the client is closed.
    """
    pace = Pace(1)
    with pace.turn():
        waiting = threading.Thread(target=lambda: pace.turn().__enter__())
        waiting.start()

        pace.close()
        waiting.join(5)

    assert not waiting.is_alive()


def test_a_refused_page_is_asked_for_again(sandbox: Sandbox) -> None:
    """
    Over a socket: pages refused with 429 and Retry-After are all had in the end.
    """
    sandbox.reset(Inventory([number_row(place) for place in range(1, 6)]))
    sandbox.inject(Fault(kind="status", status=429, retry_after="0.1", times=2))
    with api_for(sandbox, page_size=1) as api:
        pages = [api.page(index) for index in range(1, 6)]

    assert [page.num_results for page in pages if page] == [5] * 5
    assert len(sandbox.requests) == 7
