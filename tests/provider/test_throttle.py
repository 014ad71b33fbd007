from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.build import api_for, number_row
from support.rate_limited import RateLimit, SimulatedClock, response, simulate
from syncsvc.provider.throttle import (
    FIRST_PAUSE,
    FLOOR,
    PLATEAU,
    RECOVERY,
    SEARCH,
    Throttle,
)
from syncsvc.sandbox import Inventory
from syncsvc.sandbox.faults import Fault

if TYPE_CHECKING:
    from syncsvc.sandbox import Sandbox

SECONDS = 400  # of the provider, at its limit


def exchange(
    throttle: Throttle, clock: SimulatedClock, seconds: float, status: int = 200, **headers: str
) -> None:
    """
    Make a request as soon as it may begin, with this response.
    """
    clock.now += throttle.delay()
    at = throttle.begin()
    clock.now += seconds
    throttle.record(response(status, **headers), at)
    throttle.in_flight -= 1


@pytest.mark.parametrize("bucket", [True, False])
@pytest.mark.parametrize("rate", [5, 20, 100])
@pytest.mark.parametrize("headers", [{}, {"Retry_After": "1"}, {"Retry_After": "0"}])
def test_a_limited_provider_is_used_to_its_limit(
    rate: int, bucket: bool, headers: dict[str, Any]
) -> None:
    """
    At least 90 % of the allowed requests are made, and less than 2 % of all are refused.
    """
    clock = SimulatedClock()
    limit = RateLimit(rate, bucket=bucket)

    took = simulate(Throttle(4, clock), clock, limit, rate * SECONDS, **headers)

    assert took <= SECONDS / 0.9
    assert limit.refused < 0.02 * (rate * SECONDS + limit.refused)


def test_an_unlimited_provider_is_not_held_back() -> None:
    """
    If nothing is refused, as many requests are in flight as the setting allows.
    """
    clock = SimulatedClock()

    took = simulate(Throttle(4, clock), clock, RateLimit(10**6, bucket=True), 1000, seconds=0.05)

    assert took == pytest.approx(1000 * 0.05 / 4, rel=0.01)


def test_a_refusal_halves_what_is_in_flight_and_success_raises_it_again() -> None:
    """
    A 429 lowers the number in flight, once for all requests under way; the setting is the maximum.
    """
    clock = SimulatedClock()
    throttle = Throttle(4, clock)
    began = [throttle.begin() for _ in range(3)]
    clock.now += 0.1
    for at in began:
        throttle.record(response(429), at)
        throttle.in_flight -= 1
    lowered = throttle.window
    raised = []
    for _ in range(2):
        exchange(throttle, clock, 0.1)
        raised.append(throttle.window)

    simulate(throttle, clock, RateLimit(10**6, bucket=True), 100)

    assert (lowered, raised) == (2, [2.5, 2.9])  # one more for a window of responses
    assert throttle.window == 4


def test_a_request_that_begins_at_the_moment_of_a_refusal_is_under_way_with_it() -> None:
    """
    If it is refused, it lowers nothing again; if it is granted, that is not after the refusal.
    """
    windows, pauses = [], []
    for status in (429, 200):
        clock = SimulatedClock()
        throttle = Throttle(4, clock)
        first = throttle.begin()
        clock.now += 0.1
        second = throttle.begin()
        throttle.record(response(429), first)
        clock.now += 0.1
        throttle.record(response(status), second)
        windows.append(throttle.window)
        throttle.in_flight -= 2
        exchange(throttle, clock, 0.1, 429)
        pauses.append(throttle.delay())

    assert windows == [2, 2.5]
    assert pauses == [pytest.approx(4 * FIRST_PAUSE)] * 2  # doubled again: none was granted since


def refused_after(granted: int) -> tuple[Throttle, SimulatedClock]:
    """
    A throttle whose first 429 came after some requests, each of a tenth of a second.
    """
    clock = SimulatedClock()
    throttle = Throttle(4, clock)
    for status in [200] * granted + [429]:
        exchange(throttle, clock, 0.1, status)
    return throttle, clock


def curve(throttle: Throttle, clock: SimulatedClock, recovery: float) -> list[float]:
    """
    The rates at parts of a recovery, from a little before the end of the present pause on.
    """
    begins_at = clock.now + throttle.delay()
    return [throttle.rate(begins_at + recovery * part) for part in (-0.01, 0, 0.5, 1, 1.5, 2)]


