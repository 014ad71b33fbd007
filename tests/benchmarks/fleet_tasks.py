"""
Runs of a fleet's accounts in one process, as a worker does them, with what they cost both sides.

    python tests/benchmarks/fleet_tasks.py DATA THREADS BATCH < names

reads the settings of a worker from the environment and one account a line, and prints a JSON object
with the figures of each batch on its last line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bench_rig import Postgresql
from bench_tasks import cpu_seconds
from sqlalchemy import text

from syncsvc.database.engine import open_engine
from syncsvc.fleet.account_run import AccountRuns, ProcessSettings
from syncsvc.fleet.metrics import FleetMetrics
from syncsvc.fleet.running_accounts import RunningAccounts
from syncsvc.logs import set_up_logging
from syncsvc.provider.shared_hosts import SharedHosts
from syncsvc.settings.loading import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench_rig import Figures
    from sqlalchemy import Connection

    from syncsvc.errors import SchemaNotCurrent
    from syncsvc.settings.settings import Settings

WRITTEN = text("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")


def fleet_runs(settings: Settings, threads: int) -> AccountRuns:
    """
    The runs of a fleet worker with so many slots: kept sessions, one transport for each host.
    """
    metrics = FleetMetrics()
    metrics.add_process()
    return AccountRuns(
        open_engine(settings.database, kept_sessions=threads),
        ProcessSettings(settings, lambda: load_settings(environ=os.environ)),
        SharedHosts(connections=threads * settings.concurrency, by_account=False, meter=metrics),
        metrics,
        RunningAccounts(),
        _fail,
    )


def _fail(problem: SchemaNotCurrent) -> None:
    raise problem


def batches(settings: Settings, data: Path, threads: int, size: int) -> Iterator[Figures]:
    """
    Sync the accounts that stdin names, batch by batch; the figures of each.
    """
    runs = fleet_runs(settings, threads)
    server = Postgresql(settings.database.render_as_string(hide_password=False), data)
    names = sys.stdin.read().split()
    with (
        open_engine(settings.database).connect() as connection,
        ThreadPoolExecutor(threads) as pool,
    ):
        connection.execution_options(isolation_level="AUTOCOMMIT")
        list(pool.map(runs.run, names[:threads]))  # the sessions' first runs, which are not counted
        for first in range(threads, len(names), size):
            batch = names[first : first + size]
            before = _now(server, connection)
            list(pool.map(runs.run, batch))
            after = _now(server, connection)
            yield {"runs": len(batch), **{name: after[name] - before[name] for name in before}}


def _now(server: Postgresql, connection: Connection) -> Figures:
    return {
        "wal_bytes": int(connection.execute(WRITTEN).scalar_one()),
        "server_cpu": server.cpu(),
        "cpu": cpu_seconds(),
        "wall": time.perf_counter(),
    }


if __name__ == "__main__":
    where, *figures = sys.argv[1:]
    own = load_settings(environ=os.environ)
    set_up_logging(own.log_level, own.log_format)
    found = list(batches(own, Path(where), *map(int, figures)))
    sys.stdout.write(json.dumps({"batches": found}) + "\n")
