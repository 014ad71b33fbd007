"""
What the tables have of an account, comparable with another account or another run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.build import PUBLISHED, rows_of
from syncsvc.schema.tables import withheld_cancellations

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from support.build import Row

OF_A_RUN = {"account", "id", "run_id", "first_run_id", "changed_run_id"}
TIMES = {"first_seen_at", "changed_at", "valid_from", "valid_to", "occurred_at", "cancelled_at"}


def contents(engine: Engine, account: str) -> list[list[str]]:
    """
    What the tables have of an account, but for its name, run ids and times, in any order.
    """
    tables = (*PUBLISHED, withheld_cancellations)
    return [
        sorted(repr(comparable(row)) for row in rows_of(engine, table, account=account))
        for table in tables
    ]


def comparable(row: Row) -> Row:
    """
    A row, and its changes, without what differs from run to run.
    """
    kept = {name: value for name, value in row.items() if name not in OF_A_RUN | TIMES}
    if kept.get("changes"):
        kept["changes"] = comparable(kept["changes"])
    return kept
