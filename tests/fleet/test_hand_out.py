"""
Accounts that are due are handed out, each once, and those of dead workers again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, text

from support.build import rows_of
from support.processes import eventually
from syncsvc.accounts import rows
from syncsvc.database import transactions
from syncsvc.errors import ConfigurationError, DatabaseUnavailable, SchemaNotCurrent
from syncsvc.fleet.account_run import AccountRuns, ProcessSettings
from syncsvc.fleet.metrics import FleetMetrics
from syncsvc.fleet.running_accounts import RunningAccounts
from syncsvc.fleet.tasks import account_status_rows, hand_out, task_schema
from syncsvc.fleet.tasks.task_engine import Queue, schema_steps
from syncsvc.provider.shared_hosts import SharedHosts
from syncsvc.schema.tables import account_status
from syncsvc.sync.progress_and_summary import Progress
from syncsvc.vocabulary import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from support.fleets import Fleet

SLOTS = {Lane.FAST: 3, Lane.SLOW: 1}
URL = "https://provider.example"


@pytest.fixture
def queue() -> Queue:
    """
    The task engine's queue.
    """
    return Queue()


def add(engine: Engine, *names: str, enabled: bool = True, **status: Any) -> None:
    """
    Add accounts; with a status if any is given.
    """
    with engine.begin() as connection:
        for name in names:
            rows.add(connection, rows.Account(name=name, enabled=enabled))
            if status:
                account_status_rows.write(connection, name, **status)


def jobs(engine: Engine) -> dict[str, str]:
    """
    The lanes of what is handed out, by account.
    """
    with engine.connect() as connection:
        found = connection.execute(text("SELECT lock, queue_name FROM procrastinate_jobs"))
        return {row.lock: row.queue_name for row in found}


def die(engine: Engine, account: str) -> None:
    """
    Let a worker take an account's job and never be heard of again.
    """
    with engine.begin() as connection:
        connection.execute(
            text(
                "WITH worker AS (INSERT INTO procrastinate_workers (last_heartbeat) "
                "VALUES (now() - interval '1 hour') RETURNING id) "
                "UPDATE procrastinate_jobs SET status = 'doing', worker_id = worker.id "
                "FROM worker WHERE lock = :account"
            ),
            {"account": account},
        )


@pytest.fixture
def handed_out(fleet: Fleet, queue: Queue) -> Callable[..., int]:
    """
    Hands out once, for a process that runs nothing.
    """

    def once(running: RunningAccounts | None = None) -> int:
        return hand_out.hand_out(fleet.engine, queue, running or RunningAccounts(), SLOTS, URL)

    return once


def test_an_account_is_handed_out_when_it_is_due(
    fleet: Fleet, handed_out: Callable[..., int]
) -> None:
    """
    New accounts, and those whose time has come, but none that is paused, early or slow and full.
    """
    add(fleet.engine, "new")
    add(fleet.engine, "due", next_run_at=func.now())
    add(fleet.engine, "early", next_run_at=func.now() + timedelta(hours=1))
    add(fleet.engine, "paused", enabled=False, next_run_at=func.now())
    add(fleet.engine, "slow", "slow too", lane=Lane.SLOW, next_run_at=func.now())

    assert handed_out() == 3
    assert jobs(fleet.engine) == {"new": "fast", "due": "fast", "slow": "slow"}


def test_no_account_is_handed_out_twice(fleet: Fleet, handed_out: Callable[..., int]) -> None:
    """
    An account that waits for a worker, or has one, is not handed out again.
    """
    add(fleet.engine, "one", "two")
    counts = [handed_out(), handed_out()]
    die(fleet.engine, "one")
    counts.append(handed_out())

    assert counts == [2, 0, 0]


def test_as_many_as_there_are_free_slots(fleet: Fleet, handed_out: Callable[..., int]) -> None:
    """
    What is running, and what waits for somebody to take it, has its slots.
    """
    add(fleet.engine, *(f"account-{number}" for number in range(9)))
    running = RunningAccounts()
    with running.running("another", Lane.FAST, URL):
        counts = [handed_out(running), handed_out(running)]

    assert counts == [2, 0]


def test_one_hands_out_at_a_time(fleet: Fleet, handed_out: Callable[..., int]) -> None:
    """
    While another worker hands out, this one does nothing.
    """
    add(fleet.engine, "one")
    with fleet.engine.begin() as other:
        assert hand_out.alone(other, hand_out.HAND_OUT)
        assert handed_out() == 0

    assert handed_out() == 1


def test_a_dead_workers_account_is_due_again(
    fleet: Fleet, queue: Queue, handed_out: Callable[..., int]
) -> None:
    """
    Its job is removed, whatever was planned for the account, and it is handed out anew.
    """
    add(fleet.engine, "lost", "fine", next_run_at=func.now())
    assert handed_out() == 2
    die(fleet.engine, "lost")
    with fleet.engine.begin() as connection:
        for name in ("lost", "fine"):
            account_status_rows.write(
                connection, name, next_run_at=account_status_rows.seconds_from_now(3600)
            )

    assert hand_out.rescue(fleet.engine, queue) == ["lost"]
    assert hand_out.rescue(fleet.engine, queue) == []
    assert handed_out() == 1
    assert set(jobs(fleet.engine)) == {"lost", "fine"}


def test_a_rescue_beside_the_next_job_raises_nothing(fleet: Fleet, queue: Queue) -> None:
    """
    A job of an account whose worker died is removed also while the next one waits.
    """
    add(fleet.engine, "lost")
    with fleet.engine.begin() as connection:
        queue.put(connection, [("lost", Lane.FAST)])
    die(fleet.engine, "lost")
    with fleet.engine.begin() as connection:
        queue.put(connection, [("lost", Lane.FAST)])

    assert hand_out.rescue(fleet.engine, queue) == ["lost"]
    assert jobs(fleet.engine) == {"lost": "fast"}


def test_a_rescue_leaves_no_row_of_an_account_that_was_removed(fleet: Fleet, queue: Queue) -> None:
    """
    Whoever removed an account with its data finds nothing of it afterwards.
    """
    with fleet.engine.begin() as connection:
        queue.put(connection, [("removed", Lane.FAST)])
    die(fleet.engine, "removed")

    assert hand_out.rescue(fleet.engine, queue) == ["removed"]
    assert rows_of(fleet.engine, account_status) == []


def test_a_frozen_publisher_delays_no_other_accounts_rescue(
    fleet: Fleet, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Of the accounts of a dead worker one row is locked; all jobs are removed, the others are due.
    """
    monkeypatch.setattr(transactions, "SHORT_READ_TIMEOUT", 1000)
    add(fleet.engine, "publishing", "lost", next_run_at=func.now() + timedelta(hours=1))
    for name in ("publishing", "lost"):
        with fleet.engine.begin() as connection:
            queue.put(connection, [(name, Lane.FAST)])
        die(fleet.engine, name)
    with fleet.engine.begin() as frozen:
        account_status_rows.write(frozen, "publishing", failures=0)
        rescued = hand_out.rescue(fleet.engine, queue)
    with fleet.engine.connect() as connection:
        due = select(account_status.c.account).where(account_status.c.next_run_at <= func.now())
        due_now = connection.execute(due).scalars().all()

    assert sorted(rescued) == ["lost", "publishing"]
    assert due_now == ["lost"]


