"""
Endpoints don't wait for each other, and whoever has the time delivers: workers, fleets and threads.
"""

from __future__ import annotations

import signal
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from support.build import NEW_YEAR, number_row, rows_of
from support.processes import PATIENCE, Workers, eventually
from support.receivers import KEY, Answer, Hooks, Receiver
from syncsvc.database.engine import open_engine
from syncsvc.notify import endpoint_rows, endpoint_standing
from syncsvc.notify.delivery_threads import BUSY, Deliveries
from syncsvc.sandbox import Inventory
from syncsvc.schema.tables import notify_cursors, number_history
from syncsvc.settings.webhook_endpoints import Webhook

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from support.build import Watch
    from support.fleets import Fleet
    from syncsvc.sandbox import Sandbox

FOREVER = 5.0  # seconds for which a receiver hangs


@pytest.fixture
def deliveries(hooks: Hooks) -> Deliveries:
    """
    The deliveries of a process.
    """
    return Deliveries(lambda: hooks.engine, lambda: hooks.settings, hooks.metrics.notify)


@pytest.fixture
def workers(sandbox: Sandbox, engine: Engine, tmp_path: Path) -> Workers:
    """
    Workers over an inventory of one number.
    """
    sandbox.inventory = Inventory([number_row()])
    return Workers(sandbox, engine, tmp_path)


def test_one_that_hangs_delays_no_other(
    watch: Watch, hooks: Hooks, receiver: Receiver, deliveries: Deliveries
) -> None:
    """
    Each endpoint has a thread of its own.
    """
    may_end = threading.Event()
    with Receiver() as hanging:
        hanging.usual = Answer(before=lambda: may_end.wait(FOREVER))
        hooks.add(hanging, "a-hanging-one")
        hooks.add(receiver)
        watch.see(number_row())
        began_at = time.monotonic()
        wait = deliveries.start_due()
        eventually(lambda: receiver.received)
        deliveries.stop()
        took = time.monotonic() - began_at
        may_end.set()
        deliveries.finish(PATIENCE)  # its thread would log in another test

        assert wait == BUSY
        assert took < FOREVER


def test_what_is_on_its_way_is_not_started_again(
    watch: Watch, hooks: Hooks, receiver: Receiver, deliveries: Deliveries
) -> None:
    """
    However often somebody looks.
    """
    may_end = threading.Event()
    receiver.usual = Answer(before=lambda: may_end.wait(PATIENCE) and None)
    hooks.add(receiver)
    watch.see(number_row())
    for _ in range(3):
        deliveries.start_due()
    eventually(lambda: receiver.received)
    may_end.set()
    deliveries.finish(PATIENCE)

    assert len(receiver.received) == 1


def test_an_endpoint_that_fails_is_not_asked_for_other_accounts(
    watch: Watch, hooks: Hooks, receiver: Receiver, deliveries: Deliveries
) -> None:
    """
    One attempt at a time is enough to see that it is down.
    """
    receiver.usual = Answer(500)
    hooks.add(receiver)
    for account in ("berlin", "bonn", "paris"):
        watch.see(number_row(), account=account)
    deliveries.start_due()
    deliveries.finish(PATIENCE)

    assert len(receiver.received) == 1


def test_the_next_attempt_is_announced(
    watch: Watch, hooks: Hooks, receiver: Receiver, deliveries: Deliveries
) -> None:
    """
    So that whoever waits knows for how long; without anything to do, for nothing.
    """
    assert deliveries.start_due() is None

    receiver.usual = Answer(500)
    hooks.add(receiver)
    watch.see(number_row())
    hooks.deliver()
    wait = deliveries.start_due()

    assert wait is not None
    assert 3 < wait.total_seconds() < 6


def test_a_lost_database_is_logged_once(hooks: Hooks, tmp_path: Path) -> None:
    """
    And not at every look.
    """
    away = open_engine(hooks.engine.url.set(database=str(tmp_path / "nowhere" / "x.db")))
    deliveries = Deliveries(lambda: away, lambda: hooks.settings, hooks.metrics.notify)
    with capture_logs() as logs:
        for _ in range(3):
            deliveries.start_due()

    assert [line["event"] for line in logs] == ["notify.database_lost"]


def test_endpoints_of_the_settings_keep_their_state(hooks: Hooks) -> None:
    """
    What the file says of one is renewed; that somebody paused it stays.
    """
    before, after = (Webhook(url=f"https://example.com/{path}") for path in ("a", "b"))
    with hooks.engine.begin() as connection:
        endpoint_rows.adopt(connection, {"ops": before})
        endpoint_rows.set_enabled(connection, "ops", enabled=False)
    with hooks.engine.begin() as connection:
        endpoint_rows.adopt(connection, {"ops": after})
        (found,) = endpoint_rows.every(connection)

    assert (found.url, found.state) == ("https://example.com/b", "paused")


