"""
Real workers sync many accounts, whatever happens to them.
"""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import inspect, select, text

from support.build import number_row, rows_of
from support.fleets import KEY, Fleet
from support.processes import PATIENCE, eventually, free_port
from syncsvc.accounts import rows
from syncsvc.sandbox import Fault, Inventory, Sandbox
from syncsvc.schema.tables import account_status, numbers, sync_runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine


LISTING = [number_row(1), number_row(2)]
OVERLAPS = """
SELECT count(*) FROM sync_runs AS one JOIN sync_runs AS other USING (account)
WHERE one.id < other.id AND other.started_at < coalesce(one.finished_at, 'infinity')"""

LOSE_THE_FIRST_END = """
CREATE SEQUENCE ends;
CREATE FUNCTION lose_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('ends') = 1 THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
        PERFORM pg_sleep(1);
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER lose_session BEFORE DELETE ON procrastinate_jobs
FOR EACH ROW EXECUTE FUNCTION lose_session()"""


@pytest.fixture
def provider(sandbox: Sandbox) -> Sandbox:
    """
    A provider that lists two numbers.
    """
    sandbox.reset(Inventory(LISTING))
    return sandbox


def named(count: int) -> set[str]:
    """
    Names of so many accounts.
    """
    return {f"account-{number}" for number in range(count)}


@contextmanager
def hanging(provider: Sandbox) -> Iterator[threading.Event]:
    """
    Let every page wait until the block ends; the event says that one has been asked for.
    """
    asked, release = threading.Event(), threading.Event()

    def wait(_page: int) -> None:
        asked.set()
        release.wait(PATIENCE)

    provider.before_page = wait
    try:
        yield asked
    finally:
        provider.before_page = None
        release.set()


def overlaps(engine: Engine) -> int:
    """
    How many pairs of runs of one account overlap.
    """
    with engine.connect() as connection:
        return int(connection.execute(text(OVERLAPS)).scalar_one())


def end_sessions(engine: Engine) -> None:
    """
    Let the server end every session of the workers.
    """
    with engine.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_every_account_is_synced_once(fleet: Fleet, provider: Sandbox) -> None:
    """
    Two workers share the accounts, and none runs again before it is due.
    """
    names = named(12)
    fleet.add(names, provider)
    fleet.start(2)
    eventually(lambda: fleet.succeeded() == names)
    eventually(lambda: fleet.jobs() == 0)

    assert fleet.runs() == len(names)
    assert {row["live_numbers"] for row in fleet.status().values()} == {len(LISTING)}
    assert len(rows_of(fleet.engine, numbers)) == len(names) * len(LISTING)


def test_a_worker_tells_the_service_manager(
    fleet: Fleet, provider: Sandbox, tmp_path: Path
) -> None:
    """
    It is ready when it has found its tables, alive while it hands out, and stopping when told.
    """
    fleet.add(["one"], provider)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        (worker,) = fleet.start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC=str(10**6))
        said = {manager.recv(100) for _ in range(3)}
        worker.terminate()
        while b"STOPPING=1" not in said:
            said.add(manager.recv(100))

    assert worker.wait(PATIENCE) == 0
    assert said == {b"READY=1", b"WATCHDOG=1", b"STOPPING=1"}


def test_a_locked_table_stops_no_hand_out(fleet: Fleet, provider: Sandbox) -> None:
    """
    While somebody holds the table of accounts the worker is alive, and then it goes on.
    """
    fleet.add(["one"], provider)
    with fleet.engine.begin() as other:
        other.execute(text("LOCK TABLE accounts"))
        (worker,) = fleet.start()
        eventually(lambda: "statement timeout" in fleet.log())
        ended = worker.poll()
    eventually(lambda: fleet.succeeded() == {"one"})

    assert ended is None


def test_a_killed_workers_account_runs_elsewhere(fleet: Fleet, provider: Sandbox) -> None:
    """
    The run of a worker that was killed is on record as crashed, and another worker does the next.
    """
    fleet.add(["one"], provider)
    (first,) = fleet.start()
    with hanging(provider) as asked:
        assert asked.wait(PATIENCE)
        first.kill()
        first.wait(PATIENCE)
    fleet.start()
    eventually(lambda: fleet.succeeded() == {"one"})
    states = [row["state"] for row in rows_of(fleet.engine, sync_runs)]

    assert states == ["crashed", "succeeded"]
    assert overlaps(fleet.engine) == 0


