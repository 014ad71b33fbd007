"""
How long the accounts of a worker that was killed wait until they have run elsewhere.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench_pages import prepare
from bench_rig import serving
from fleet_rig import OVERLAPS, new_accounts, say
from sqlalchemy import text

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from bench_rig import Figures, Postgresql
    from fleet_rig import Accounts

NUMBERS = 400  # of each account: a few pages
SECONDS_A_PAGE = 0.3
WORKERS = 3
RUNS_A_SECOND = 7  # of all workers, so that they have slots to spare
LOOK = 0.05  # seconds between two looks
PATIENCE = 120.0  # seconds
ITS_RUNS = "SELECT account FROM sync_runs WHERE state = 'running' AND detail->>'pid' = :pid"
SINCE = """
SELECT account, extract(epoch FROM min(finished_at)) AS at FROM sync_runs
WHERE state = 'succeeded' AND started_at > to_timestamp(:since) AND account = ANY(:names)
GROUP BY account"""


def measure(server: Postgresql, home: Path, pages: Path, accounts: int, kills: int) -> Figures:
    """
    Kill one of three busy workers again and again, each time replaced, and count.
    """
    with (
        new_accounts(server, home) as some,
        serving(prepare(pages, NUMBERS), SECONDS_A_PAGE) as api,
    ):
        some.add(accounts, api)
        interval = max(accounts // RUNS_A_SECOND, 2)
        begin = {"SYNCSVC_SCHEDULE": f"{interval}s", "SYNCSVC_LOG_LEVEL": "warning"}
        workers = some.fleet.start(WORKERS, **begin)
        found = []
        for number in range(kills):
            found.append(_kill(some, workers[number % WORKERS]))
            workers[number % WORKERS] = some.fleet.start(1, **begin)[0]
            say(f"kill {number + 1}: {len(found[-1])} accounts back after {max(found[-1]):.1f} s")
        some.fleet.stop()
        return {
            "accounts": accounts,
            "kills": kills,
            "seconds": [max(each) for each in found],
            "each": [seconds for each in found for seconds in each],
            "runs": int(some.ask("SELECT count(*) FROM sync_runs")),
            "crashed": int(some.ask("SELECT count(*) FROM sync_runs WHERE state = 'crashed'")),
            "overlaps": int(some.ask(OVERLAPS)),
        }


def _kill(some: Accounts, worker: subprocess.Popen[bytes]) -> list[float]:
    """
    Kill a worker in the middle of its runs; seconds until each account's next one succeeded.
    """
    _wait_for(lambda: len(_its_runs(some, worker)) > 1)
    worker.kill()
    worker.wait()
    killed_at = time.time()
    names = _its_runs(some, worker)
    _wait_for(lambda: len(_ended(some, names, killed_at)) == len(names))
    return [at - killed_at for at in _ended(some, names, killed_at).values()]


def _its_runs(some: Accounts, worker: subprocess.Popen[bytes]) -> list[str]:
    with some.engine.connect() as connection:
        return list(connection.execute(text(ITS_RUNS), {"pid": str(worker.pid)}).scalars())


def _ended(some: Accounts, names: list[str], since: float) -> dict[str, float]:
    with some.engine.connect() as connection:
        rows = connection.execute(text(SINCE), {"since": since, "names": names})
        return {row.account: float(row.at) for row in rows}


def _wait_for(true: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > ends_at:
            raise RuntimeError("The workers did not get there.")
        time.sleep(LOOK)
