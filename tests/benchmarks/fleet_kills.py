"""
How long the accounts of a worker that was killed wait until they have run elsewhere.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

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
SELECT account, extract(epoch FROM min(started_at)) AS begun,
    extract(epoch FROM min(finished_at)) AS ended
FROM sync_runs
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
        _wait_for(lambda: len(some.fleet.succeeded()) == accounts)  # none waits for its first run
        found = []
        for number in range(kills):
            found.append(_kill(some, workers[number % WORKERS]))
            workers[number % WORKERS] = some.fleet.start(1, **begin)[0]
            last = max(each.ended for each in found[-1])
            say(f"kill {number + 1}: {len(found[-1])} accounts back after {last:.1f} s")
        some.fleet.stop()
        return {
            "accounts": accounts,
            "kills": kills,
            "last": [max(back.ended for back in each) for each in found],
            "ended": [back.ended for each in found for back in each],
            "begun": [back.begun for each in found for back in each],
            "runs": int(some.ask("SELECT count(*) FROM sync_runs")),
            "crashed": int(some.ask("SELECT count(*) FROM sync_runs WHERE state = 'crashed'")),
            "overlaps": int(some.ask(OVERLAPS)),
        }


class Back(NamedTuple):
    """
    Seconds from a kill until an account's next run that succeeded had begun, and ended.
    """

    begun: float
    ended: float


def _kill(some: Accounts, worker: subprocess.Popen[bytes]) -> list[Back]:
    """
    Kill a worker in the middle of its runs, and wait until each of its accounts has run again.
    """
    _wait_for(lambda: len(_its_runs(some, worker)) > 1)
    worker.kill()
    worker.wait()
    killed_at = time.time()
    names = _its_runs(some, worker)
    _wait_for(lambda: len(_back(some, names, killed_at)) == len(names))
    return _back(some, names, killed_at)


def _its_runs(some: Accounts, worker: subprocess.Popen[bytes]) -> list[str]:
    with some.engine.connect() as connection:
        return list(connection.execute(text(ITS_RUNS), {"pid": str(worker.pid)}).scalars())


def _back(some: Accounts, names: list[str], since: float) -> list[Back]:
    with some.engine.connect() as connection:
        rows = connection.execute(text(SINCE), {"since": since, "names": names})
        return [Back(float(row.begun) - since, float(row.ended) - since) for row in rows]


def _wait_for(true: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > ends_at:
            raise RuntimeError("The workers did not get there.")
        time.sleep(LOOK)
