"""
How near to the limit syncsvc is, and whether it stays flat: ratios, within one run.

    make bench
    python tests/benchmarks/bench_sync.py --sizes 10000 100000 --rounds 3 --output figures.json

The limit is to fetch every page, decode every row and load every row once. It
is measured in pairs with real runs, each in a process of its own, against
prepared pages and a server with the settings that it comes with.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench_bars import bars, table
from bench_pages import prepare
from bench_plot import plot
from bench_rig import Sqlite, postgresql, requests_of, run_task, serving, workplace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench_rig import Database, Figures

LARGE = 1_000_000
SECONDS_A_PAGE = 0.05
RATE = 50.0  # requests a second that the limited server grants
MAIN = 100_000
SMALL = 100
Samples = dict[str, list["Figures"]]


def rounds_of(size: int, wanted: int) -> int:
    """
    Large listings are measured less often.
    """
    return min(wanted, 2) if size >= LARGE else wanted


def measure(database: Database, pages: Path, changed: Path) -> Iterator[tuple[str, Figures]]:
    """
    The limit and the runs, one after the other, against one new database.
    """
    kind = database.kind
    url = database.new()
    with serving(pages) as first, serving(changed) as later:
        yield "fetch", run_task("fetch", first)
        yield "decode", run_task("decode", first)
        yield f"load_{kind}", run_task(f"load_{kind}", first, url)
        yield f"first_{kind}", _run(database, first, url)
        yield f"unchanged_{kind}", _run(database, first, url)
        yield f"changed_{kind}", _run(database, later, url)
    database.drop(url)


def _run(database: Database, api: str, url: str, runs: int = 1) -> Figures:
    """
    One sync, or several in one process, with what they cost the server.
    """
    database.settle(url)
    wal, cpu, asked = database.written(url), database.cpu(), requests_of(api)["requests"]
    figures = run_task("sync", api, url, str(runs))
    if figures["result"]["state"] == "failed":
        raise RuntimeError(figures["result"]["error"])
    time.sleep(0.2)  # the session's end
    return figures | {
        "server_cpu": database.cpu() - cpu,
        "wal_bytes": database.written(url) - wal,
        "requests": requests_of(api)["requests"] - asked,
    }


def measure_latency(database: Database, pages: Path) -> Iterator[tuple[str, Figures]]:
    """
    A first sync of pages that take 50 ms each, one without changes, and one of limited requests.
    """
    url = database.new()
    for name, seconds, rate in (
        ("latency_first", SECONDS_A_PAGE, 0.0),
        ("latency_unchanged", SECONDS_A_PAGE, 0.0),
        ("limited_unchanged", 0.0, RATE),
    ):
        with serving(pages, seconds, rate) as api:
            yield name, _run(database, api, url) | requests_of(api)
    database.drop(url)


def measure_small(database: Database, pages: Path, runs: int) -> Iterator[tuple[str, Figures]]:
    """
    What one of many runs of a small account costs, and how much they add to the catalogue.
    """
    url = database.new()
    with serving(pages) as api:
        _run(database, api, url)
        before = database.catalogue(url)
        figures = _run(database, api, url, runs)
    each = {name: figures[name] / runs for name in ("wall", "cpu", "server_cpu", "wal_bytes")}
    yield "small_unchanged", each | {"catalogue_bytes": database.catalogue(url) - before}
    database.drop(url)


def measure_start() -> Iterator[tuple[str, Figures]]:
    """
    From the start of the process to its end, and to the first request.
    """
    command = [str(Path(sys.executable).parent / "syncsvc"), "--version"]
    began_at = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    yield "start_version", {"wall": time.perf_counter() - began_at}
    yield "start_sync", run_task("", script="bench_start.py")


def collect(directory: Path, sizes: list[int], rounds: int, small_runs: int) -> dict[str, Samples]:
    """
    Every figure of every round, by size and name.
    """
    found: dict[str, Samples] = defaultdict(lambda: defaultdict(list))
    with ExitStack() as stack:
        home = stack.enter_context(workplace())
        databases: list[Database] = [stack.enter_context(postgresql(home)), Sqlite(home)]
        for size in sizes:
            pages, changed = (prepare(directory, size, changed=each) for each in (False, True))
            for number in range(rounds_of(size, rounds)):
                for database in databases:
                    for name, figures in measure(database, pages, changed):
                        found[str(size)][name].append(figures)
                _say(f"{size:,} numbers, round {number + 1}: done")
        small = prepare(directory, SMALL)
        for name, figures in measure_small(databases[0], small, small_runs):
            found["once"][name].append(figures)
        usual = prepare(directory, MAIN if MAIN in sizes else min(sizes))
        for number in range(rounds):
            for name, figures in (*measure_latency(databases[0], usual), *measure_start()):
                found["once"][name].append(figures)
            _say(f"latency and start, round {number + 1}: done")
    return found


def medians(found: dict[str, Samples]) -> dict[str, dict[str, Figures]]:
    """
    The median of each figure.
    """
    return {
        size: {
            name: {
                key: statistics.median(sample[key] for sample in some)
                for key, value in some[0].items()
                if isinstance(value, int | float)
            }
            for name, some in samples.items()
        }
        for size, samples in found.items()
    }


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> None:
    """
    Measure, print the table of bars and write the figures.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, LARGE])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small-runs", type=int, default=1_000, help="runs of a small account")
    parser.add_argument("--pages", type=Path, default=Path("build/bench"), help="prepared pages")
    parser.add_argument("--output", type=Path, default=Path("build/bench/figures.json"))
    parser.add_argument("--plot", type=Path, default=Path("docs/images/speed.svg"))
    options = parser.parse_args()
    options.pages.mkdir(parents=True, exist_ok=True)
    found = collect(
        options.pages.absolute(), sorted(options.sizes), options.rounds, options.small_runs
    )
    middle = medians(found)
    told = bars(middle)
    options.output.write_text(json.dumps({"medians": middle, "bars": told}, indent=1))
    plot(middle, options.plot)
    sys.stdout.write(table(middle, told))


if __name__ == "__main__":
    main()
