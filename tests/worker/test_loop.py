"""
The real worker process: it runs, tells how it is, stands by, stops, and never just ends.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text

from support.build import number_row, published, rows_of
from support.processes import PATIENCE, Workers, eventually, free_port
from syncsvc.database import locks
from syncsvc.database.maintenance import migrate
from syncsvc.sandbox import Fault, Inventory
from syncsvc.schema.tables import sync_runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from syncsvc.sandbox import Sandbox

SHORT_GRACE = "import syncsvc.worker.loop; syncsvc.worker.loop.STOP_TIMEOUT = 0.3"
STOPS = [signal.SIGTERM, signal.SIGINT]
STUCK = """
import time, syncsvc.sync.run, syncsvc.worker.loop
syncsvc.worker.loop.OVERDUE_AFTER = 0.2
syncsvc.sync.run.run_once = lambda job: time.sleep(600)
"""


@pytest.fixture
def workers(sandbox: Sandbox, engine: Engine, tmp_path: Path) -> Workers:
    """
    Workers over a small inventory.
    """
    sandbox.inventory = Inventory([number_row(place) for place in range(1, 4)])
    return Workers(sandbox, engine, tmp_path)


@pytest.fixture
def gate(sandbox: Sandbox) -> Iterator[Gate]:
    """
    A provider that answers no page before it is let through.
    """
    gate = Gate()
    sandbox.before_page = gate.wait
    yield gate
    gate.opened.set()


class Gate:
    """
    Holds the provider's pages back.
    """

    def __init__(self) -> None:
        """
        Be shut.
        """
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self, _page: int) -> None:
        """
        Let a page through when the gate is open.
        """
        self.reached.set()
        self.opened.wait(2 * PATIENCE)


def last_run(engine: Engine) -> tuple[str, str, str | None]:
    """
    Trigger, state and error of the newest run.
    """
    with engine.connect() as connection:
        columns = (sync_runs.c.trigger, sync_runs.c.state, sync_runs.c.error)
        row = connection.execute(select(*columns).order_by(sync_runs.c.id.desc())).first()
    assert row is not None
    return row[0], row[1], row[2]


def test_it_runs_at_once_and_then_on_schedule(workers: Workers, engine: Engine) -> None:
    """
    The first run is made at start, further ones follow, and each is on record.
    """
    with workers.worker() as worker:
        eventually(lambda: worker.runs() >= 3)

    triggers = [row["trigger"] for row in rows_of(engine, sync_runs)]
    assert triggers[:3] == ["startup", "schedule", "schedule"]
    assert len(published(engine)["numbers"]) == 3


def test_its_endpoints_tell_how_it_is(workers: Workers) -> None:
    """
    Alive, ready, what the tables hold and when the next run is due, and a page for people.
    """
    with workers.worker(schedule="1h") as worker:
        eventually(lambda: worker.metric("syncsvc_numbers", lifecycle="live") == 3.0)

        assert worker.get("/livez").json() == {"alive": True, "problems": []}
        assert worker.ready() == {
            "ready": True,
            "account": "default",
            "role": "leader",
            "problems": [],
        }
        due = worker.metric("syncsvc_next_run_timestamp_seconds") or 0.0
        assert 3500 < due - time.time() < 3700
        success = worker.metric("syncsvc_last_success_timestamp_seconds") or 0.0
        assert abs(success - time.time()) < 60
        assert worker.metric("syncsvc_provider_requests_total", endpoint="numbers") == 2.0
        assert worker.metric("syncsvc_history_rows_total", event="provisioned") == 3.0
        assert "+441245000001" in worker.get("/").text


def test_a_failed_run_is_told_and_tried_again(workers: Workers, sandbox: Sandbox) -> None:
    """
    A provider that is down ends no worker; when it is back, so is readiness.
    """
    sandbox.inject(Fault(kind="status", status=500, times=3))
    with workers.worker() as worker:
        eventually(lambda: worker.runs("failed") >= 1)
        eventually(lambda: worker.runs("succeeded") >= 1)

        assert worker.ready()["ready"]
        assert worker.metric("syncsvc_provider_requests_total", status="500") == 3.0


def test_a_failed_run_takes_readiness_away(workers: Workers, sandbox: Sandbox) -> None:
    """
    If the last run failed, `/readyz` reports that and why.
    """
    sandbox.inject(Fault(kind="status", status=500, times=1000))
    with workers.worker(schedule="1h") as worker:
        eventually(lambda: worker.runs("failed") >= 1)
        answer = eventually(lambda: (found := worker.get("/readyz")).status_code == 503 and found)

        assert "500 from /api/numbers" in answer.json()["problems"][0]
        assert worker.get("/livez").status_code == 200


@pytest.mark.parametrize("stop", STOPS)
def test_a_run_under_way_may_end(
    workers: Workers, gate: Gate, engine: Engine, stop: signal.Signals
) -> None:
    """
    After SIGTERM or SIGINT the run under way publishes, and no other begins.
    """
    with workers.worker() as worker:
        assert gate.reached.wait(PATIENCE)
        worker.signal(stop)
        time.sleep(0.2)
        gate.opened.set()

        assert worker.ended() == 0
    assert [(row["trigger"], row["state"]) for row in rows_of(engine, sync_runs)] == [
        ("startup", "succeeded")
    ]


@pytest.mark.parametrize("stop", STOPS)
def test_a_run_that_takes_too_long_is_rolled_back(
    workers: Workers, gate: Gate, engine: Engine, stop: signal.Signals
) -> None:
    """
    A run that does not end within the grace after a signal is recorded as failed.
    """
    with workers.worker(patch=SHORT_GRACE) as worker:
        assert gate.reached.wait(PATIENCE)
        worker.signal(stop)

        assert worker.ended() == 0
    assert last_run(engine) == ("startup", "failed", "Interrupted.")
    assert published(engine)["numbers"] == []


def test_a_second_signal_ends_the_run_at_once(workers: Workers, gate: Gate, engine: Engine) -> None:
    """
    Who asks twice does not wait for the grace, and is told that the run was interrupted.
    """
    with workers.worker() as worker:
        assert gate.reached.wait(PATIENCE)
        worker.signal(signal.SIGTERM)
        worker.signal(signal.SIGINT)  # two of one kind may be taken for one

        assert worker.ended() == 130
    assert last_run(engine) == ("startup", "failed", "Interrupted.")


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_run_that_waits_for_a_table_is_cut_short_too(workers: Workers, engine: Engine) -> None:
    """
    The grace ends a statement that waits for somebody else's lock.
    """
    with engine.connect() as other, workers.worker(patch=SHORT_GRACE) as worker:
        other.execute(text("LOCK TABLE numbers"))
        eventually(lambda: rows_of(engine, sync_runs))
        worker.signal(signal.SIGTERM)

        assert worker.ended() == 0
    assert last_run(engine) == ("startup", "failed", "Interrupted.")


def test_another_replica_stands_by_and_takes_over(workers: Workers) -> None:
    """
    The second of two workers runs nothing, and becomes the leader when the first is killed.
    """
    with workers.worker() as first:
        eventually(lambda: first.runs() >= 1)
        with workers.worker() as second:
            eventually(lambda: second.metric("syncsvc_standby") == 1.0)
            eventually(lambda: first.runs() >= 3)

            assert second.ready() == {
                "ready": True,
                "account": "default",
                "role": "standby",
                "problems": [],
            }
            assert second.runs() == 0.0
            assert second.metric("syncsvc_numbers", lifecycle="live") == 3.0

            first.signal(signal.SIGKILL)

            eventually(lambda: second.runs() >= 1)
            assert second.metric("syncsvc_standby") == 0.0
            assert second.ready()["role"] == "leader"


def test_a_leader_that_stops_leaves_the_lead(workers: Workers) -> None:
    """
    A worker that is stopped hands over at once, though the next run is hours away.
    """
    with workers.worker(schedule="6h") as first:
        eventually(lambda: first.runs() >= 1)
        look = "import syncsvc.worker.loop; syncsvc.worker.loop.POLL_INTERVAL = 0.2"
        with workers.worker(schedule="6h", patch=look) as second:
            eventually(lambda: second.metric("syncsvc_standby") == 1.0)

            first.signal(signal.SIGTERM)

            eventually(lambda: second.runs() == 1)
            assert first.ended() == 0


def test_accounts_do_not_stand_by_for_each_other(workers: Workers) -> None:
    """
    Workers of two accounts lead side by side.
    """
    with workers.worker() as first, workers.worker(account="other") as second:
        eventually(lambda: first.runs() >= 1 and second.runs() >= 1)

        assert (first.ready()["role"], second.ready()["role"]) == ("leader", "leader")


def test_systemd_is_told(workers: Workers, tmp_path: Path) -> None:
    """
    Readiness after the schema check, status, watchdog pings and stopping are reported.
    """
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(PATIENCE)
    systemd = {"notify_socket": str(tmp_path / "notify"), "watchdog_usec": "200000"}
    with told, workers.worker(**systemd) as worker:
        said = [told.recv(4096).decode()]
        while "WATCHDOG=1" not in said or not any("Run 1 succeeded" in line for line in said):
            said.append(told.recv(4096).decode())
        worker.signal(signal.SIGTERM)
        while said[-1] != "STOPPING=1":
            said.append(told.recv(4096).decode())

        assert worker.ended() == 0
    assert said.index("READY=1") < min(i for i, line in enumerate(said) if "Run 1" in line)
    assert all(line.split("=")[0] in {"READY", "STATUS", "WATCHDOG", "STOPPING"} for line in said)


def test_rotated_secrets_are_taken_up(workers: Workers, sandbox: Sandbox, tmp_path: Path) -> None:
    """
    After SIGHUP the worker signs in with what the credential files hold now.
    """
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "api_token").write_text("outdated\n")
    with workers.worker(api_token="", credentials_directory=str(credentials)) as worker:
        eventually(lambda: worker.runs("failed") >= 1)
        (credentials / "api_token").write_text(sandbox.token)
        worker.signal(signal.SIGHUP)

        eventually(lambda: worker.runs("succeeded") >= 1)
        assert "worker.credentials_reloaded" in worker.log()
        assert "outdated" not in worker.log()
        assert sandbox.token not in worker.log()


def test_secrets_that_cannot_be_read_change_nothing(
    workers: Workers, sandbox: Sandbox, tmp_path: Path
) -> None:
    """
    After SIGHUP with a broken credential file the worker goes on with what it had.
    """
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "api_token").write_text(sandbox.token)
    with workers.worker(api_token="", credentials_directory=str(credentials)) as worker:
        eventually(lambda: worker.runs() >= 1)
        (credentials / "api_token").write_text("two words")
        worker.signal(signal.SIGHUP)
        eventually(lambda: "worker.credentials_reload_failed" in worker.log())
        before = worker.runs()

        eventually(lambda: worker.runs() > before)
        assert "two words" not in worker.log()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_database_that_is_away_is_waited_for(workers: Workers) -> None:
    """
    A database that does not answer ends no worker; readiness says what is wrong.
    """
    away = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    with workers.worker(database_url=away) as worker:
        eventually(lambda: worker.runs("failed") >= 2)

        assert not worker.ready()["ready"]
        assert "refused" in worker.ready()["problems"][0].lower()
        assert worker.get("/livez").status_code == 200
        assert "no database" in worker.get("/").text
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_leader_whose_session_is_lost_leads_on(workers: Workers, engine: Engine) -> None:
    """
    If no other worker has become the leader, this one acquires the lock again in a new session.
    """
    with workers.worker() as worker:
        eventually(lambda: worker.runs() >= 1)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        before = worker.runs()

        eventually(lambda: worker.runs() > before)
        assert worker.ready()["role"] == "leader"


def test_it_starts_on_a_current_schema_alone(workers: Workers, engine: Engine) -> None:
    """
    A schema that is behind ends the worker with exit code 2 and the command to run.
    """
    migrate.downgrade(engine, "base")
    try:
        with workers.worker() as worker:
            assert worker.ended() == 2
            assert "syncsvc migrate" in worker.log()
    finally:
        migrate.upgrade(engine)


def test_a_schema_that_falls_behind_ends_it(workers: Workers, engine: Engine) -> None:
    """
    The worker does not go on with tables that are not those it knows.
    """
    with workers.worker() as worker:
        eventually(lambda: worker.runs() >= 1)
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        try:
            assert worker.ended() == 2
        finally:
            with engine.begin() as connection:
                newest = text("UPDATE alembic_version SET version_num = :newest")
                connection.execute(newest, {"newest": migrate.newest()})


def test_a_port_that_is_taken_is_told(workers: Workers) -> None:
    """
    An address that is not available is a configuration error that names its settings.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with workers.worker(http_port=str(taken.getsockname()[1])) as worker:
            assert worker.ended() == 2
            assert "SYNCSVC_HTTP_PORT" in worker.log()
            assert "(Address already in use)" in worker.log()


