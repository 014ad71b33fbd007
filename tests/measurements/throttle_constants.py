"""
How much depends on each of the throttle's constants?

Simulates providers with several rate limits, with each constant at its own
value and at others, and prints the worst case of each: the share of the limit
that is used, and the share of requests that are refused.

    PYTHONPATH=tests python tests/measurements/throttle_constants.py
"""

from __future__ import annotations

from itertools import product
from typing import Any

from support.rate_limited import RateLimit, SimulatedClock, simulate
from syncsvc.provider import throttle

SECONDS = 400  # of the provider, at its limit
RATES = (5, 20, 100)
REFUSALS: tuple[dict[str, Any], ...] = ({}, {"Retry_After": "1"}, {"Retry_After": "0"})
VALUES: dict[str, tuple[float, ...]] = {
    "FLOOR": (0.7, 0.8, 0.85, 0.9, 0.95),
    "PLATEAU": (0.85, 0.9, 0.925, 0.95, 0.975, 1.0),
    "OVERSHOOT": (1.25, 1.5, 2.0, 3.0, 1e9),
    "RECOVERY": (10.0, 20.0, 30.0, 40.0, 60.0),
    "SEARCH": (2.0, 3.0, 5.0, 8.0, 15.0, 30.0),
    "FIRST_PAUSE": (0.03, 0.06, 0.125, 0.25, 0.5, 1.0),
}


def worst_case() -> tuple[float, float]:
    """
    Return the least used share of the limit, and the largest share of refused requests.
    """
    used, refused = [], []
    for rate, bucket, headers in product(RATES, (True, False), REFUSALS):
        clock, limit, pages = SimulatedClock(), RateLimit(rate, bucket=bucket), rate * SECONDS
        took = simulate(throttle.Throttle(4, clock), clock, limit, pages, **headers)
        used.append(SECONDS / took)
        refused.append(limit.refused / (pages + limit.refused))
    return min(used), max(refused)


def main() -> None:
    """
    Print a table for the documentation.
    """
    print("| constant | value | used at least | refused at most |")  # noqa: T201
    print("| --- | --- | --- | --- |")  # noqa: T201
    for name, values in VALUES.items():
        chosen = getattr(throttle, name)
        for value in values:
            setattr(throttle, name, value)
            used, refused = worst_case()
            shown = f"**{value:g}**" if value == chosen else f"{value:g}"
            print(f"| `{name}` | {shown} | {used:.1%} | {refused:.2%} |")  # noqa: T201
        setattr(throttle, name, chosen)


if __name__ == "__main__":
    main()