def test_a_worker_that_is_frozen_while_it_hands_out_stops_no_other(
    fleet: Fleet, handed_out: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The server ends its session, and with it the lock that keeps the others out.
    """
    add(fleet.engine, "one")
    monkeypatch.setattr(transactions, "SHORT_READ_TIMEOUT", 100)

    def freeze() -> None:
        with transactions.short_write(fleet.engine) as frozen:
            assert hand_out.alone(frozen, hand_out.HAND_OUT)
            monkeypatch.undo()
            eventually(lambda: handed_out() == 1)
            frozen.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        freeze()


@pytest.mark.parametrize("step", ["put", "stalled"])
def test_a_database_that_is_lost_in_the_queue_is_told_as_that(
    fleet: Fleet, queue: Queue, step: str
) -> None:
    """
    The task engine's own errors end no worker.
    """

    def lose_it() -> None:
        with transactions.translated(), fleet.engine.begin() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with fleet.engine.begin() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            if step == "put":
                queue.put(connection, [("one", Lane.FAST)])
            else:
                queue.stalled(connection)

    with pytest.raises(DatabaseUnavailable):
        lose_it()


def test_a_job_that_has_ended_meanwhile_is_left_alone(fleet: Fleet, queue: Queue) -> None:
    """
    A worker that was frozen may end its job just before others remove it.
    """
    with fleet.engine.begin() as connection:
        assert not queue.remove(connection, 4711)
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_an_account_named_like_a_task_is_an_account(
    fleet: Fleet, handed_out: Callable[..., int]
) -> None:
    """
    No name of an account meets those that the engine uses itself.
    """
    add(fleet.engine, "nightly", "sync_account", "fast")

    assert handed_out() == 3


def test_what_a_fleet_writes_first_is_a_whole_row(fleet: Fleet) -> None:
    """
    An account that could not even begin has a status, with the usual values beside.
    """
    with fleet.engine.begin() as connection:
        account_status_rows.write(
            connection, "wrong", attention="Its settings are wrong.", failures=1
        )
    (row,) = rows_of(fleet.engine, account_status)

    assert (row["account"], row["lane"], row["failures"]) == ("wrong", "fast", 1)
    assert row["attention"] == "Its settings are wrong."


def test_an_account_may_run_twice_in_a_process() -> None:
    """
    While a run goes on that the task engine left to itself, the next one begins and is refused.
    """
    running = RunningAccounts()
    with running.running("one", Lane.FAST, URL):
        with running.running("one", Lane.FAST, URL):
            assert running.by_host(Lane.FAST) == {URL: 2}
        assert (running.names(), running.by_host(Lane.FAST)) == (["one"], {URL: 1})

    assert running.names() == []


def test_an_account_that_cannot_begin_gives_its_slot_back_at_once(fleet: Fleet) -> None:
    """
    The next hand-out does not wait, so that accounts with wrong settings delay no others.
    """
    ends: list[str] = []
    metrics = FleetMetrics()
    runs = AccountRuns(
        fleet.engine,
        ProcessSettings(fleet.settings(), fleet.settings),
        SharedHosts(connections=1, by_account=False, meter=metrics),
        metrics,
        RunningAccounts(on_end=lambda: ends.append("end")),
        on_outdated=lambda _: None,
    )
    with fleet.engine.begin() as connection:
        rows.add(connection, rows.Account(name="without credentials"))
    for name in ("without credentials", "without a row"):
        runs.run(name)

    assert ends == ["end", "end"]
    assert fleet.status()["without credentials"]["failures"] == 1


def test_runs_are_shortened_when_the_process_ends() -> None:
    """
    Those in progress, and those that begin afterwards, end within the time that is left.
    """
    running = RunningAccounts()
    early, late = (Progress.start(timedelta(hours=1)) for _ in range(2))
    with (
        running.running("early", Lane.FAST, URL) as begin,
        running.running("late", Lane.FAST, URL) as begin_late,
    ):
        begin(early)
        running.end_within(10)
        begin_late(late)

    assert max(early.seconds_left(), late.seconds_left()) <= 10
    assert running.names() == []


# The engine's tables


def test_the_engines_tables_are_needed(own_database: Engine) -> None:
    """
    Without them, a worker says which command creates them; with them, nothing.
    """
    with own_database.begin() as connection:
        with pytest.raises(SchemaNotCurrent, match="syncsvc migrate --fleet"):
            task_schema.require_current(connection)
        task_schema.upgrade(connection)
        task_schema.upgrade(connection)
        task_schema.require_current(connection)
        assert task_schema.last_step(connection) == task_schema.newest_step()


def test_two_upgrades_at_once_make_the_tables_once(own_database: Engine) -> None:
    """
    The pods of a first installation migrate at the same time; each ends well.
    """

    def upgrade() -> str | None:
        with own_database.begin() as connection:
            task_schema.upgrade(connection)
            return task_schema.last_step(connection)

    with ThreadPoolExecutor(4) as threads:
        ended = [threads.submit(upgrade) for _ in range(4)]
        found = {each.result() for each in ended}

    assert found == {task_schema.newest_step()}


def test_older_tables_of_the_engine_are_brought_up_to_date(fleet: Fleet) -> None:
    """
    The steps after the one that was noted are taken, and none before it.
    """
    steps = [step.stem for step in schema_steps()]
    trigger = "procrastinate_trigger_status_events_update_v1"  # the last step creates it
    with fleet.engine.begin() as connection:
        comment = f"COMMENT ON TABLE procrastinate_jobs IS '{task_schema.NOTE}{steps[-2]}'"
        connection.execute(text(comment))
        connection.execute(text(f"DROP TRIGGER {trigger} ON procrastinate_jobs"))
        with pytest.raises(SchemaNotCurrent, match=f"{steps[-2]}.*{steps[-1]}"):
            task_schema.require_current(connection)
        task_schema.upgrade(connection)
        task_schema.require_current(connection)
        found = connection.execute(text("SELECT tgname FROM pg_trigger")).scalars().all()

    assert trigger in found


def test_sqlite_is_refused(engine: Engine) -> None:
    """
    A fleet's workers share a server; the message says what to do.
    """
    if engine.dialect.name == "postgresql":
        task_schema.require_postgresql(engine)
        return
    with pytest.raises(ConfigurationError, match="A fleet needs PostgreSQL"):
        task_schema.require_postgresql(engine)