def test_a_frozen_worker_loses_its_account_and_goes_on(fleet: Fleet, provider: Sandbox) -> None:
    """
    While it is frozen its account's lock refuses others; afterwards everything goes on.
    """
    fleet.add(["one"], provider)
    (frozen,) = fleet.start()
    with hanging(provider) as asked:
        assert asked.wait(PATIENCE)
        frozen.send_signal(signal.SIGSTOP)
        fleet.start()
        eventually(lambda: "fleet.accounts_rescued" in fleet.log())
        eventually(lambda: "fleet.other_run_in_progress" in fleet.log())
        frozen.send_signal(signal.SIGCONT)
    eventually(lambda: fleet.succeeded() == {"one"})
    fleet.make_due()
    eventually(lambda: fleet.runs(sync_runs.c.state == "succeeded") >= 2)

    assert overlaps(fleet.engine) == 0
    assert all(worker.poll() is None for worker in fleet.workers)


def test_a_worker_that_is_told_to_end_takes_no_failure_with_it(
    fleet: Fleet, provider: Sandbox
) -> None:
    """
    A run that the end of its process cut short is due at once, in its lane and without a failure.
    """
    fleet.add(["one"], provider)
    (worker,) = fleet.start()
    with hanging(provider) as asked:
        assert asked.wait(PATIENCE)
        began_at = time.monotonic()
        worker.terminate()
        code = worker.wait(PATIENCE)
        took = time.monotonic() - began_at
    status = fleet.status()["one"]

    assert code == 0
    assert took < PATIENCE / 2
    assert (status["lane"], status["failures"], status["attention"]) == ("fast", 0, None)
    fleet.start()
    eventually(lambda: fleet.succeeded() == {"one"})


def test_lost_sessions_end_no_worker(fleet: Fleet, provider: Sandbox) -> None:
    """
    After the server has ended every session, the workers connect again and go on.
    """
    names = named(3)
    fleet.add(names, provider)
    workers = fleet.start(2)
    eventually(lambda: fleet.succeeded() == names)
    end_sessions(fleet.engine)
    before = fleet.runs()
    fleet.make_due()
    eventually(lambda: fleet.runs(sync_runs.c.state == "succeeded") >= before + len(names))

    assert [worker.poll() for worker in workers] == [None, None]
    assert overlaps(fleet.engine) == 0


def test_no_account_is_lost_with_the_session_that_ends_its_job(
    fleet: Fleet, provider: Sandbox
) -> None:
    """
    The end of a job could not be written, and its worker lives on: the account runs again.
    """
    fleet.add(["one"], provider)
    with fleet.engine.begin() as connection:
        connection.execute(text(LOSE_THE_FIRST_END))
    (worker,) = fleet.start(SYNCSVC_SCHEDULE="2s")
    eventually(lambda: fleet.runs(sync_runs.c.state == "succeeded") >= 3)

    assert worker.poll() is None
    assert fleet.log().count("fleet.ended_jobs_removed") == 1


def test_accounts_come_and_go_without_a_signal(fleet: Fleet, provider: Sandbox) -> None:
    """
    Accounts are added, paused, resumed and removed while workers run.
    """
    fleet.add(["first"], provider)
    fleet.start(SYNCSVC_SCHEDULE="2s")
    eventually(lambda: fleet.succeeded() == {"first"})
    fleet.add(["later"], provider)
    eventually(lambda: fleet.succeeded() == {"first", "later"})
    with fleet.engine.begin() as connection:
        account = rows.require_for_change(connection, "first")
        rows.change(connection, rows.Account(name="first", enabled=False, sealed=account.sealed))
        rows.remove(connection, "later")
    eventually(lambda: fleet.jobs() == 0)
    before = fleet.runs()
    time.sleep(5)

    assert fleet.runs() == before


def test_what_is_wrong_in_one_row_stops_that_account_alone(fleet: Fleet, provider: Sandbox) -> None:
    """
    Settings that can't be used, and credentials that can't be opened, are told, and others run.
    """
    fleet.add(["fine"], provider)
    fleet.add(["wrong"], provider, schedule="never")
    with fleet.engine.begin() as connection:
        settings = {"api_url": provider.url}
        rows.add(connection, rows.Account(name="lost", settings=settings, sealed="gAAAAA=="))
    (worker,) = fleet.start()
    eventually(lambda: fleet.succeeded() == {"fine"})
    eventually(lambda: len(fleet.status()) == 3)
    status = fleet.status()

    assert "SYNCSVC_SCHEDULE" in str(status["wrong"]["attention"])
    assert "lost" in str(status["lost"]["attention"])
    assert status["wrong"]["failures"] >= 1
    assert worker.poll() is None
    assert "Traceback" not in fleet.log()


def test_a_host_that_is_down_delays_no_other(fleet: Fleet, provider: Sandbox) -> None:
    """
    Many accounts of a dead host fail without taking the others' slots for long.
    """
    with Sandbox(Inventory(LISTING)) as dead:
        dead.inject(Fault(kind="status", status=503, times=10_000))
        fleet.add((f"dead-{number}" for number in range(20)), dead)
        healthy = {f"healthy-{number}" for number in range(6)}
        fleet.add(healthy, provider)
        fleet.start()
        eventually(lambda: fleet.succeeded() == healthy)
        eventually(lambda: fleet.runs(sync_runs.c.error.contains("is down")) > 0)
        asked = len(dead.requests)

    failed = {name for name, row in fleet.status().items() if row["last_state"] == "failed"}
    assert failed
    assert failed <= {f"dead-{number}" for number in range(20)}
    assert {fleet.status()[name]["lane"] for name in failed} == {"slow"}
    assert asked < 20


