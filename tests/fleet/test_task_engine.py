"""
The task engine as a thread of this process.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from support.processes import PATIENCE, eventually
from syncsvc.fleet.tasks import task_engine
from syncsvc.fleet.tasks.task_engine import Queue, TaskEngine
from syncsvc.vocabulary import Lane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from support.fleets import Fleet

LISTENING = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND state = 'idle'"


@pytest.fixture
def done() -> SimpleQueue[str]:
    """
    The accounts that were run, in this order.
    """
    return SimpleQueue()


@pytest.fixture
def tasks(
    fleet: Fleet, done: SimpleQueue[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[TaskEngine]:
    """
    An engine that looks for jobs by itself when it starts, and then only if it is notified.
    """
    monkeypatch.setattr(task_engine, "FETCH_EVERY", 3600.0)
    slots = {Lane.FAST: 1, Lane.SLOW: 1}
    engine = TaskEngine(fleet.engine, slots, done.put, lambda: None)
    thread = threading.Thread(target=engine.work, daemon=True)
    thread.start()
    try:
        eventually(lambda: number(fleet.engine, LISTENING) == len(slots))
        yield engine
    finally:
        engine.stop()
        thread.join(PATIENCE)
    assert not thread.is_alive()


def number(engine: Engine, query: str) -> int:
    """
    The one number that a query returns.
    """
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


def put(engine: Engine, account: str, lane: Lane = Lane.FAST) -> None:
    """
    Hand out an account.
    """
    with engine.begin() as connection:
        Queue().put(connection, [(account, lane)])


@pytest.mark.usefixtures("tasks")
def test_a_job_wakes_the_engine(fleet: Fleet, done: SimpleQueue[str]) -> None:
    """
    Each lane begins a job because it is notified, long before it would look for one by itself.
    """
    for account, lane in (("one", Lane.FAST), ("two", Lane.SLOW), ("three", Lane.FAST)):
        put(fleet.engine, account, lane)
        assert done.get(timeout=PATIENCE) == account
    eventually(lambda: fleet.jobs() == 0)
