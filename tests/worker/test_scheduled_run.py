"""
One account's runs in a worker: rotated credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from syncsvc.metrics import Metrics
from syncsvc.settings.loading import load_settings
from syncsvc.worker.scheduled_run import ScheduledRuns

if TYPE_CHECKING:
    from pathlib import Path

    from syncsvc.settings.settings import Settings


def test_a_rotated_database_that_can_not_be_used_changes_nothing(tmp_path: Path) -> None:
    """
    If the new settings lead nowhere, the worker logs that and keeps the old ones, all of them.
    """

    def settings(directory: str) -> Settings:
        return load_settings(
            environ={
                "SYNCSVC_API_TOKEN": "token",
                "SYNCSVC_DATABASE_URL": f"sqlite:///{tmp_path}/{directory}/a.db",
            }
        )

    before = settings(".")
    scheduled = ScheduledRuns(before, Metrics("default"), read_settings=lambda: settings("missing"))
    engine = scheduled.engine()

    with capture_logs() as logs:
        scheduled.reload_credentials()
    scheduled.close()

    assert [line["event"] for line in logs] == ["worker.credentials_reload_failed"]
    assert "missing does not exist" in logs[0]["error"]
    assert scheduled.settings == before
    assert scheduled.engine() is engine