def test_without_a_port_nothing_is_served(workers: Workers, engine: Engine) -> None:
    """
    Port 0 turns the endpoints off, and the runs go on.
    """
    with workers.worker(http_port="0") as worker:
        eventually(lambda: len(rows_of(engine, sync_runs)) >= 2)

        assert "http.listening" not in worker.log()


def test_a_failed_run_is_tried_again_sooner(workers: Workers, sandbox: Sandbox) -> None:
    """
    After a failure the next run does not wait for the schedule.
    """
    sandbox.inject(Fault(kind="reset"))
    soon = "import syncsvc.worker.loop; syncsvc.worker.loop.FIRST_RETRY = 0.2"
    with workers.worker(schedule="6h", patch=soon) as worker:
        eventually(lambda: worker.runs("failed") == 1 and worker.runs("succeeded") == 1)

        due = worker.metric("syncsvc_next_run_timestamp_seconds") or 0.0
        assert due - time.time() > 21000


def test_somebody_elses_run_is_left_alone(workers: Workers, engine: Engine) -> None:
    """
    While `syncsvc sync` holds the run's lock, the worker waits for its next turn.
    """
    with engine.connect() as connection, workers.worker() as worker:
        with locks.run_lock(connection, "default"):
            eventually(lambda: "worker.other_run_in_progress" in worker.log())
            assert 0.0 == worker.runs() == worker.runs("failed")

        eventually(lambda: worker.runs() >= 1)


