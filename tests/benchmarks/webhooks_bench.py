"""
What webhooks cost a run: the same changes with 20 endpoints and without one, in pairs.

    make bench-webhooks
    python tests/benchmarks/webhooks_bench.py --numbers 100000 --endpoints 20 --rounds 5

A run only notes that there is something to tell; whoever delivers does so afterwards. Last comes
how long 1,000 events take to a receiver on loopback.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench_pages import prepare
from bench_rig import Sqlite, postgresql, serving, workplace
from bench_sync import _run
from sqlalchemy import make_url, update

from syncsvc.accounts.sealing import new_key
from syncsvc.clock import now
from syncsvc.database.engine import open_engine
from syncsvc.metrics import Metrics
from syncsvc.notify import cursors, endpoint_rows, secrets_and_signatures
from syncsvc.notify.deliver import Context, deliver
from syncsvc.notify.endpoint_rows import Endpoint
from syncsvc.schema.tables import notify_endpoints
from syncsvc.settings.settings import Settings

if TYPE_CHECKING:
    from bench_rig import Database, Figures

FIGURES = ("wall", "cpu", "server_cpu", "wal_bytes")
SETTINGS = Settings(accounts_key=new_key())  # type: ignore[arg-type]  # pydantic wraps it


def say(text: str) -> None:
    """
    Print a line at once.
    """
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def changed(database: Database, pages: tuple[Path, Path], count: int) -> tuple[str, Figures]:
    """
    A run over a listing with changes, after a first one and so many endpoints; where, and its cost.
    """
    url = database.new()
    with serving(pages[0]) as first, serving(pages[1]) as later:
        _run(database, first, url)
        add(url, count, "https://example.com/hook")
        return url, _run(database, later, url)


def add(url: str, count: int, address: str) -> None:
    """
    Add endpoints.
    """
    with open_engine(make_url(url)).begin() as connection:
        for number in range(count):
            sealed = secrets_and_signatures.seal(
                SETTINGS, f"hook-{number}", [secrets_and_signatures.new_secret()]
            )
            endpoint_rows.add(
                connection, Endpoint(name=f"hook-{number}", url=address, sealed=sealed, bulk=True)
            )


class Accepting(BaseHTTPRequestHandler):
    """
    Accepts everything.
    """

    protocol_version = "HTTP/1.1"
    accepted = 0

    def do_POST(self) -> None:
        """
        Read a request, and answer.
        """
        self.rfile.read(int(self.headers["content-length"]))
        Accepting.accepted += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """
        Keep still.
        """


def delivering(url: str) -> float:
    """
    Replay the last run to one endpoint; the events a second.
    """
    engine = open_engine(make_url(url))
    with ThreadingHTTPServer(("127.0.0.1", 0), Accepting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        with engine.begin() as connection:
            connection.execute(update(notify_endpoints).values(url=address))
            cursors.retry_now(connection, "hook-0")
        metrics = Metrics("default").notify
        context = Context(settings=lambda: SETTINGS, metrics=metrics)
        Accepting.accepted, began_at = 0, time.monotonic()
        failed = deliver(engine, "hook-0", "default", context)
        server.shutdown()
    if failed:
        raise RuntimeError(failed)
    return Accepting.accepted / (time.monotonic() - began_at)


def main() -> None:
    """
    Measure, and print a table.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=100_000)
    parser.add_argument("--endpoints", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    say(f"{now():%Y-%m-%d}, {chosen.numbers:,} numbers, medians of {chosen.rounds} pairs")
    say("| database | figure | with ÷ without | with |\n| --- | --- | ---: | ---: |")
    with ExitStack() as stack:
        pages = Path(stack.enter_context(TemporaryDirectory()))
        home = stack.enter_context(workplace())
        both = tuple(prepare(pages, chosen.numbers, changed=each) for each in (False, True))
        for database in (stack.enter_context(postgresql(home)), Sqlite(home)):
            measure(database, (both[0], both[1]), chosen.endpoints, chosen.rounds)


def measure(database: Database, pages: tuple[Path, Path], count: int, rounds: int) -> None:
    """
    Print the medians of ratios of one kind of database, and the events a second.
    """
    pairs: list[tuple[Figures, Figures]] = []
    rates = []
    for number in range(rounds):
        found = {}
        for endpoints_added in (0, count) if number % 2 else (count, 0):
            url, found[endpoints_added] = changed(database, pages, endpoints_added)
            if endpoints_added:
                rates.append(delivering(url))
            database.drop(url)
        pairs.append((found[count], found[0]))
    for name in FIGURES:
        ratios = [with_[name] / without[name] for with_, without in pairs if without.get(name)]
        if ratios:
            value = statistics.median(with_[name] for with_, _ in pairs)
            say(f"| {database.kind} | {name} | {statistics.median(ratios):.3f} | {value:,.2f} |")
    say(f"| {database.kind} | events/s to one endpoint | | {statistics.median(rates):,.0f} |")


if __name__ == "__main__":
    main()