def test_how_endpoints_stand(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    What waits is counted for those that are enabled, and since when.
    """
    watch.see(number_row(1), number_row(2))
    hooks.add(receiver)
    hooks.add(receiver, "another")
    with hooks.engine.begin() as connection:
        endpoint_rows.set_enabled(connection, "another", enabled=False, reason="It failed.")
    watch.see(*[number_row(place, monthly_charge="7") for place in (1, 2)])
    with hooks.engine.connect() as connection:
        states = endpoint_standing.states(connection)

    assert (states["ops"].pending, states["ops"].disabled) == (2, False)
    assert 0 < states["ops"].oldest_seconds < PATIENCE
    assert (states["another"].pending, states["another"].disabled) == (0, True)
    assert states["another"].oldest_seconds == 0


def test_a_worker_delivers_within_seconds(
    workers: Workers, sandbox: Sandbox, hooks: Hooks, receiver: Receiver
) -> None:
    """
    It tells of what it finds, in metrics and on its page, too.
    """
    hooks.add(receiver)
    with workers.worker(accounts_key=KEY) as worker:
        eventually(lambda: receiver.types == ["run.published"])
        sandbox.inventory = Inventory([number_row(monthly_charge="7")])
        eventually(lambda: receiver.types == ["run.published", "number.changed"])
        delivered = worker.metric("syncsvc_notify_delivered_total", endpoint="ops")
        page = worker.get("/").text

        assert delivered == 2
        assert '<th scope="row">ops</th>' in page
        assert "hidden" not in page  # the query of its address
        assert all(each.verified_by(hooks.secrets["ops"]) for each in receiver.received)


def test_a_worker_killed_after_the_response_delivers_twice(
    workers: Workers, sandbox: Sandbox, hooks: Hooks, receiver: Receiver
) -> None:
    """
    Under one id; nothing is lost, and nothing else is repeated.
    """
    hooks.add(receiver)
    with workers.worker(accounts_key=KEY, schedule="1h") as worker:
        receiver.answers.append(Answer(before=worker.process.kill))
        eventually(lambda: receiver.received)
        worker.process.wait(PATIENCE)
    sandbox.inventory = Inventory([number_row(monthly_charge="7")])
    with workers.worker(accounts_key=KEY, schedule="1h"):
        eventually(lambda: "number.changed" in receiver.types)

    assert receiver.types == ["run.published", "run.published", "number.changed"]
    assert receiver.ids[0] == receiver.ids[1]


def test_a_worker_ends_beside_a_receiver_that_hangs(
    workers: Workers, hooks: Hooks, receiver: Receiver
) -> None:
    """
    A signal ends it within seconds.
    """
    receiver.usual = Answer(wait=60)
    hooks.add(receiver)
    with workers.worker(accounts_key=KEY) as worker:
        eventually(lambda: receiver.received)
        worker.signal(signal.SIGTERM)

        assert worker.ended(10) == 0


def test_a_fleet_delivers_each_event_once(
    fleet: Fleet, sandbox: Sandbox, receiver: Receiver
) -> None:
    """
    Whichever worker ran an account: in order for each, and none twice.
    """
    names = {f"account-{number}" for number in range(8)}
    sandbox.reset(Inventory([number_row(1), number_row(2)]))
    hooks = Hooks(fleet.engine)
    hooks.settings = fleet.settings()
    hooks.add(receiver)
    fleet.add(names, sandbox)
    fleet.start(2)
    eventually(lambda: len(receiver.received) >= len(names))
    sandbox.inventory = Inventory([number_row(1, monthly_charge="7"), number_row(2, status="x")])
    fleet.make_due()
    eventually(lambda: len(receiver.received) >= 3 * len(names))
    fleet.stop()

    assert len(set(receiver.ids)) == len(receiver.ids) == 3 * len(names)
    for name in names:
        told = [each.data for each in receiver.received if each.data["account"] == name]
        history = rows_of(fleet.engine, number_history, account=name, event="changed")
        assert [data["history_id"] for data in told[1:]] == [row["id"] for row in history]


def test_pruning_keeps_what_an_endpoint_has_not_had(
    watch: Watch, hooks: Hooks, receiver: Receiver, cli: Any
) -> None:
    """
    As long as it is enabled; afterwards nothing is kept for it.
    """
    watch.see(number_row())
    hooks.add(receiver)
    for charge in ("1", "2", "3"):
        watch.see(number_row(monthly_charge=charge))
    long_ago = dict.fromkeys(
        ("valid_from", "valid_to", "occurred_at"), NEW_YEAR - timedelta(days=9)
    )
    closed = number_history.c.valid_to.is_not(None)
    with watch.engine.begin() as connection:
        connection.execute(update(number_history).where(closed).values(long_ago))
    words = ("prune", "--keep-history", "1d", "--keep-runs", "1d")
    url = watch.engine.url.render_as_string(hide_password=False)
    cli(*words, "--database-url", url)
    kept = len(watch.history())
    hooks.deliver()
    delivered = len(receiver.received)
    cli(*words, "--database-url", url)

    assert kept == 3
    assert delivered == 3
    assert len(watch.history()) < 3
    assert rows_of(watch.engine, notify_cursors)[0]["last_error"] is None