def cubic(floor: float, plateau: float) -> Any:
    """
    What these rates should be.
    """
    steep = (plateau - floor) / 8
    return pytest.approx([floor, floor, plateau - steep, plateau, 1.125 * plateau, 2 * plateau])


def test_the_rate_after_a_first_refusal_rises_from_half_of_what_was_granted() -> None:
    """
    After the pause it rises to all of that, and in as long again to twice as much.
    """
    throttle, clock = refused_after(20)

    assert throttle.delay() == pytest.approx(FIRST_PAUSE)
    assert curve(throttle, clock, SEARCH) == cubic(floor=5, plateau=10)


def test_the_rate_after_a_further_refusal_is_a_little_lower() -> None:
    """
    If what was tried was hardly more than was granted, little is given up, for longer.
    """
    throttle, clock = refused_after(20)
    for _ in range(60):  # to a little more than the plateau of 10 in a second
        exchange(throttle, clock, 0.04)
    clock.now += throttle.delay()
    tried = throttle.rate(clock.now + 0.04)
    exchange(throttle, clock, 0.04, 429)

    assert 10 < tried < 12
    assert curve(throttle, clock, RECOVERY) == cubic(floor=FLOOR * tried, plateau=PLATEAU * tried)


def test_the_rate_after_a_refusal_far_above_what_was_granted_is_searched_for_again() -> None:
    """
    If far more was tried than was granted, the curve starts from what was granted.
    """
    throttle, clock = refused_after(20)
    refused_at = clock.now
    clock.now += throttle.delay() + 2 * SEARCH
    exchange(throttle, clock, 0.1)
    exchange(throttle, clock, 0.1, 429)
    granted = 2 / (clock.now - refused_at)

    assert curve(throttle, clock, SEARCH) == cubic(floor=granted, plateau=2 * granted)


def test_a_pause_is_as_long_as_the_longest_that_was_asked_for() -> None:
    """
    Retry-After counts, and a shorter one with another 429 of the same moment ends no pause.
    """
    throttle = Throttle(4, SimulatedClock())
    first, second = throttle.begin(), throttle.begin()

    throttle.record(response(429, Retry_After="7"), first)
    throttle.record(response(429, Retry_After="2"), second)
    throttle.in_flight -= 2

    assert throttle.delay() == 7


def test_slow_responses_lower_what_is_in_flight() -> None:
    """
    If responses take more than twice as long as before, fewer requests are in flight.
    """
    clock = SimulatedClock()
    throttle = Throttle(8, clock)
    for seconds in [0.1] * 20 + [0.5] * 20:
        at = throttle.begin()
        clock.now += seconds
        throttle.record(response(), at)
        throttle.in_flight -= 1

    assert throttle.window < 4


def test_slow_responses_after_a_refusal_lower_what_is_in_flight_again() -> None:
    """
    But not those of requests that were in flight when it was lowered.
    """
    clock = SimulatedClock()
    throttle = Throttle(8, clock)
    for _ in range(20):
        exchange(throttle, clock, 0.1)
    together = [throttle.begin() for _ in range(8)]
    clock.now += 2
    throttle.record(response(429), together[0])
    lowered = throttle.window
    for at in together[1:]:
        throttle.record(response(), at)
    not_again = throttle.window
    throttle.in_flight = 0
    exchange(throttle, clock, 2)

    assert (lowered, not_again, throttle.window) == (4, 4, 2)


def test_a_request_that_begins_at_the_moment_of_a_slow_response_is_in_flight_with_it() -> None:
    """
    A slow response to it does not lower again what is in flight.
    """
    clock = SimulatedClock()
    throttle = Throttle(8, clock)
    for _ in range(20):
        exchange(throttle, clock, 0.1)
    first = throttle.begin()
    clock.now += 2
    second = throttle.begin()
    throttle.record(response(), first)
    lowered = throttle.window
    clock.now += 2
    throttle.record(response(), second)

    assert (lowered, throttle.window) == (4, 4)


def test_short_responses_may_vary() -> None:
    """
    Responses that take three times as long, but less than 0.1 s longer, are not slow.
    """
    clock = SimulatedClock()
    throttle = Throttle(8, clock)
    for seconds in [0.02] * 20 + [0.06] * 20:
        exchange(throttle, clock, seconds)

    assert throttle.window == 8


def test_what_is_usual_follows_a_route_that_gets_slower() -> None:
    """
    Steady responses are never slow, and after thousands of slower ones these are usual.
    """
    clock = SimulatedClock()
    throttle = Throttle(8, clock)
    windows = []
    for seconds, responses in ((0.3, 2000), (1.2, 50), (1.2, 2000)):
        for _ in range(responses):
            exchange(throttle, clock, seconds)
        windows.append(throttle.window)

    assert windows == [8, 1, 8]


