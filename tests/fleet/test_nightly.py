"""
What one worker of all does at night.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert, text
from structlog.testing import capture_logs

from support.build import NEW_YEAR, rows_of
from syncsvc import clock
from syncsvc.accounts import rows
from syncsvc.database.maintenance import monthly_view
from syncsvc.fleet.tasks import nightly
from syncsvc.fleet.worker import FleetWorker
from syncsvc.metrics import RunMetrics
from syncsvc.schema.tables import sync_runs
from syncsvc.worker.systemd import Notifier

if TYPE_CHECKING:
    from support.fleets import Fleet


def record_runs(fleet: Fleet, account: str) -> None:
    """
    Record an old run, and a new one, of an account with a row.
    """
    with fleet.engine.begin() as connection:
        rows.add(connection, rows.Account(name=account))
        for began_at in (NEW_YEAR, clock.now() - timedelta(days=1)):
            values = {"account": account, "trigger": "schedule", "state": "succeeded"}
            times = {"started_at": began_at, "finished_at": began_at, "recorded_at": began_at}
            run = {**values, **times, "service_version": "0", "detail": {}}
            connection.execute(insert(sync_runs).values(run))


def test_old_runs_are_removed_at_night(fleet: Fleet) -> None:
    """
    Of each account those past SYNCSVC_KEEP_RUNS, which is 30 days if it is not set.
    """
    record_runs(fleet, "one")
    record_runs(fleet, "two")
    with capture_logs() as logs:
        nightly.do_nightly(fleet.engine, None)

    left = rows_of(fleet.engine, sync_runs)
    assert sorted(row["account"] for row in left) == ["one", "two"]
    assert all(row["started_at"] > NEW_YEAR for row in left)
    assert [line["event"] for line in logs] == ["fleet.old_runs_removed"]


def test_a_view_that_can_not_be_refreshed_is_told(fleet: Fleet) -> None:
    """
    The log says what failed, and what to do.
    """
    with fleet.engine.begin() as connection:
        monthly_view.create(connection)
        connection.execute(text("DROP INDEX uq_inventory_by_month_kept"))
    with capture_logs() as logs:
        nightly.do_nightly(fleet.engine, None)

    (line,) = [each for each in logs if each["event"] == "fleet.monthly_view_not_refreshed"]
    assert line["to_do"] == monthly_view.REFRESH


def test_a_worker_that_has_just_begun_is_alive(fleet: Fleet) -> None:
    """
    Its endpoints may be asked before it has handed out anything.
    """
    settings = fleet.settings()
    worker = FleetWorker(settings, lambda: settings, RunMetrics(None), Notifier({}))

    assert worker.is_progressing()
    assert worker.readiness().ready
