"""
syncsvc beside its peers: the same prepared pages, the same database server, in the same run.

    make bench-peers
    python tests/benchmarks/peers_bench.py --peers orm --sizes 10000 --rounds 1

Each peer gets a new database and loads twice, from the same listing. What it
loaded is counted, and a peer that did other work ends the run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench_bars import bars, table
from bench_pages import prepare
from bench_rig import postgresql, run_task, serving, workplace
from bench_sync import medians
from peers_bars import BARS, OURS, beside
from peers_catalogue import PEERS
from peers_rig import check, load_peer, load_syncsvc, with_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench_rig import Figures, Postgresql
    from bench_sync import Samples

TWICE = ("first", "unchanged")


def measure_limit(database: Postgresql, api: str) -> Iterator[tuple[str, Figures]]:
    """
    To fetch, decode and load every row once.
    """
    url = database.new()
    yield "fetch", run_task("fetch", api)
    yield "decode", run_task("decode", api)
    yield "load_postgresql", run_task("load_postgresql", api, url)
    database.drop(url)


def measure_syncsvc(database: Postgresql, api: str) -> Iterator[tuple[str, Figures]]:
    """
    Both syncs.
    """
    url = database.new()
    for load in TWICE:
        yield f"{load}_{OURS}", load_syncsvc(database, api, url)
    database.drop(url)


def measure_peer(
    name: str, database: Postgresql, api: str, size: int, python: Path
) -> Iterator[tuple[str, Figures]]:
    """
    Both loads of a peer, each counted, and the first one with the keys that syncsvc's tables have.
    """
    url, peer = database.new(), PEERS[name]
    loads = {}
    with workplace() as state:
        for load in TWICE:
            loads[load] = load_peer(peer, database, api, url, python=python, state=state)
            check(peer, url, size, loads[load])
            yield f"{load}_{name}", loads[load]
    if peer.keys:  # after the second load, which is to be without them
        yield f"keyed_{name}", with_keys(peer, database, url, loads["first"])
    database.drop(url)


def measure(
    database: Postgresql, pages: Path, size: int, peers: list[str], python: Path
) -> Iterator[tuple[str, Figures]]:
    """
    The limit, syncsvc and its peers, one after the other.
    """
    with serving(pages) as api:
        yield from measure_limit(database, api)
        yield from measure_syncsvc(database, api)
        for name in peers:
            yield from measure_peer(name, database, api, size, python)


def collect(options: argparse.Namespace) -> dict[str, Samples]:
    """
    Every figure of every round, by size and name; slow peers are measured in the first round.
    """
    found: dict[str, Samples] = defaultdict(lambda: defaultdict(list))
    with workplace() as home, postgresql(home) as database:
        for size in sorted(options.sizes):
            pages = prepare(options.pages.absolute(), size)
            for number in range(options.rounds):
                peers = [name for name in options.peers if not (PEERS[name].slow and number)]
                for name, figures in measure(database, pages, size, peers, options.python):
                    found[str(size)][name].append(figures)
                    _say(f"{size:,} numbers, round {number + 1}: {name} {figures['wall']:.2f} s")
    return found


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """
    What to measure; peers with an environment of their own need it.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--python", type=Path, default=Path(".venv-peers/bin/python"))
    parser.add_argument("--pages", type=Path, default=Path("build/bench"), help="prepared pages")
    parser.add_argument("--output", type=Path, default=Path("build/bench/peers.json"))
    options = parser.parse_args(given)
    options.python = options.python.absolute()
    if not options.python.exists() and any(PEERS[name].own_environment for name in options.peers):
        parser.error(f"there is no {options.python}: `make bench-peers` makes it")
    return options


def main() -> None:
    """
    Measure, print the tables and write the figures.
    """
    options = arguments()
    options.pages.mkdir(parents=True, exist_ok=True)
    middle = medians(collect(options))
    told = bars(middle, BARS)
    options.output.write_text(json.dumps({"medians": middle, "bars": told}, indent=1))
    sys.stdout.write(table(middle, told) + "\n" + beside(middle))


if __name__ == "__main__":
    main()