def heard(manager: socket.socket) -> list[bytes]:
    """
    All that is said until it is quiet for a second.
    """
    manager.settimeout(1.0)
    said: list[bytes] = []
    with suppress(TimeoutError):
        while True:
            said.append(manager.recv(4096))
    return said


def test_a_stuck_run_is_not_alive(workers: Workers, tmp_path: Path) -> None:
    """
    A run that ignores its deadline takes liveness away, and systemd hears no more of the worker.
    """
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    systemd = {"notify_socket": str(tmp_path / "notify"), "watchdog_usec": "200000"}
    with told, workers.worker(patch=STUCK, run_deadline="1s", **systemd) as worker:
        eventually(lambda: worker.get("/livez").status_code == 503)

        assert b"WATCHDOG=1" in heard(told)
        assert heard(told) == []


def test_no_secret_is_shown(workers: Workers, engine: Engine) -> None:
    """
    Whatever the worker shows while its token is refused, the token is not in it.
    """
    secret = "hunter2-recognisable-token"
    with workers.worker(api_token=secret, log_level="debug") as worker:
        eventually(lambda: worker.runs("failed") >= 1)
        eventually(lambda: worker.get("/readyz").status_code == 503)
        shown = [worker.get(path).text for path in ("/", "/readyz", "/livez", "/metrics")]

        assert "401" in shown[0]
        assert secret not in "".join([*shown, worker.log()])
    assert not [row for row in rows_of(engine, sync_runs) if secret in str(row)]


