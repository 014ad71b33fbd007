"""
What a fleet of many accounts costs, and how it behaves: `make bench-fleet`.

    make bench-fleet BENCH="--only constants --accounts 20"

measures the parts named, or all of them, and writes their figures into the ones that were measured
before. The simulation uses the constants that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fleet_constants
import fleet_fairness
import fleet_kills
import fleet_large
import fleet_simulate
import fleet_sizing
import fleet_tables
import fleet_throughput
import fleet_upkeep
from bench_rig import postgresql, workplace
from fleet_day import Costs
from fleet_rig import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench_rig import Figures, Postgresql

WITH_SERVER: dict[str, Callable[[argparse.Namespace, Postgresql, Path], Figures]] = {
    "constants": lambda options, server, home: fleet_constants.measure(
        server, home, options.pages, _accounts_by_size(options)
    ),
    "upkeep": lambda options, server, home: fleet_upkeep.measure(
        server, home, options.pages, options.runs
    ),
    "throughput": lambda options, server, home: fleet_throughput.measure(
        server, home, options.pages, options.due, options.workers
    ),
    "partitions": lambda options, server, home: {
        name: fleet_constants.measure(
            server, home, options.pages, {options.sizes[-1]: options.sample // 4}, divided=divided
        )["means"]
        for name, divided in (("plain", False), ("divided", True))
    },
    "kills": lambda options, server, home: fleet_kills.measure(
        server, home, options.pages, min(options.accounts, 200), options.kills
    ),
    "fairness": lambda options, server, home: fleet_fairness.measure(
        server, home, options.pages, options.seconds
    ),
}
PARTS = (*WITH_SERVER, "large", "day")


def _accounts_by_size(options: argparse.Namespace) -> dict[int, int]:
    """
    Half as many accounts of the largest size.
    """
    largest = max(options.sizes)
    halved = {largest: max(options.accounts // 2, 2)} if len(options.sizes) > 1 else {}
    return dict.fromkeys(options.sizes, options.accounts) | halved


def measure(part: str, options: argparse.Namespace, known: Figures, home: Path) -> Figures:
    """
    The figures of one part.
    """
    if part == "day":
        return fleet_simulate.simulate(
            _costs(known), options.day_accounts, options.day_numbers, hours=options.hours
        )
    place = home / part
    place.mkdir()
    if part == "large":
        accounts, size = options.large
        return fleet_large.measure(place, options.pages, accounts, size, options.sample)
    with postgresql(place) as server:
        return WITH_SERVER[part](options, server, place)


def _costs(known: Figures) -> Costs:
    """
    The constants that were measured, with what the engine adds to a run if that was, too.
    """
    if "constants" not in known:
        raise SystemExit("The simulation needs the constants: --only constants day")
    formulas = known["constants"]["formulas"]
    client, server = (formulas[cost]["later"]["constants"] for cost in ("cpu", "server_cpu"))
    engine = fleet_sizing.engine_costs(known)
    return Costs(
        (client[0] + engine["cpu"], client[1]),
        (server[0] + engine["server_cpu"], server[1]),
        fleet_simulate.PAGE,
    )


def circumstances() -> Figures:
    """
    When and where a part was measured, and how busy the machine was before.
    """
    return {
        "at": time.strftime("%Y-%m-%d %H:%M"),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """
    What to measure, and how much of it.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--accounts", type=int, default=200, help="of constants and kills")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--runs", type=int, default=2_000, help="without changes, of upkeep")
    parser.add_argument("--due", type=int, default=10_000, help="accounts, of throughput")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of throughput")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120.0, help="of fairness")
    parser.add_argument(
        "--large", type=int, nargs=2, default=[1_000, 10_000], metavar=("ACCOUNTS", "NUMBERS")
    )
    parser.add_argument("--sample", type=int, default=100, help="accounts swept of the large ones")
    parser.add_argument("--day-accounts", type=int, default=10_000)
    parser.add_argument("--day-numbers", type=int, default=100_000_000)
    parser.add_argument("--hours", type=float, default=24.0, help="of the simulated day")
    parser.add_argument("--pages", type=Path, default=Path("build/bench"), help="prepared pages")
    parser.add_argument("--output", type=Path, default=Path("build/bench/fleet.json"))
    parser.add_argument("--plot", type=Path, default=Path("docs/images/scale.svg"))
    return parser.parse_args(arguments)


def main() -> None:
    """
    Measure, write the figures after each part, print the tables and draw the plot.
    """
    options = options_of()
    options.pages = options.pages.absolute()
    options.pages.mkdir(parents=True, exist_ok=True)
    known: dict[str, Any] = {}
    if options.output.exists():
        known = json.loads(options.output.read_text())
    with workplace() as home:
        for part in (each for each in PARTS if each in options.only):
            where, began_at = circumstances(), time.perf_counter()
            known[part] = measure(part, options, known, home)
            known[part] |= {**where, "took": round(time.perf_counter() - began_at)}
            options.output.write_text(json.dumps(known, indent=1))
            say(f"{part}: done in {known[part]['took']} s")
    fleet_tables.write({part: known[part] for part in PARTS if part in known}, options.plot)


if __name__ == "__main__":
    main()
