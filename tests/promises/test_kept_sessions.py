"""
Runs of several accounts on one session that is kept are like runs on sessions of their own.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from support.account_contents import contents
from support.build import address, api_for, number_row
from syncsvc.database import locks
from syncsvc.database.engine import open_engine
from syncsvc.errors import RunInProgress
from syncsvc.reconcile import temp_tables
from syncsvc.sandbox import Fault, Inventory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from support.build import Watch
    from syncsvc.sync.progress_and_summary import Summary

pytestmark = pytest.mark.parametrize("kind", ["postgresql"])


@pytest.fixture
def kept(engine: Engine) -> Iterator[Engine]:
    """
    The same database, reached by one session that stays open.
    """
    opened = open_engine(engine.url, kept_sessions=1)
    yield opened
    opened.dispose()


def chance_of(seed: str) -> random.Random:
    """
    The same random choices for the same seed.
    """
    return random.Random(seed)  # noqa: S311 - no secret


def listing(chance: random.Random) -> Inventory:
    """
    Some numbers, each with random contents; now and then one twice, unreadable or cancelled.
    """
    places = [place for place in range(1, 15) if chance.random() < 0.85]
    rows: list[Any] = [
        number_row(
            place,
            monthly_charge=str(chance.randrange(3)),
            details={"number_address": chance.choice([None, address(chance.randrange(1, 4))])},
        )
        for place in places
    ]
    if chance.random() < 0.2:
        rows.append(rows[0])
    if chance.random() < 0.2:
        rows[-1] = {**rows[-1], "monthly_charge": "unreadable"}
    cancelled = [number_row(place, status="Cancelled") for place in {1, 2, 3} - set(places)]
    return Inventory(rows, cancelled)


def run_somehow(watch: Watch, chance: random.Random, **options: Any) -> Summary:
    """
    Run over the present listing: as usual, as a dry run, or so that it fails half-way.
    """
    how = chance.random()
    with api_for(watch.sandbox, page_size=5, concurrency=1, retries=0) as api:
        if how < 0.2:
            watch.sandbox.inject(Fault(kind="status", endpoint="numbers", skip=1))
            return watch.run(api=api, **options)
        return watch.run(api=api, dry_run=how > 0.85, **options)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_of_one_account_is_seen_in_another(
    watch: Watch, engine: Engine, kept: Engine, seed: int
) -> None:
    """
    Two accounts whose runs share a session end up as two whose runs have sessions of their own.
    """
    states = []
    for step in range(10):
        how = f"{seed} {step}"
        inventory = listing(chance_of(how))
        pair = ("a", "c") if chance_of(how).random() < 0.5 else ("b", "d")
        for account, reached_by in zip(pair, (kept, engine), strict=True):
            watch.sandbox.reset(inventory)
            options = {"account": account, "engine": reached_by}
            states.append(run_somehow(watch, chance_of(f"how {how}"), **options).state)

    assert states[::2] == states[1::2]
    assert len(set(states)) > 1
    assert contents(engine, "a") == contents(engine, "c")
    assert contents(engine, "b") == contents(engine, "d")


def test_a_kept_session_is_used_again_and_its_catalogue_does_not_grow(
    watch: Watch, kept: Engine
) -> None:
    """
    Runs with changes use one session, and the tables that the first of them made.
    """
    listings = [[number_row(1, monthly_charge=str(step % 2))] for step in range(6)]
    sessions, tables = set(), []
    for rows in listings:
        assert watch.see(*rows, engine=kept).state == "succeeded"
        with kept.connect() as connection:
            sessions.add(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
            found = connection.execute(text("SELECT oid FROM pg_class WHERE relpersistence = 't'"))
            tables.append(set(found.scalars()))

    assert len(sessions) == 1
    assert tables[-1] == tables[1]
    assert len(tables[-1]) >= len(temp_tables.STAGED)


def test_a_lost_session_is_replaced(watch: Watch, engine: Engine, kept: Engine) -> None:
    """
    After the server has ended the session between two runs, the next run has another one.
    """
    rows = [number_row(1), number_row(2)]
    watch.see(*rows, engine=kept)
    with kept.connect() as connection:
        before = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with engine.begin() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": before})
    summary = watch.see(rows[0], engine=kept)

    assert (summary.state, summary.cancelled) == ("succeeded", 1)


def test_a_lock_that_can_not_be_released_ends_with_its_session(
    watch: Watch, engine: Engine, kept: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A session that may still hold an account's lock is not used for another one.
    """

    def fail(connection: Any) -> None:
        connection.exec_driver_sql("SELECT 1 / 0")

    watch.see(number_row(1), engine=kept)
    with monkeypatch.context() as patched:
        patched.setattr(locks, "abandon", fail)
        assert watch.see(number_row(2), engine=kept, deadline=timedelta(minutes=1)).run_id == 2

    try:
        summary = watch.see(number_row(2), engine=engine)
    except RunInProgress:
        pytest.fail("the lock is still held")
    assert summary.state == "succeeded"
