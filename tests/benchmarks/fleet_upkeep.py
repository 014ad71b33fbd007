"""
What thousands of runs without changes leave behind: the catalogue, `sync_runs` and the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench_pages import prepare
from bench_rig import serving
from fleet_rig import new_accounts, say

if TYPE_CHECKING:
    from pathlib import Path

    from bench_rig import Figures, Postgresql

NUMBERS = 100  # of each account
ACCOUNTS = 20
PARTS = 4


def measure(server: Postgresql, home: Path, pages: Path, runs: int) -> Figures:
    """
    Run accounts again and again in one process for each part, and look after each.
    """
    with new_accounts(server, home) as some, serving(prepare(pages, NUMBERS)) as api:
        names = some.add(ACCOUNTS, api)
        some.sweep(names)
        some.settle()
        parts, total = [], 0
        before = _left(server, some.url, some.sizes())
        each = max(runs // PARTS, 2)
        for _ in range(PARTS):
            swept = some.sweep((names * (each // len(names) + 1))[:each], each)
            after = _left(server, some.url, some.sizes())
            total += each
            parts.append(
                {
                    "runs": total,
                    "wal_bytes": swept.mean("wal_bytes"),
                    "cpu": swept.mean("cpu"),
                    "server_cpu": swept.mean("server_cpu"),
                    "wall": swept.mean("wall"),
                    "catalogue": after["catalogue"] - before["catalogue"],
                    "sync_runs": (after["sync_runs"] - before["sync_runs"]) / total,
                    "account_status": after["account_status"],
                }
            )
            say(f"{total:,} runs without changes: done")
    return {"numbers": NUMBERS, "accounts": ACCOUNTS, "before": before, "parts": parts}


def _left(server: Postgresql, url: str, sizes: dict[str, int]) -> dict[str, int]:
    return {
        "catalogue": server.catalogue(url),
        "sync_runs": sizes["sync_runs"],
        "account_status": sizes["account_status"],
    }