def test_no_secret_is_anywhere(fleet: Fleet, provider: Sandbox) -> None:
    """
    Tables, logs, metrics and pages of a fleet never have a credential or a key in clear text.
    """
    port = free_port()
    fleet.add(["one"], provider)
    fleet.add(["refused"], provider)
    fleet.start(SYNCSVC_HTTP_PORT=str(port), SYNCSVC_LOG_LEVEL="debug")
    eventually(lambda: "one" in fleet.succeeded())
    said = [
        httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False).text
        for path in ("/", "/accounts", "/accounts/one", "/metrics", "/readyz", "/livez")
    ]
    said += [fleet.log(), *everything_in(fleet.engine)]

    assert all(len(text) > 0 for text in said[:6])
    assert not [text for text in said if provider.token in text or KEY in text]


def everything_in(engine: Engine) -> list[str]:
    """
    Every row of every table, as text.
    """
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        queries = [text(f"SELECT t::text FROM {table} AS t") for table in tables]  # noqa: S608
        return [row for query in queries for row in connection.execute(query).scalars()]


def test_an_outdated_worker_ends_by_itself(fleet: Fleet, provider: Sandbox) -> None:
    """
    After a newer version has migrated the database, an old worker takes no further work: exit 2.
    """
    fleet.add(["one"], provider)
    (worker,) = fleet.start()
    eventually(lambda: fleet.succeeded() == {"one"})
    with fleet.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    fleet.make_due()

    assert worker.wait(PATIENCE) == 2
    assert "9999" in fleet.log()


def test_without_the_engines_tables_no_worker_starts(own_database: Engine, tmp_path: Path) -> None:
    """
    The message says which command creates them.
    """
    fleet = Fleet(own_database, tmp_path)
    with own_database.begin() as connection:
        connection.execute(text("DROP TABLE procrastinate_events, procrastinate_periodic_defers"))
        connection.execute(text("DROP TABLE procrastinate_jobs CASCADE"))
    (worker,) = fleet.start()

    assert worker.wait(PATIENCE) == 2
    assert "syncsvc migrate --fleet" in fleet.log()


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_freezes_and_lost_sessions_leave_the_tables_right(
    fleet: Fleet, provider: Sandbox, seed: int
) -> None:
    """
    Whatever happens to three workers: no two runs of an account overlap, and nothing is missing.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    names = named(15)
    fleet.add(names, provider)
    fleet.start(3, SYNCSVC_SCHEDULE="3s")
    eventually(lambda: len(fleet.succeeded()) > 3)
    for _ in range(6):
        time.sleep(chance.uniform(0.5, 2.5))
        misfortune(fleet, chance)
    provider.inventory = Inventory([*LISTING[1:], number_row(3)])
    fleet.make_due()
    latest = latest_start(fleet.engine)
    eventually(lambda: succeeded_since(fleet.engine, latest) == names, 3 * PATIENCE)
    fleet.stop()
    live = rows_of(fleet.engine, numbers, lifecycle="live")
    gone = rows_of(fleet.engine, numbers, lifecycle="cancelled")

    assert overlaps(fleet.engine) == 0
    assert len(live) == len(names) * 2
    assert {row["uuid"] for row in gone} <= {LISTING[0]["uuid"]}
    assert {row["account"] for row in live} == names


def misfortune(fleet: Fleet, chance: random.Random) -> None:
    """
    Let something happen to one of the workers, or to the sessions of all.
    """
    worker = chance.choice([each for each in fleet.workers if each.poll() is None])
    match chance.choice(["kill", "freeze", "sessions"]):
        case "kill":
            worker.kill()
            worker.wait(PATIENCE)
            fleet.start(SYNCSVC_SCHEDULE="3s")
        case "freeze":
            worker.send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0.5, 12))
            worker.send_signal(signal.SIGCONT)
        case _:
            end_sessions(fleet.engine)


def latest_start(engine: Engine) -> Any:
    """
    When the newest run of all has started.
    """
    with engine.connect() as connection:
        query = select(sync_runs.c.started_at).order_by(sync_runs.c.started_at.desc()).limit(1)
        return connection.execute(query).scalar_one()


def succeeded_since(engine: Engine, moment: Any) -> set[str]:
    """
    The accounts of which a run that started later has published.
    """
    with engine.connect() as connection:
        query = select(account_status.c.account).where(
            account_status.c.last_state == "succeeded", account_status.c.last_started_at > moment
        )
        return set(connection.execute(query).scalars())
