"""
How many workers 10,000 accounts need, and what a day with misfortunes is like: in simulated time.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

import numpy as np
from fleet_day import IN_FLIGHT, SLOTS, Costs, Day
from fleet_rig import say

from support.rate_limited import RateLimit, SimulatedClock, response
from syncsvc.provider.throttle import Throttle
from syncsvc.vocabulary import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench_rig import Figures
    from fleet_day import Started

HOUR = 3600.0
INTERVAL = 900.0  # seconds
PAGE = 0.2  # seconds until the provider answers
HOSTS = 20
DEAD_HOST = 7
HOSTS_DEAD, DEPLOY, LOSS = 6 * HOUR, 12 * HOUR, 18 * HOUR  # when they begin
WARM = HOUR  # not counted
BETWEEN_RESTARTS = 30.0  # seconds
CALM = 60.0  # seconds of lag at most with which a fleet has enough workers
SLACK = 15 * 60.0  # seconds after a misfortune that belong to it
SHUFFLED = 7919  # a prime number, so that the large accounts are spread over time and hosts
LIMIT_SECONDS = 120.0  # of a provider at its limit


def equal(accounts: int, numbers: int) -> list[int]:
    """
    Accounts of one size.
    """
    return [numbers // accounts] * accounts


def skewed(accounts: int, numbers: int) -> list[int]:
    """
    Of all accounts, 1 % have half of the numbers, 9 % have 40 % and the others 10 %.
    """
    large, middle = max(accounts // 100, 1), max(accounts * 9 // 100, 1)
    small = accounts - large - middle
    sizes = [numbers // 2 // large] * large + [numbers * 4 // 10 // middle] * middle
    sizes += [numbers // 10 // small] * small
    return [sizes[place * SHUFFLED % accounts] for place in range(accounts)]


def simulate(costs: Costs, accounts: int, numbers: int, *, hours: float = 24.0) -> Figures:
    """
    Find the number of workers, then live through a day with as many; accounts equal and unequal.
    """
    found: Figures = {"accounts": accounts, "numbers": numbers, "costs": costs._asdict()}
    for name, sizes in (
        ("equal", equal(accounts, numbers)),
        ("unequal", skewed(accounts, numbers)),
    ):
        needed = _expected(costs, sizes)
        tried = {}
        for workers in range(max(needed // 2, 1), 2 * needed + 1):
            tried[workers] = _calm(costs, sizes, workers)
            say(f"{name}: {workers} workers, lag {tried[workers]['max']:.0f} s")
            if tried[workers]["max"] <= CALM:
                break
        enough = max(tried)
        found[name] = {
            "by the formula": needed,
            "tried": tried,
            "day": _day(costs, sizes, enough + 1, hours),
        }
        say(f"{name}: a day with {enough + 1} workers: done")
    found["limit"] = [_limited(workers, rate) for workers, rate in ((1, 100), (4, 200), (10, 600))]
    return found


def _expected(costs: Costs, sizes: list[int]) -> int:
    """
    The workers that the formula asks for.
    """
    numbers, rate = sum(sizes) / len(sizes), len(sizes) / INTERVAL
    client = costs.client[0] + costs.client[1] * numbers
    pages = numbers / 200 + 2
    seconds = (pages / IN_FLIGHT + 1) * costs.page + client
    slots = rate * seconds / 0.7
    return int(np.ceil(max(rate * client / 0.6, slots / SLOTS[Lane.FAST])))


def _calm(costs: Costs, sizes: list[int], workers: int) -> Figures:
    """
    Lag in the second and third hour, in which nothing happens.
    """
    day = Day(costs, sizes, workers, HOSTS, INTERVAL)
    day.live_until(3 * HOUR)
    calm = [each for each in day.started if each.at >= WARM]
    busy = sum(worker.busy for worker in day.workers) / workers / (3 * HOUR)
    return {**lags(calm), "busy": busy}


def _day(costs: Costs, sizes: list[int], workers: int, hours: float) -> Figures:
    """
    A day with a host that hangs for an hour, a deploy, and a worker that is lost for an hour.
    """
    scale = hours / 24
    dead, deploy, loss = (when * scale for when in (HOSTS_DEAD, DEPLOY, LOSS))
    hour = HOUR * min(scale * 4, 1)
    day = Day(costs, sizes, workers, HOSTS, INTERVAL, dead=(dead, dead + hour, DEAD_HOST))
    for place, worker in enumerate(day.workers):
        day.at(
            deploy + place * BETWEEN_RESTARTS,
            lambda worker=worker: day.restart(worker),  # type: ignore[misc]
        )
    day.at(loss, lambda: day.lose(day.workers[0], loss + hour))
    day.live_until(hours * HOUR)
    deployed = deploy + workers * BETWEEN_RESTARTS
    healthy = [each for each in day.started if each.host != DEAD_HOST]
    windows = {
        "the whole day, other hosts": (WARM * scale, hours * HOUR),
        "one host dead, the others' accounts": (dead, dead + hour),
        "deploy": (deploy, deployed + SLACK * scale),
        "a worker lost": (loss, loss + hour),
    }
    found = {
        name: lags([each for each in healthy if begin <= each.at < end])
        for name, (begin, end) in windows.items()
    }
    after = [each for each in day.started if each.host == DEAD_HOST and each.at >= dead + hour]
    return {
        "workers": workers,
        "windows": found,
        "runs": len(day.started),
        "endings": {ending.value: count for ending, count in day.endings.items()},
        "back": _back(
            after, dead + hour, sum(1 for place in range(len(sizes)) if place % HOSTS == DEAD_HOST)
        ),
        "waiting": day.waiting(),
    }


def _back(after: list[Started], since: float, accounts: int) -> float:
    """
    Seconds after which as many runs of the host began as it has accounts.
    """
    return after[accounts - 1].at - since if len(after) >= accounts else float("inf")


def lags(started: Sequence[Started]) -> Figures:
    """
    Percentiles of the seconds between due and begun.
    """
    seconds = np.array([each.lag for each in started] or [0.0])
    shares = {"p50": 50, "p95": 95, "p99": 99, "p99.9": 99.9, "max": 100}
    return {
        "runs": len(started),
        **{name: float(np.percentile(seconds, share)) for name, share in shares.items()},
        "late": int((seconds > INTERVAL).sum()),
    }


def _limited(workers: int, rate: int) -> Figures:
    """
    Workers that share a host which grants so many requests a second: how much of it they use.
    """
    clock, limit = SimulatedClock(), RateLimit(rate, bucket=True)
    throttles = [Throttle(8 * IN_FLIGHT, clock) for _ in range(workers)]
    ends: list[tuple[float, int, int, float, bool]] = []
    ids, granted = itertools.count(), 0
    end = clock.now + LIMIT_SECONDS
    while clock.now < end:
        delays = [throttle.delay() for throttle in throttles]
        first = min(range(workers), key=delays.__getitem__)
        if ends and clock.now + delays[first] >= ends[0][0]:
            clock.now, _id, place, began_at, was_granted = heapq.heappop(ends)
            throttles[place].record(response() if was_granted else response(429), began_at)
            throttles[place].in_flight -= 1
            granted += was_granted
            continue
        clock.now += delays[first]
        began_at = throttles[first].begin()
        heapq.heappush(
            ends, (clock.now + PAGE, next(ids), first, began_at, limit.grants(clock.now))
        )
    return {
        "workers": workers,
        "rate": rate,
        "used": granted / LIMIT_SECONDS / rate,
        "refused": limit.refused / (granted + limit.refused),
    }
