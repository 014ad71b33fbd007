"""
What fleets of several sizes need, by the formula with the constants that were measured.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from fleet_constants import COSTS, Formula

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench_rig import Figures

DAY = 86_400.0
USE = 0.6  # of a core
NOT_CACHED = 1.3  # times as much CPU of a server that has none of the account's rows cached
SLOTS_IN_USE = 0.7
FAST_SLOTS, SESSIONS = 6, 14  # of a worker: SYNCSVC_FLEET_SLOTS + 6
CHANGED_A_DAY = 0.01  # of all numbers
PAGE_SIZE, IN_FLIGHT = 200, 4
KEPT_DAYS = 30  # of sync_runs, and of changes
GB = 1e-9


class Example(NamedTuple):
    """
    A fleet: seconds between two runs of an account, and until a page is answered.
    """

    accounts: int
    numbers: int
    interval: float
    page: float


EXAMPLES = (
    Example(50, 10_000, 900, 0.2),
    Example(1_000, 1_000, 900, 0.2),
    Example(1_000, 10_000, 900, 0.2),
    Example(10_000, 1_000, 900, 0.2),
    Example(10_000, 10_000, 3600, 0.2),
    Example(10_000, 10_000, 900, 0.2),
    Example(10_000, 10_000, 900, 0.5),
)


SIZES = (
    *("accounts of numbers, interval, answer", "runs/s", "a run, s", "client cores"),
    *("server cores", "workers", "connections", "requests/s", "WAL GB/day", "disk GB"),
)


def sizes(known: Figures) -> Iterator[tuple[str, ...]]:
    """
    What each of the examples needs: the rows of a table.
    """
    added = engine_costs(known)
    if "upkeep" in known:
        added["run_bytes"] = known["upkeep"]["parts"][-1]["sync_runs"]
    if "large" in known:
        one = known["large"]
        added["number_bytes"] = one["large"]["bytes"] / (one["accounts"] * one["numbers"])
    for one in EXAMPLES:
        name = f"{one.accounts:,} of {one.numbers:,}, {one.interval / 60:.0f} min, {one.page:g} s"
        found = needs(one, known["constants"], added)
        yield (name, *(f"{value:,.3g}" for value in found.values()))


def engine_costs(known: Figures) -> dict[str, float]:
    """
    What the hand-out and the engine add to a run: that of a tiny account less that of the formula.
    """
    if "throughput" not in known or "constants" not in known:
        return dict.fromkeys(COSTS, 0.0)
    sweeps = {each["kind"]: each for each in known["throughput"]["sweeps"]}
    tiny, formulas = sweeps["tiny, unchanged"], known["constants"]["formulas"]
    return {
        cost: max(tiny[cost] - Formula(**formulas[cost]["later"]).of(2.0, 0.0, 0.0), 0.0)
        for cost in COSTS
    }


def needs(one: Example, known: Figures, engine: dict[str, float]) -> Figures:
    """
    What a fleet needs, if 1 % of its numbers change in a day.

    Args:
        known: The constants.
        engine: What the hand-out and the engine add to a run, and bytes of a run and a number.
    """
    rate = one.accounts / one.interval
    changes = one.numbers * CHANGED_A_DAY * one.interval / DAY  # of a run, on average
    share = min(changes, 1.0)  # of runs that find any
    cost = {
        name: Formula(**kinds["later"]).of(one.numbers, share, changes) + engine.get(name, 0.0)
        for name, kinds in known["formulas"].items()
    }
    pages = one.numbers / PAGE_SIZE + 2
    seconds = (pages / IN_FLIGHT + 1) * one.page + cost["cpu"] + cost["server_cpu"]
    slots = rate * seconds / SLOTS_IN_USE
    cores = rate * cost["cpu"] / USE
    workers = max(math.ceil(cores), math.ceil(slots / FAST_SLOTS))
    largest = known["disk"][max(known["disk"], key=int)]
    changed = one.accounts * one.numbers * CHANGED_A_DAY * KEPT_DAYS
    runs = rate * DAY * KEPT_DAYS
    return {
        "rate": rate,
        "seconds": seconds,
        "cores": cores,
        "server_cores": rate * cost["server_cpu"] * NOT_CACHED / USE,
        "workers": workers,
        "connections": workers * SESSIONS,
        "requests": rate * pages,
        "wal": rate * DAY * cost["wal_bytes"] * GB,
        "disk": (
            engine.get("number_bytes", largest["number"]) * one.accounts * one.numbers
            + largest["change"] * changed
            + engine.get("run_bytes", 0.0) * runs
        )
        * GB,
    }
