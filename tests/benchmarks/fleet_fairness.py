"""
Whether accounts of a provider that is well wait for those of others, and how a limit is kept to.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from datetime import UTC
from typing import TYPE_CHECKING

from bench_pages import prepare
from bench_rig import serving
from fleet_rig import OVERLAPS, new_accounts, say
from sqlalchemy import text

from syncsvc.provider.client import NumberApi
from syncsvc.provider.meter import NoMeter
from syncsvc.provider.shared_hosts import Address, SharedHosts
from syncsvc.provider.tokens import FixedToken

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench_rig import Figures, Postgresql

NUMBERS = 400  # of each account
HEALTHY, DEAD, HUNG = 75, 20, 5  # accounts
WORKERS = 3
INTERVAL = 30  # seconds between two runs of an account
WARM_UP = 0.5  # of the time that is measured; it comes before
FOREVER = 3600.0  # seconds that a hung provider takes for a page
LIMIT = 50.0  # requests a second
RUNS_AT_ONCE = 8
FIRST = 5_000  # numbers of an account in its first run
THREADS = 4  # whose first runs go side by side
LOOK = 0.05  # seconds between two looks at the locks
WAITS = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event <> 'extend'
AND datname = current_database()"""
LATE = """
SELECT extract(epoch FROM started_at - before) - :interval AS late FROM (
  SELECT account, started_at, lag(started_at) OVER (PARTITION BY account ORDER BY id) AS before
  FROM sync_runs
) AS runs
WHERE account LIKE 'healthy-%' AND before IS NOT NULL AND started_at > to_timestamp(:since)"""
WAITING = """
SELECT extract(epoch FROM now() - max(started_at)) - :interval AS late FROM sync_runs
WHERE account LIKE 'healthy-%' GROUP BY account"""


def measure(server: Postgresql, home: Path, pages: Path, seconds: float) -> Figures:
    """
    Sync healthy, dead and hung accounts side by side; by how much the healthy ones were late.

    Args:
        seconds: How long that is measured; what else there is takes as many pages and accounts.
    """
    warm_up = WARM_UP * seconds
    listing = prepare(pages, NUMBERS)
    with ExitStack() as stack:
        some = stack.enter_context(new_accounts(server, home))
        some.add(HEALTHY, stack.enter_context(serving(listing)), "healthy")
        some.add(DEAD, f"http://127.0.0.1:{_unused_port()}", "dead")
        some.add(HUNG, stack.enter_context(serving(listing, FOREVER)), "hung")
        began_at = time.time()
        some.fleet.start(WORKERS, SYNCSVC_SCHEDULE=f"{INTERVAL}s", SYNCSVC_LOG_LEVEL="critical")
        time.sleep(warm_up + seconds)
        since = {"interval": INTERVAL, "since": began_at + warm_up}
        with some.engine.connect() as connection:
            late = [float(each) for each in connection.execute(text(LATE), since).scalars()]
            waiting = connection.execute(text(WAITING), {"interval": INTERVAL}).scalars()
            late += [max(float(each), 0.0) for each in waiting]
        some.fleet.stop()
        say(f"{len(late)} runs of healthy accounts, at most {max(late):.1f} s late")
        return {
            "late": sorted(late),
            "runs": len(late),
            "overlaps": int(some.ask(OVERLAPS)),
            "limit": _limited(pages, max(int(seconds), 10)),
            "first_loads": _first_loads(server, home, pages, max(int(seconds) // 4, 6)),
        }


def _first_loads(server: Postgresql, home: Path, pages: Path, accounts: int) -> Figures:
    """
    Let first runs go side by side, and look how often one waits for another's lock.
    """
    waits = samples = 0
    ended = threading.Event()
    with (
        serving(prepare(pages, FIRST)) as api,
        new_accounts(server, home) as some,
        some.engine.connect() as connection,
    ):
        names = some.add(accounts, api)

        def sweep() -> None:
            some.sweep(names, threads=THREADS)
            ended.set()

        sweeping = threading.Thread(target=sweep)
        sweeping.start()
        while not ended.wait(LOOK):
            samples += 1
            waits += connection.execute(text(WAITS)).scalar_one()
            connection.rollback()
        sweeping.join()
    say(f"{waits} waits for locks in {samples} looks at first runs")
    return {"samples": samples, "waits": waits}


def _unused_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
        return port


class _Counting(NoMeter):
    """
    Counts requests by their status.
    """

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def requested(self, endpoint: str, status: str, seconds: float) -> None:  # noqa: ARG002 - as the other has it
        """
        Count one.
        """
        self.seen[status] += 1


def _limited(pages: Path, each: int) -> Figures:
    """
    Let several runs at once read from a provider that grants only so many requests a second.
    """
    counting = _Counting()
    shared = SharedHosts(connections=4 * RUNS_AT_ONCE, by_account=False, meter=counting)
    with serving(prepare(pages, 200 * each), rate=LIMIT) as url, closing(shared) as hosts:

        def read(account: str) -> None:
            transport = hosts.transport(Address(url, url, 30.0), account, 4)
            api = NumberApi(transport, FixedToken("x"), page_size=200, retries=8, zone=UTC)
            for page in range(1, each + 1):
                api.page(page)

        took = _all_at_once(read, RUNS_AT_ONCE)
    granted, refused = counting.seen["200"], counting.seen["429"]
    return {"rate": granted / took, "refused": refused / (granted + refused)}


def _all_at_once(function: Callable[[str], None], count: int) -> float:
    """
    Call a function in several threads; the seconds until all have ended.
    """
    threads = [threading.Thread(target=function, args=(str(number),)) for number in range(count)]
    began_at = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began_at