def test_a_provider_that_says_what_is_left_need_not_refuse() -> None:
    """
    If X-RateLimit-Remaining says that nothing is left, the next request begins at the reset.
    """
    clock = SimulatedClock()
    throttle = Throttle(4, clock)
    began = [throttle.begin() for _ in range(2)]
    throttle.record(response(X_RateLimit_Remaining="2", X_RateLimit_Reset="30"), began[0])
    throttle.in_flight -= 1
    one_more = throttle.delay()
    throttle.begin()

    paused = throttle.delay()
    clock.now += 30

    assert (one_more, paused, throttle.delay()) == (0, 30, 0)


def test_a_reset_that_has_passed_delays_nothing() -> None:
    """
    A request that comes a minute after the reset that it would have waited for may begin at once.
    """
    clock = SimulatedClock()
    throttle = Throttle(4, clock)
    exchange(throttle, clock, 0, X_RateLimit_Remaining="0", X_RateLimit_Reset="30")
    clock.now += 90

    assert throttle.delay() == 0


def test_as_many_requests_begin_as_are_left() -> None:
    """
    Each request counts once: after X-RateLimit-Remaining says 3, three begin without a delay.
    """
    throttle = Throttle(8, SimulatedClock())
    throttle.record(response(X_RateLimit_Remaining="3", X_RateLimit_Reset="30"), throttle.begin())
    throttle.in_flight -= 1
    delays = []
    for _ in range(4):
        delays.append(throttle.delay())
        throttle.begin()

    assert delays == [0, 0, 0, 30]


def test_a_reset_that_nobody_had_to_wait_for_shows_nothing() -> None:
    """
    If a request was left at the reset, a 0 with the next response is obeyed.
    """
    clock = SimulatedClock()
    throttle = Throttle(4, clock)
    throttle.record(response(X_RateLimit_Remaining="1", X_RateLimit_Reset="30"), throttle.begin())
    throttle.in_flight -= 1
    clock.now += 30

    throttle.record(response(X_RateLimit_Remaining="0", X_RateLimit_Reset="30"), throttle.begin())
    throttle.in_flight -= 1

    assert throttle.delay() == 30


def test_one_request_that_is_left_after_a_reset_is_obeyed() -> None:
    """
    Only a 0 directly after the reset that was waited for means nothing.
    """
    clock = SimulatedClock()
    throttle = Throttle(4, clock)
    for left in (0, 1):
        exchange(throttle, clock, 0, X_RateLimit_Remaining=f"{left}", X_RateLimit_Reset="30")
    exchange(throttle, clock, 0)

    assert throttle.delay() == 30


def test_a_reset_may_be_a_date() -> None:
    """
    X-RateLimit-Reset is read as seconds from now, or as a Unix time.
    """
    clock = SimulatedClock()
    throttle = Throttle(4, clock)
    at = throttle.begin()
    reset = f"{time.time() + 20:.0f}"

    throttle.record(response(X_RateLimit_Remaining="0", X_RateLimit_Reset=reset), at)

    assert throttle.delay() == pytest.approx(20, abs=2)


@pytest.mark.parametrize("sent", ["", "soon", "nan", "inf"])
def test_a_remaining_that_is_not_a_number_is_ignored(sent: str) -> None:
    """
    An X-RateLimit-Remaining that is not a finite number delays nothing.
    """
    throttle = Throttle(4, SimulatedClock())
    at = throttle.begin()

    throttle.record(response(X_RateLimit_Remaining=sent, X_RateLimit_Reset="30"), at)

    assert throttle.delay() == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"X_RateLimit_Remaining": "-1", "X_RateLimit_Reset": "60"},
        {"X_RateLimit_Remaining": "0", "X_RateLimit_Limit": "0", "X_RateLimit_Reset": "60"},
        {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "-1"},
        {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "1000000000000"},
    ],
)
def test_rate_limit_headers_without_a_limit_delay_nothing(headers: dict[str, Any]) -> None:
    """
    A negative number, a limit of 0 and a reset in the past are no reason to wait.
    """
    throttle = Throttle(4, SimulatedClock())
    at = throttle.begin()

    throttle.record(response(**headers), at)

    assert throttle.delay() == 0


