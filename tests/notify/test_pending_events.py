"""
However events are read, they are the same ones in the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.build import number_row
from support.receivers import HOOK
from syncsvc import clock
from syncsvc.notify import cursors, pending_events
from syncsvc.notify.cursors import Position
from syncsvc.sandbox import Fault
from syncsvc.schema.tables import sync_runs

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from support.beginnings import Beginnings
    from support.build import Watch
    from support.receivers import Hooks, Receiver

REFUSED = Fault(kind="status", endpoint="numbers", status=403)
TOLD = [
    "run.published",
    *("account.failing", "number.changed", "number.provisioned", "account.recovered"),
    "run.withheld",
    *("number.changed", "number.changed", "run.withheld"),
    *("account.failing", "account.recovered"),
]


@pytest.fixture
def lived(watch: Watch, beginnings: Beginnings) -> Engine:
    """
    An account's runs of every kind, and another account's between them.
    """
    beginnings.bring_about(watch.engine, "runs of every kind", lambda: live_through(watch))
    return watch.engine


def live_through(watch: Watch) -> None:
    """
    Run as often as it takes.
    """
    many = [number_row(place) for place in range(1, 41)]
    gone = {"status": "Cancelled"}
    watch.see(*many)
    for fault in (REFUSED, REFUSED):
        watch.sandbox.inject(fault)
        watch.run()
        watch.see(number_row(7), account="neighbouring")
    changed = [number_row(1, monthly_charge="7"), *many[1:], number_row(99)]
    watch.see(*changed)
    watch.see(*changed)
    watch.see(*changed[:20])
    watch.see(number_row(7, monthly_charge="8"), account="neighbouring")
    watch.see(*[number_row(place, monthly_charge="9") for place in (1, 2)], *changed[2:19])
    with watch.engine.begin() as connection:
        values = {"account": "default", "trigger": "manual", "state": "running"}
        further = {"service_version": "0", "detail": gone, "started_at": clock.now()}
        connection.execute(sync_runs.insert().values(**values, **further))
    watch.see(number_row(1, monthly_charge="9"), number_row(2, monthly_charge="9"), *changed[2:19])


def read_all(engine: Engine, *, one_by_one: bool = False) -> list[Any]:
    """
    All events, batch by batch, or anew from behind each event.
    """
    position, found = Position(), []
    with engine.connect() as connection:
        while True:
            batch = pending_events.read(connection, "default", position, bulk=False)
            found += batch.events[:1] if one_by_one else batch.events
            if not batch.events and batch.is_last:
                return found
            position = batch.events[0].after if one_by_one and batch.events else batch.end


@pytest.mark.parametrize("rows", [2, 3, 7, 1001])
@pytest.mark.parametrize("runs", [1, 2, 3, 500])
def test_batches_make_no_difference(
    lived: Engine, monkeypatch: pytest.MonkeyPatch, rows: int, runs: int
) -> None:
    """
    Few rows or runs at a time, or all at once.
    """
    everything = read_all(lived)
    monkeypatch.setattr(pending_events, "ROWS_READ", rows)
    monkeypatch.setattr(pending_events, "RUNS_READ", runs)

    assert read_all(lived) == everything
    assert len({event.id for event in everything}) == len(everything)


def test_an_event_is_followed_by_the_next_one(lived: Engine) -> None:
    """
    Whoever stops after any of them goes on with the one that comes next.
    """
    everything = read_all(lived)

    told = [event.id for event in read_all(lived, one_by_one=True)]
    assert told == [event.id for event in everything]


def test_the_story_of_an_account(lived: Engine) -> None:
    """
    Each kind of run is told as it should be, and no other account's.
    """
    assert [event.type.value for event in read_all(lived)] == TOLD


def test_what_is_read_is_what_is_delivered(lived: Engine, hooks: Hooks, receiver: Receiver) -> None:
    """
    An endpoint that wants everything gets all of it in this order.
    """
    hooks.add(receiver)
    with lived.begin() as connection:
        cursors.rewind(connection, HOOK, "default", clock.now().replace(year=2000))
    hooks.deliver()

    assert receiver.ids == [event.id for event in read_all(lived)]
