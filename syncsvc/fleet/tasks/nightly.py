"""
What one worker of all does at night.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from syncsvc import clock
from syncsvc.accounts import rows
from syncsvc.database import transactions
from syncsvc.database.maintenance import monthly_view, retention
from syncsvc.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

log = structlog.get_logger(__name__)

KEEP_RUNS = timedelta(days=30)  # if SYNCSVC_KEEP_RUNS is not set
REFRESH_LIMIT = 3600.0  # seconds


def do_nightly(engine: Engine, keep_runs: timedelta | None) -> None:
    """
    Remove old rows of `sync_runs`, and refresh the materialised view of months.
    """
    try:
        with transactions.translated():
            _remove_runs(engine, clock.now() - (keep_runs or KEEP_RUNS))
    except DatabaseUnavailable as exc:
        log.warning("fleet.database_lost", error=str(exc))
    else:
        _refresh_months(engine)


def _remove_runs(engine: Engine, before: datetime) -> None:
    with engine.connect() as connection:
        names = rows.enabled(connection)
    for name in names:
        with engine.begin() as connection:
            for table, conditions in retention.superseded(name, None, before).items():
                retention.remove(connection, table, conditions)
    log.info("fleet.old_runs_removed", accounts=len(names))


def _refresh_months(engine: Engine) -> None:
    """
    Refresh the materialised view of months, if there is one.
    """
    try:
        with transactions.translated():
            monthly_view.refresh(engine, REFRESH_LIMIT)
    except DatabaseUnavailable as exc:
        log.warning("fleet.monthly_view_not_refreshed", error=str(exc), to_do=monthly_view.REFRESH)
