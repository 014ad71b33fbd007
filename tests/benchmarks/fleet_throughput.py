"""
Thousands of due accounts through the hand-out and the task engine, with real workers.

Two kinds of run: `refused`, whose row has a setting that can't be used, so that nothing but the
hand-out, the engine and a note in the account's status is left of it; and `tiny`, the whole run of
an account with two numbers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil
from bench_pages import prepare
from bench_rig import serving
from fleet_rig import Served, new_accounts, say
from sqlalchemy import text

from syncsvc.fleet.running_accounts import RunningAccounts
from syncsvc.fleet.tasks.hand_out import hand_out
from syncsvc.fleet.tasks.task_engine import Queue
from syncsvc.vocabulary import Lane

if TYPE_CHECKING:
    from pathlib import Path

    from bench_rig import Figures, Postgresql
    from fleet_rig import Accounts

NUMBERS = 2  # of a tiny account
PART = 20  # of all accounts, one in so many is tiny
HAND_OUTS = 20  # timed for each length of the row
SLOTS = {Lane.FAST: 6, Lane.SLOW: 2}
REFUSED = {"schedule": "never"}
LEFT = """
SELECT count(*) FROM accounts WHERE NOT EXISTS (
    SELECT FROM account_status AS status
    WHERE status.account = accounts.account AND last_state IS DISTINCT FROM 'running')"""
WAITING = 0.05  # seconds between two looks


def measure(
    server: Postgresql, home: Path, pages: Path, accounts: int, workers: list[int]
) -> Figures:
    """
    Time single hand-outs, then whole sweeps of all accounts with so many workers.
    """
    found: Figures = {"accounts": accounts, "hand_outs": [], "sweeps": []}
    with new_accounts(server, home) as some, serving(prepare(pages, NUMBERS)) as api:
        some.fleet.add(_names("tiny", some, max(accounts // PART, 1)), Served(api))
        for kind in ("tiny, first", "tiny, unchanged"):
            found["sweeps"].append(_swept(some, kind, workers[-1]))
    with new_accounts(server, home) as some:
        for due in sorted({accounts // 100, accounts // 10, accounts}):
            names = _names("refused", some, due)
            some.fleet.add(names, Served("http://127.0.0.1:9"), **REFUSED)
            found["hand_outs"].append({"due": due, "ms": time_hand_outs(some, due)})
        for count in workers:
            found["sweeps"].append(_swept(some, "refused", count))
    return found


def _names(kind: str, some: Accounts, wanted: int) -> list[str]:
    there = int(some.ask("SELECT count(*) FROM accounts"))
    return [f"{kind}-{number:05}" for number in range(there, wanted)]


def time_hand_outs(some: Accounts, due: int) -> list[float]:
    """
    How many milliseconds a hand-out to a worker without runs takes, several times.
    """
    some.settle()
    queue, took = Queue(), []
    for _ in range(HAND_OUTS):
        began_at = time.perf_counter()
        handed = hand_out(some.engine, queue, RunningAccounts(), SLOTS, "http://127.0.0.1:9")
        took.append((time.perf_counter() - began_at) * 1000)
        if handed != min(SLOTS[Lane.FAST], due):
            raise RuntimeError(f"{handed} accounts were handed out.")
        _execute(some, "DELETE FROM procrastinate_jobs")
    return took


def _swept(some: Accounts, kind: str, workers: int) -> Figures:
    """
    Let workers begin with all accounts due, and wait until each has had its turn.
    """
    _let_all_be_due(some)
    some.settle()
    accounts = int(some.ask(LEFT))
    wal, server = some.server.written(some.url), some.server.cpu()
    began_at = time.perf_counter()
    processes = [psutil.Process(each.pid) for each in some.fleet.start(workers)]
    started = _started(some, accounts, began_at)
    while some.ask(LEFT):
        time.sleep(WAITING)
    took = time.perf_counter() - began_at
    client = sum(sum(process.cpu_times()[:2]) for process in processes)
    figures = {
        "kind": kind,
        "workers": workers,
        "accounts": accounts,
        "seconds": took - started,
        "start": started,
        "rate": accounts / (took - started),
        "cpu": client / accounts,
        "server_cpu": (some.server.cpu() - server) / accounts,
        "wal_bytes": (some.server.written(some.url) - wal) / accounts,
    }
    some.fleet.stop()
    say(f"{accounts:,} accounts, {kind}, {workers} workers: {figures['rate']:.0f} a second")
    return figures


def _started(some: Accounts, accounts: int, began_at: float) -> float:
    """
    Seconds until the first account has had its turn.
    """
    while some.ask(LEFT) == accounts:
        time.sleep(WAITING)
    return time.perf_counter() - began_at


def _let_all_be_due(some: Accounts) -> None:
    """
    Forget that any account ever ran.
    """
    _execute(some, "DELETE FROM account_status")
    _execute(some, "DELETE FROM procrastinate_jobs")


def _execute(some: Accounts, statement: str) -> None:
    with some.engine.begin() as connection:
        connection.execute(text(statement))