def test_withheld_cancellations_are_told(workers: Workers, sandbox: Sandbox) -> None:
    """
    A worker whose guard trips stays up, and says how many cancellations wait for a person.
    """
    sandbox.inventory = Inventory([number_row(place) for place in range(1, 41)])
    with workers.worker(cancelled_listing="off") as worker:
        eventually(lambda: worker.runs() >= 1)
        sandbox.inventory = Inventory([number_row(place) for place in range(1, 11)])

        eventually(lambda: worker.runs("withheld") >= 1)
        eventually(lambda: worker.metric("syncsvc_cancellations_withheld") == 30.0)
        assert worker.ready()["ready"]
        assert "30 cancellations were withheld" in worker.get("/").text


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_table_that_is_locked_takes_no_liveness(workers: Workers, engine: Engine) -> None:
    """
    While somebody holds a table, looks at it end, the worker is alive, and it stops when told.
    """
    short = "import syncsvc.database.transactions as t; t.SHORT_READ_TIMEOUT = 200"
    with workers.worker(schedule="1h", patch=short) as worker:
        eventually(lambda: worker.runs() >= 1)
        with engine.connect() as other:
            other.execute(text("LOCK TABLE sync_runs, account_status"))

            assert "statement timeout" in worker.ready()["problems"][0]
            assert "statement timeout" in worker.get("/").text
            assert worker.get("/livez").status_code == 200
            worker.signal(signal.SIGTERM)
            assert worker.ended() == 0


def test_silent_connections_take_no_liveness(workers: Workers) -> None:
    """
    Clients that connect and say nothing starve no endpoint, and the worker still ends.
    """
    with workers.worker(schedule="1h") as worker, ExitStack() as silent:
        eventually(lambda: worker.runs() >= 1)
        address = ("127.0.0.1", int(worker.url.rsplit(":", 1)[1]))
        for _ in range(40):
            silent.enter_context(socket.create_connection(address))

        assert eventually(lambda: worker.get("/livez")).status_code == 200
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_failure_that_cannot_be_recorded_takes_readiness(
    workers: Workers, engine: Engine
) -> None:
    """
    A database that takes no writes is told by `/readyz`, though the tables show no trouble.
    """
    name = engine.url.database
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    try:
        with workers.worker(schedule="1h") as worker:
            eventually(lambda: worker.runs("failed") >= 1)

            assert "read-only" in worker.ready()["problems"][0]
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
            connection.commit()
            connection.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
            connection.commit()


def test_rereading_secrets_keeps_the_lead(workers: Workers) -> None:
    """
    SIGHUP is no invitation for those that stand by.
    """
    look = "import syncsvc.worker.loop; syncsvc.worker.loop.POLL_INTERVAL = 0.1"
    with workers.worker(schedule="6h") as first:
        eventually(lambda: first.runs() >= 1)
        with workers.worker(schedule="6h", patch=look) as second:
            eventually(lambda: second.metric("syncsvc_standby") == 1.0)
            first.signal(signal.SIGHUP)
            eventually(lambda: "worker.credentials_reloaded" in first.log())
            time.sleep(0.5)  # several looks

            assert (first.ready()["role"], second.ready()["role"]) == ("leader", "standby")
            assert second.runs() == 0.0
