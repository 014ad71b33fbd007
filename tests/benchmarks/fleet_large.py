"""
Runs in a database that is thirty times its cache, compared with those in a small one.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from bench_pages import prepare
from bench_rig import postgresql, serving
from fleet_rig import new_accounts, say
from sqlalchemy import text

from syncsvc import clock
from syncsvc.reports import REPORTS, read_arguments
from syncsvc.schema.tables import (
    account_status,
    address_history,
    addresses,
    number_history,
    numbers,
)

if TYPE_CHECKING:
    from pathlib import Path

    from bench_rig import Figures
    from fleet_rig import Accounts, Sweep

BYTES_A_NUMBER = 880
SHARE = 30  # the database is so many times as large as the server's cache
SMALLEST_CACHE = 1 << 20  # bytes
SMALL = 12  # accounts of the small database, which its cache holds
PARTS = 10  # of the load, each with figures of its own
COSTS = ("cpu", "server_cpu", "wal_bytes", "wall")
COPIED = (account_status, addresses, address_history, numbers, number_history)
COPY = """
INSERT INTO {table} (account, {columns})
SELECT target, {columns}
FROM {table}
JOIN unnest(CAST(:sources AS text[]), CAST(:targets AS text[])) AS pair (source, target)
    ON account = source"""
READ = "SELECT blks_read FROM pg_stat_database WHERE datname = current_database()"


def measure(home: Path, pages: Path, accounts: int, size: int, sample: int) -> Figures:
    """
    Load a large database by first runs and copies, then sweep the accounts that were not copied.

    The same in a small one. Runs know rows by the transaction that wrote them, so that a copied
    account's next run would read all of its numbers.
    """
    cache = max(accounts * size * BYTES_A_NUMBER // SHARE, SMALLEST_CACHE)
    large, small = home / "large", home / "small"
    settings = {"shared_buffers": f"{cache >> 10}kB", "max_wal_size": "4GB"}
    found: Figures = {"accounts": accounts, "numbers": size, "sample": sample, "cache": cache}
    for place, count in ((small, SMALL), (large, accounts)):
        place.mkdir(mode=0o755)
        own = settings if place == large else {"max_wal_size": "4GB"}
        with postgresql(place, **own) as server, new_accounts(server, place) as some:
            found[place.name] = _of_database(some, pages, count, size, min(sample, count))
    return found


def _of_database(some: Accounts, pages: Path, count: int, size: int, sample: int) -> Figures:
    first, changed = (prepare(pages, size, changed=each) for each in (False, True))
    with serving(first) as before, serving(changed) as after:
        names = some.add(count, before)
        copies = max(count // sample, 1)
        found: Figures = {"load": _load(some, names, copies)}
        some.settle()
        found["bytes"] = int(some.ask("SELECT pg_database_size(current_database())"))
        synced = names[::copies]
        found["unchanged, nothing cached"] = _cold_sweep(some, synced)
        found["unchanged again, all cached"] = _sweep(some, synced)
        found["accounts report"] = time_report(some)
        some.point_at(after)
        found["1 % changed, nothing cached"] = _cold_sweep(some, synced)
    return found


def _load(some: Accounts, names: list[str], copies: int) -> list[Figures]:
    """
    First runs of every tenth account or so, each then copied to those after it; in parts.

    Returns:
        What a first run cost in each part, and how long the part took.
    """
    parts, length = [], max(len(names) // copies // PARTS, 2) * copies
    starts = range(0, len(names) - copies, length)
    for start in starts:  # the last part has at least two accounts to sync: the first is not timed
        part = names[start : start + length if start < starts[-1] else len(names)]
        began_at = time.perf_counter()
        swept = some.sweep(part[::copies], len(part))
        copy(some, part, copies)
        took = time.perf_counter() - began_at
        costs = {cost: swept.mean(cost) for cost in COSTS}
        parts.append({"accounts": start + len(part), "took": took, **costs})
        say(f"{start + len(part):,} accounts loaded")
    return parts


def copy(some: Accounts, names: list[str], copies: int) -> None:
    """
    Give all accounts the rows of those that were synced, each copied to the ones after it.
    """
    targets = [name for place, name in enumerate(names) if place % copies]
    sources = [names[place - place % copies] for place in range(len(names)) if place % copies]
    with some.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in COPIED:
            columns = ", ".join(c.name for c in table.columns if c.name not in {"account", "id"})
            key = ", id" if table is addresses else ""
            statement = COPY.format(table=table.name, columns=columns + key)
            connection.execute(text(statement), {"sources": sources, "targets": targets})


def _cold_sweep(some: Accounts, names: list[str]) -> Figures:
    """
    A sweep after the server and the operating system have forgotten what they had cached.
    """
    some.settle()
    with some.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS pg_buffercache"))
        connection.execute(text("SELECT pg_buffercache_evict_all()"))
    os.sync()
    for path in (some.server.data / "base").rglob("*"):
        forget(path)
    return _sweep(some, names)


def forget(path: Path) -> None:
    """
    Drop a file from the operating system's cache.
    """
    with suppress(FileNotFoundError, IsADirectoryError):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _sweep(some: Accounts, names: list[str]) -> Figures:
    before = int(some.ask(READ))
    swept = some.sweep(names, max(len(names) // 10, 1))
    time.sleep(1)  # a server tells its statistics late
    read = int(some.ask(READ)) - before
    return _figures(swept) | {"blocks_read": read / len(names)}


def _figures(swept: Sweep) -> Figures:
    return {cost: swept.mean(cost) for cost in COSTS} | {"changes": swept.events}


def time_report(some: Accounts) -> Figures:
    """
    How long the report `accounts` takes over all of them, until its rows are read.
    """
    report, took, rows = REPORTS["accounts"], [], 0
    for _ in range(3):
        began_at = time.perf_counter()
        with some.engine.begin() as connection:
            arguments = read_arguments(report, [], "default", clock.now())
            rows = sum(1 for _ in report.rows(connection, arguments))
        took.append(time.perf_counter() - began_at)
    return {"rows": rows, "seconds": took}