@pytest.mark.parametrize("unit", [10**3, 10**6, 10**9])
def test_a_reset_may_be_a_date_in_smaller_units(unit: int) -> None:
    """
    A Unix time in milliseconds, microseconds or nanoseconds is recognised by its size.
    """
    throttle = Throttle(4, SimulatedClock())
    at = throttle.begin()

    reset = f"{(time.time() + 20) * unit:.0f}"
    throttle.record(response(X_RateLimit_Remaining="0", X_RateLimit_Reset=reset), at)

    assert throttle.delay() == pytest.approx(20, abs=2)


@pytest.mark.parametrize("reset", ["61", "60000", "99999999", "4000000000", "4000000000000"])
def test_a_reset_is_waited_for_a_minute_at_most(reset: str) -> None:
    """
    However late the reset of a header is, a request is tried after 60 s.
    """
    throttle = Throttle(4, SimulatedClock())
    at = throttle.begin()

    throttle.record(response(X_RateLimit_Remaining="0", X_RateLimit_Reset=reset), at)

    assert throttle.delay() == 60


def test_a_remaining_that_is_always_0_is_waited_for_once() -> None:
    """
    If a host says 0 with requests that it grants, even directly after the reset, it is ignored.
    """
    clock = SimulatedClock()
    throttle = Throttle(4, clock)
    delays = []
    for _ in range(4):
        at = throttle.begin()
        throttle.record(response(X_RateLimit_Remaining="0", X_RateLimit_Reset="30"), at)
        throttle.in_flight -= 1
        delays.append(throttle.delay())
        clock.now += delays[-1]

    assert delays == [30, 0, 0, 0]


def test_requests_in_flight_together_wait_for_a_meaningless_reset_once() -> None:
    """
    What is said to a request beside the one that shows that the headers mean nothing is ignored.
    """
    clock = SimulatedClock()
    throttle = Throttle(2, clock)
    nothing_left = response(X_RateLimit_Remaining="0", X_RateLimit_Reset="30")
    throttle.record(nothing_left, throttle.begin())
    throttle.in_flight -= 1
    clock.now += throttle.delay()

    first, second = throttle.begin(), throttle.begin()
    throttle.record(nothing_left, second + 1e-9)
    throttle.record(nothing_left, first)
    throttle.in_flight -= 2

    assert throttle.delay() == 0


def test_no_number_of_refusals_pauses_for_longer_than_five_minutes() -> None:
    """
    Without Retry-After the pause doubles with each 429, from an eighth of a second to 300 s.
    """
    clock = SimulatedClock()
    throttle = Throttle(4, clock)
    pauses = []
    for _ in range(30):
        at = throttle.begin()
        clock.now += 0.1
        throttle.record(response(429), at)
        throttle.in_flight -= 1
        pauses.append(throttle.delay())
        clock.now += pauses[-1]

    assert pauses[:3] == pytest.approx([0.25, 0.5, 1])
    assert pauses[-1] == max(pauses) == pytest.approx(300)


def test_a_request_that_fails_makes_room_for_the_next() -> None:
    """
    If the connection breaks while the only request is in flight, another one may begin.
    """
    throttle = Throttle(1)
    with pytest.raises(ConnectionError), throttle.slot():
        raise ConnectionError

    assert (throttle.in_flight, throttle.delay()) == (0, 0)


def test_a_thread_waits_for_a_slot() -> None:
    """
    With one slot, what two threads do in it is done one after the other.
    """
    throttle = Throttle(1)
    done = []

    def work() -> None:
        with throttle.slot():
            done.append("second")

    waiting = threading.Thread(target=work)
    with throttle.slot():
        waiting.start()
        waiting.join(0.2)  # it ends at once if it does not wait
        done.append("first")
    waiting.join(5)

    assert done == ["first", "second"]


def test_no_thread_waits_after_the_throttle_is_closed() -> None:
    """
    A thread that waits for a slot continues when the client is closed.
    """
    throttle = Throttle(1)
    with throttle.slot():
        waiting = threading.Thread(target=lambda: throttle.slot().__enter__())
        waiting.start()

        throttle.close()
        waiting.join(5)

    assert not waiting.is_alive()


def test_a_refused_page_is_asked_for_again(sandbox: Sandbox) -> None:
    """
    Over a socket, pages refused with 429 and Retry-After are all read in the end.
    """
    sandbox.reset(Inventory([number_row(place) for place in range(1, 6)]))
    sandbox.inject(Fault(kind="status", status=429, retry_after="0.1", times=2))
    with api_for(sandbox, page_size=1) as api:
        pages = [api.page(index) for index in range(1, 6)]

    assert [page.num_results for page in pages if page] == [5] * 5
    assert len(sandbox.requests) == 7
