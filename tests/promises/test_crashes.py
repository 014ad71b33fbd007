"""
A run whose process is killed, whose session is ended or whose disk is full.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from support.build import address, api_for, number_row, published, rows_of
from syncsvc.sandbox import Fault, Inventory
from syncsvc.schema.tables import sync_rejects, sync_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

    from support.build import Watch
    from syncsvc.sandbox import Sandbox

PATIENCE = 20.0  # seconds
TABLES = ("addresses", "number_history", "sync_rejects")  # the first, one between and the last
BEFORE = [number_row(place, number_address=address(place)) for place in range(1, 7)]
AFTER = [
    number_row(1, number_address=address(1, name="Other")),
    number_row(2, number_address=address(2), status="Active"),
    {"uuid": number_row(3)["uuid"]},
    number_row(4, number_address=address(4)),
    number_row(5, number_address=address(5)),
    number_row(7, number_address=address(7)),
]  # 6 is gone
REQUESTS = 5  # of one run: 3 pages, the cancelled listing, a search
SLOW = (
    "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000)"
    " SELECT sum(i) FROM n)"
)


@pytest.fixture
def environment(engine: Engine, sandbox: Sandbox) -> dict[str, str]:
    """
    The environment of a process that syncs the simulated provider into the database.
    """
    return {
        **os.environ,
        "SYNCSVC_API_URL": sandbox.url,
        "SYNCSVC_API_TOKEN": sandbox.token,
        "SYNCSVC_DATABASE_URL": engine.url.render_as_string(hide_password=False),
        "SYNCSVC_PAGE_SIZE": "2",
        "SYNCSVC_CONCURRENCY": "1",
    }


@contextmanager
def process(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """
    A process that does one run, killed in the end if it has not ended.
    """
    command = [sys.executable, "-m", "syncsvc", "sync"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def wait_until(holds: Callable[[], bool], running: subprocess.Popen[bytes]) -> None:
    """
    Wait for something to hold while the process runs.
    """
    ends_at = time.monotonic() + PATIENCE
    while not holds():
        assert running.poll() is None, running.communicate()[0].decode()
        assert time.monotonic() < ends_at, "it takes too long"
        time.sleep(0.01)


def begin(watch: Watch) -> dict[str, Any]:
    """
    Fill the tables, and list something else; what the tables were.
    """
    with api_for(watch.sandbox, page_size=2) as api:
        assert watch.see(*BEFORE, api=api).state == "succeeded"
    watch.sandbox.reset(Inventory(AFTER))
    return published(watch.engine)


def states(watch: Watch) -> list[str]:
    """
    How all runs went, oldest first.
    """
    return [row["state"] for row in rows_of(watch.engine, sync_runs)]


def assert_the_next_run_ends_right(watch: Watch, before: dict[str, Any]) -> None:
    """
    The tables are as they were, the dead run is marked, and the next one does it all.
    """
    assert published(watch.engine) == before
    left = watch.last_run()
    assert left["state"] == "running"
    watch.sandbox.reset(Inventory(AFTER))
    summary = watch.run()

    assert states(watch)[-2:] == ["crashed", "succeeded"]
    assert_right(watch, summary)


def assert_right(watch: Watch, summary: Any) -> None:
    """
    The run and the tables are as they would be had nothing happened.
    """
    assert (summary.provisioned, summary.changed, summary.cancelled) == (1, 1, 1)
    assert (summary.address_changes, summary.rejected, summary.unchanged) == (2, 1, 3)
    assert watch.events(6) == ["provisioned", "cancelled"]
    assert len(rows_of(watch.engine, sync_rejects)) == 1


@pytest.mark.parametrize("answered", range(REQUESTS))
def test_a_run_killed_at_any_request_leaves_no_trace(
    watch: Watch, environment: dict[str, str], answered: int
) -> None:
    """
    A process killed while it waits for an answer has published nothing.
    """
    before = begin(watch)
    watch.sandbox.inject(Fault(kind="timeout", seconds=PATIENCE, skip=answered))
    with process(environment) as running:
        wait_until(lambda: len(watch.sandbox.requests) > answered, running)
        running.kill()
        assert running.wait(PATIENCE) == -9

    assert len(watch.sandbox.requests) == answered + 1
    assert_the_next_run_ends_right(watch, before)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_run_killed_while_it_publishes_leaves_no_trace(
    watch: Watch, environment: dict[str, str], table: str
) -> None:
    """
    A process killed halfway through its transaction, at each table in turn, has published nothing.
    """
    before = begin(watch)
    waits = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND query LIKE :writes"
    )
    with watch.engine.connect() as holder, process(environment) as running:
        holder.execute(text(f"LOCK TABLE {table} IN SHARE MODE"))

        def is_writing() -> bool:
            with watch.engine.connect() as looking:
                found = looking.execute(waits, {"writes": f"%{table}%"}).scalar_one()
                return bool(found)

        wait_until(is_writing, running)
        running.kill()
        assert running.wait(PATIENCE) == -9
        end_sessions(holder)
        holder.rollback()

    assert_the_next_run_ends_right(watch, before)


def end_sessions(connection: Connection) -> None:
    """
    End every other session in the database, as the server does once it notices a dead client.
    """
    connection.execute(
        text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_run_killed_while_it_writes_a_file_leaves_no_trace(
    watch: Watch, environment: dict[str, str], table: str
) -> None:
    """
    A process killed halfway through its transaction, at each table in turn, has published nothing.
    """
    before = begin(watch)
    with watch.engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE TRIGGER slow AFTER INSERT ON {table} BEGIN SELECT {SLOW}; END"
        )
    path = str(watch.engine.url.database)
    with process(environment) as running:
        wait_until(lambda: is_locked(path), running)
        time.sleep(0.2)  # the first rows take no time, and the one that is slow takes seconds
        assert is_locked(path)
        running.kill()
        assert running.wait(PATIENCE) == -9
    with watch.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER slow")

    assert_the_next_run_ends_right(watch, before)


def is_locked(path: str) -> bool:
    """
    Whether somebody writes the SQLite file in a transaction of some length.
    """
    for _ in range(3):
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                time.sleep(0.05)
            else:
                return False
    return True


def test_a_run_killed_after_it_published_has_published(
    watch: Watch, environment: dict[str, str]
) -> None:
    """
    Once the run's row says so, its end changes nothing; the next run writes no row.
    """
    begin(watch)
    with process(environment) as running:
        wait_until(lambda: states(watch)[1:] == ["succeeded"], running)
        running.kill()
        running.wait(PATIENCE)
    after = published(watch.engine)
    summary = watch.run()

    assert (summary.state, summary.unchanged) == ("succeeded", 5)
    assert published(watch.engine) == after
    assert states(watch) == ["succeeded"] * 3


@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_process_that_loses_its_session_fails_cleanly(
    watch: Watch, engine: Engine, environment: dict[str, str], page: int
) -> None:
    """
    A server that ends the run's session during the walk makes the command exit with 1, on record.
    """
    before = begin(watch)

    def end_at(asked: int) -> None:
        if asked == page:
            with engine.connect() as connection:
                end_sessions(connection)

    watch.sandbox.before_page = end_at
    with process(environment) as running:
        output = running.communicate(timeout=PATIENCE)[0].decode()

    watch.sandbox.reset(Inventory(AFTER))
    assert running.returncode == 1, output
    assert "Traceback" not in output
    assert published(engine) == before
    assert watch.last_run()["state"] == "failed"
    assert_right(watch, watch.run())


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_full_disk_fails_the_run_cleanly(watch: Watch, engine: Engine) -> None:
    """
    However little room is left, a run publishes all or nothing, and the next one has it right.
    """
    names = [number_row(place, range_name="x" * 400) for place in range(10, 70)]
    watch.see(*BEFORE)
    before = published(engine)
    path = str(engine.url.database)
    with closing(sqlite3.connect(path)) as connection:
        size = connection.execute("PRAGMA page_count").fetchone()[0]
    room = {"pages": 0}

    def limit(driver: Any, _record: object) -> None:
        driver.execute(f"PRAGMA max_page_count = {size + room['pages']}")

    event.listen(engine, "connect", limit)
    failed = 0
    while watch.see(*AFTER, *names).state == "failed":
        assert published(engine) == before
        assert watch.last_run()["state"] == "failed"
        assert "full" in watch.last_run()["error"]
        failed += 1
        room["pages"] += 3
    event.remove(engine, "connect", limit)

    assert failed >= 4
    assert [row["state"] for row in rows_of(engine, sync_runs)][-2:] == ["failed", "succeeded"]
    summary = watch.run()
    assert (summary.state, summary.unchanged, summary.rejected) == ("succeeded", 65, 1)


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_run_that_cannot_be_put_on_record_ends_with_1(
    watch: Watch, engine: Engine, environment: dict[str, str]
) -> None:
    """
    A disk that has no room for the run's own row makes the command say so, and nothing else.
    """
    before = begin(watch)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON sync_runs"
            " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    with process(environment) as running:
        output = running.communicate(timeout=PATIENCE)[0].decode()
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER full")

    assert running.returncode == 1, output
    assert "database or disk is full" in " ".join(output.split())
    assert "Traceback" not in output
    assert published(engine) == before
    assert len(watch.sandbox.requests) == 0
    assert_right(watch, watch.run())
