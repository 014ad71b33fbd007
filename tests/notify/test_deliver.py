"""
Events reach a receiver: signed, in order, at least once, and again when it was down.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from support.build import address, number_row, rows_of, uuid_at
from support.receivers import HOOK, Answer, Receiver
from syncsvc import clock
from syncsvc.accounts.standing import database_time
from syncsvc.notify import cursors, endpoint_rows
from syncsvc.notify.deliver import RETRIES
from syncsvc.sandbox import Fault
from syncsvc.schema.tables import notify_cursors, notify_endpoints, number_history, sync_runs
from syncsvc.sync.run import run_once

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from support.build import Watch
    from support.receivers import Hooks

CHARGES = ("0.1", "0.2", "0.3")


def cursor_of(engine: Engine, **wanted: Any) -> dict[str, Any]:
    """
    The only cursor.
    """
    (row,) = rows_of(engine, notify_cursors, **wanted)
    return row


def make_due(engine: Engine) -> None:
    """
    Let the time pass that an endpoint waits for its next attempt.
    """
    with engine.begin() as connection:
        past = database_time(connection) - timedelta(seconds=1)
        connection.execute(update(notify_cursors).values(next_attempt_at=past))


def test_a_change_is_told_once_and_signed(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    The event has what the history says, and the library verifies it.
    """
    watch.see(number_row())
    hooks.add(receiver)
    watch.see(number_row(monthly_charge="0.4"))
    assert hooks.deliver() is None
    assert hooks.deliver() is None

    (got,) = receiver.received
    change = watch.history()[-1]
    event = got.verified_by(hooks.secrets[HOOK])
    assert event["type"] == "number.changed"
    assert event["data"]["history_id"] == change["id"]
    assert event["data"]["run_id"] == change["run_id"]
    assert event["data"]["changes"] == {"monthly_charge": {"old": "0.3000", "new": "0.4000"}}
    assert event["data"]["number_e164"] == number_row()["number_e164"]
    assert set(event["data"]) == {
        *("account", "uuid", "number_e164", "event", "evidence", "occurred_at"),
        *("occurred_at_source", "valid_from", "lifecycle", "changes", "run_id", "history_id"),
    }
    assert got.headers["content-type"] == "application/json"


def test_a_new_endpoint_hears_nothing_of_before(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    It begins with what happens after it was added.
    """
    watch.see(number_row())
    watch.see(number_row(monthly_charge="0.4"))
    hooks.add(receiver)
    watch.run()
    hooks.deliver()

    assert receiver.received == []


def test_a_first_run_is_one_event(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    An account's first run is told by its counts; with bulk, by every number.
    """
    hooks.add(receiver)
    with Receiver() as other:
        hooks.add(other, "all", bulk=True)
        watch.see(number_row(1), number_row(2))
        hooks.deliver()
        hooks.deliver("all")

        assert receiver.types == ["run.published"]
        assert receiver.received[0].data["provisioned"] == 2
        assert receiver.received[0].data["state"] == "succeeded"
        assert other.types == ["number.provisioned"] * 2


def test_a_first_run_without_numbers_is_told(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    Also an empty inventory is worth an event, once.
    """
    hooks.add(receiver)
    watch.see()
    watch.see()
    hooks.deliver()

    assert receiver.types == ["run.published"]


def test_many_changes_are_one_event(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    A run with more than 1,000 changes is one event; one with 1,000 is a thousand.
    """
    watch.see(number_row(1))
    hooks.add(receiver)
    many = [number_row(place) for place in range(2, 1003)]
    watch.see(number_row(1), *many)
    hooks.deliver()
    fewer = [number_row(place, monthly_charge="7") for place in range(2, 1002)]
    watch.see(number_row(1), *fewer, many[-1])
    hooks.deliver()

    assert receiver.types == ["run.published"] + ["number.changed"] * 1000
    assert receiver.received[0].data["provisioned"] == 1001
    told = [each.data["history_id"] for each in receiver.received[1:]]
    assert told == sorted(told)


def test_bulk_tells_every_one_of_many_changes(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    However many there are, in order and none of them twice.
    """
    hooks.add(receiver, bulk=True)
    watch.see(*[number_row(place) for place in range(1, 2105)])
    hooks.deliver()

    told = [each.data["history_id"] for each in receiver.received]
    assert told == [row["id"] for row in rows_of(watch.engine, number_history)]
    assert cursor_of(watch.engine)["run_id"] == cursor_of(watch.engine)["wanted_run_id"]


def test_a_run_that_failed_sends_only_that_it_did(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    Once for several in a row, and when it is over.
    """
    watch.see(number_row())
    hooks.add(receiver)
    for _ in range(2):
        watch.sandbox.inject(Fault(kind="status", endpoint="numbers", status=403))
        watch.run()
    watch.run()
    watch.run()
    hooks.deliver()

    assert receiver.types == ["account.failing", "account.recovered"]
    assert "403" in receiver.received[0].data["error"]


def test_a_run_that_was_rolled_back_sends_nothing(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    A dry run has no events, as it has no history.
    """
    watch.see(number_row())
    hooks.add(receiver)
    watch.see(number_row(monthly_charge="9"), dry_run=True)
    hooks.deliver()

    assert receiver.received == []
    assert cursor_of(watch.engine)["wanted_run_id"] == cursor_of(watch.engine)["run_id"]


def test_withheld_cancellations_are_told_when_they_change(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    Not by every run that withholds the same ones again.
    """
    everything = [number_row(place) for place in range(1, 41)]
    watch.see(*everything)
    hooks.add(receiver)
    watch.see(*everything[:20])
    watch.see(*everything[:20])
    watch.see(*everything[:19])
    hooks.deliver()

    assert receiver.types == ["run.withheld"] * 2
    assert [each.data["withheld"] for each in receiver.received] == [20, 21]


def test_an_endpoint_gets_only_what_it_wants(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    By patterns of types; and what stands for such events, too.
    """
    hooks.add(receiver, events=("number.cancelled",))
    watch.see(number_row(1), number_row(2))
    watch.see(number_row(1, monthly_charge="5"), number_row(2, status="Cancelled"))
    hooks.deliver()

    assert receiver.types == ["run.published", "number.cancelled"]


def test_another_accounts_events_stay_with_it(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    An endpoint gets the accounts that it covers, and each account's events by its own cursor.
    """
    hooks.add(receiver, accounts=("b*",))
    for account in ("default", "berlin", "bonn"):
        watch.see(number_row(), account=account)
        watch.see(number_row(monthly_charge="9"), account=account)
    for account in ("default", "berlin", "bonn"):
        hooks.deliver(account=account)

    assert [(each.data["account"], each.type) for each in receiver.received] == [
        (account, kind)
        for account in ("berlin", "bonn")
        for kind in ("run.published", "number.changed")
    ]


def test_order_holds_under_failures(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    What follows an event that fails waits for it; each keeps its id.
    """
    watch.see(number_row(1), number_row(2), number_row(3))
    hooks.add(receiver)
    watch.see(*[number_row(place, monthly_charge="7") for place in (1, 2, 3)])
    receiver.answers.extend([Answer(), Answer(500), Answer(), Answer(503)])
    for _ in range(3):
        hooks.deliver()
        make_due(watch.engine)

    uuids = [each.data["uuid"] for each in receiver.received]
    assert uuids == [uuid_at(place) for place in (1, 2, 2, 3, 3)]
    assert receiver.ids[1] == receiver.ids[2]
    assert receiver.ids[3] == receiver.ids[4]
    assert len(set(receiver.ids)) == 3


def test_a_failed_attempt_waits_as_the_specification_says(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    Each further one longer; after the last one the endpoint is disabled, and says why.
    """
    watch.see(number_row())
    hooks.add(receiver)
    watch.see(number_row(monthly_charge="9"))
    receiver.usual = Answer(500)
    waits = []
    for _ in RETRIES:
        began_at = moment(watch.engine)
        assert hooks.deliver() == "It responded 500."
        waits.append(cursor_of(watch.engine)["next_attempt_at"] - began_at)
        assert hooks.deliver() is None  # it is not due
        make_due(watch.engine)
    with capture_logs() as logs:
        hooks.deliver()
    make_due(watch.engine)
    hooks.deliver()

    assert len(receiver.received) == 10
    assert len(set(receiver.ids)) == 1
    for wait, least in zip(waits, RETRIES, strict=True):
        assert timedelta(seconds=least) <= wait <= timedelta(seconds=least * 1.1 + 5)
    (row,) = rows_of(watch.engine, notify_endpoints)
    assert not row["enabled"]
    assert row["disabled_reason"] == "10 attempts to deliver one event failed. It responded 500."
    assert "notify.disabled" in [line["event"] for line in logs]


def moment(engine: Engine) -> Any:
    """
    The database's time.
    """
    with engine.connect() as connection:
        return database_time(connection)


def test_a_resumed_endpoint_has_missed_nothing(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    Paused or disabled, it gets everything afterwards, and begins anew with its attempts.
    """
    watch.see(number_row())
    hooks.add(receiver)
    set_enabled(watch.engine, enabled=False)
    for charge in CHARGES:
        watch.see(number_row(monthly_charge=charge))
        hooks.deliver()
    before = list(receiver.received)
    set_enabled(watch.engine, enabled=True)
    hooks.deliver()

    assert before == []
    assert [each.data["changes"]["monthly_charge"]["new"] for each in receiver.received] == [
        f"{charge}000" for charge in CHARGES
    ]


def set_enabled(engine: Engine, *, enabled: bool) -> None:
    """
    Pause or resume the endpoint.
    """
    with engine.begin() as connection:
        endpoint_rows.set_enabled(connection, HOOK, enabled=enabled)


def test_a_pause_in_between_is_kept_to(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    Whoever is delivering stops after the event that is on its way.
    """
    watch.see(number_row(1), number_row(2))
    hooks.add(receiver)
    watch.see(*[number_row(place, monthly_charge="7") for place in (1, 2)])
    receiver.answers.append(Answer(before=lambda: set_enabled(watch.engine, enabled=False)))
    hooks.deliver()
    first = len(receiver.received)
    set_enabled(watch.engine, enabled=True)
    hooks.deliver()

    assert first == 1
    assert len(set(receiver.ids)) == len(receiver.ids) == 2


def test_gone_disables_at_once(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    A receiver that responds 410 is not asked again.
    """
    watch.see(number_row())
    hooks.add(receiver)
    watch.see(number_row(monthly_charge="9"))
    receiver.usual = Answer(410)
    hooks.deliver()
    make_due(watch.engine)
    hooks.deliver()

    (row,) = rows_of(watch.engine, notify_endpoints)
    assert len(receiver.received) == 1
    assert row["disabled_reason"] == "It responded 410: it wants no further events."


@pytest.mark.parametrize(("sent", "seconds"), [("3600", 3600), ("1", 5), ("999999", 86_400)])
def test_retry_after_is_kept_to(
    watch: Watch, hooks: Hooks, receiver: Receiver, sent: str, seconds: int
) -> None:
    """
    It makes a wait longer, up to a day, and never shorter.
    """
    watch.see(number_row())
    hooks.add(receiver)
    watch.see(number_row(monthly_charge="9"))
    receiver.usual = Answer(429, {"Retry-After": sent})
    began_at = moment(watch.engine)
    hooks.deliver()

    wait = cursor_of(watch.engine)["next_attempt_at"] - began_at
    assert timedelta(seconds=seconds) <= wait <= timedelta(seconds=seconds * 1.1 + 5)


def test_who_dies_after_the_response_leaves_the_event_to_the_next(
    watch: Watch, hooks: Hooks, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is delivered twice under one id, and never lost.
    """
    watch.see(number_row())
    hooks.add(receiver)
    watch.see(number_row(monthly_charge="9"))
    with monkeypatch.context() as killed:
        killed.setattr(cursors, "advance", _die)
        with pytest.raises(KeyboardInterrupt):
            hooks.deliver()
    hooks.deliver()

    assert len(receiver.received) == 2
    assert len(set(receiver.ids)) == 1
    assert receiver.received[0].body == receiver.received[1].body


def _die(*_: object, **__: object) -> bool:
    raise KeyboardInterrupt


def test_a_replay_tells_the_same_again(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    With the same ids and bodies, from the moment that was asked for.
    """
    hooks.add(receiver)
    watch.see(number_row(1), number_row(2))
    watch.see(number_row(1, monthly_charge="7"), number_row(2))
    since = watch.history(1)[-1]["valid_from"]
    watch.see(number_row(1, status="Cancelled"), number_row(2, number_address=None))
    hooks.deliver()
    told = [(each.id, each.body) for each in receiver.received]
    receiver.received.clear()
    rewind(watch.engine, since - timedelta(days=1))
    hooks.deliver()
    everything = [(each.id, each.body) for each in receiver.received]
    receiver.received.clear()
    rewind(watch.engine, since)
    hooks.deliver()

    assert everything == told
    assert [(each.id, each.body) for each in receiver.received] == told[1:]
    assert told[1:] != []


def rewind(engine: Engine, since: Any) -> None:
    """
    Replay what the account's runs found since a moment.
    """
    with engine.begin() as connection:
        cursors.rewind(connection, HOOK, "default", since)


def test_a_replay_beyond_pruned_runs_still_tells_the_numbers(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    History is kept for longer than runs.
    """
    watch.see(number_row(1))
    for charge in CHARGES[:2]:
        watch.see(number_row(1, monthly_charge=charge))
    hooks.add(receiver)
    with watch.engine.begin() as connection:
        newest = select(sync_runs.c.id).order_by(sync_runs.c.id.desc()).limit(1)
        last = connection.execute(newest).scalar_one()
        connection.execute(sync_runs.delete().where(sync_runs.c.id != last))
    rewind(watch.engine, watch.history(1)[0]["valid_from"])
    hooks.deliver()

    assert receiver.types == ["run.published", "number.changed", "number.changed"]
    assert receiver.received[0].data["run_id"] == watch.history(1)[0]["run_id"]


def test_one_event_is_on_its_way_at_a_time(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    Somebody who delivers to the same endpoint meanwhile does nothing.
    """
    watch.see(number_row())
    hooks.add(receiver)
    watch.see(number_row(monthly_charge="9"))
    began, may_end = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        may_end.wait(10)

    receiver.usual = Answer(before=hang)
    first = threading.Thread(target=hooks.deliver)
    first.start()
    began.wait(10)
    second = hooks.deliver()
    may_end.set()
    first.join(10)

    assert second is None
    assert len(receiver.received) == 1


def test_an_endpoint_without_its_key_says_so(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    It fails as if its receiver did, and goes on when the key is back.
    """
    watch.see(number_row())
    hooks.add(receiver)
    watch.see(number_row(monthly_charge="9"))
    known, hooks.settings = hooks.settings, without_key(hooks)
    error = hooks.deliver()
    hooks.settings = known
    make_due(watch.engine)
    hooks.deliver()

    assert error is not None
    assert "No key in SYNCSVC_ACCOUNTS_KEY opens the sealed secret of endpoint 'ops'." in error
    assert receiver.types == ["number.changed"]


def without_key(hooks: Hooks) -> Any:
    """
    The settings of a process that was not given the key.
    """
    return hooks.settings.model_copy(update={"accounts_key": None})


def test_a_stop_leaves_the_rest_for_later(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    No further event is sent, and none is lost.
    """
    watch.see(number_row(1), number_row(2))
    hooks.add(receiver)
    watch.see(*[number_row(place, monthly_charge="7") for place in (1, 2)])
    hooks.deliver(is_stopping=lambda: bool(receiver.received))
    first = len(receiver.received)
    hooks.deliver()

    assert first == 1
    assert len(set(receiver.ids)) == len(receiver.ids) == 2


def test_events_have_no_street_addresses(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    Neither those of a number, nor unknown fields that may be one.
    """
    home = address(1)
    watch.see(number_row())
    hooks.add(receiver)
    watch.see(number_row(details={"number_address": home}, note="7800 Alexander Road"))
    hooks.deliver()

    (got,) = receiver.received
    assert got.data["changes"] == {"number_address_id": {"old": None, "new": 1}}
    assert b"Alexander" not in got.body


def test_a_huge_event_is_made_small(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    A body has 20,000 bytes at most; columns that changed are named all the same.
    """
    watch.see(number_row())
    hooks.add(receiver)
    watch.see(number_row(status="x" * 30_000))
    hooks.deliver()

    (got,) = receiver.received
    assert len(got.body) <= 20_000
    assert got.data["changes"] == {"status": None}


def test_only_runs_with_events_touch_a_cursor(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    A run that finds nothing writes nothing about endpoints.
    """
    watch.see(number_row())
    hooks.add(receiver)
    before = rows_of(watch.engine, notify_cursors)
    watch.run()

    assert rows_of(watch.engine, notify_cursors) == before


def test_crashed_runs_are_told(watch: Watch, hooks: Hooks, receiver: Receiver) -> None:
    """
    A run whose process died is found by the next one, which tells of it.
    """
    watch.see(number_row())
    hooks.add(receiver)
    with watch.engine.begin() as connection:
        _leave_running(connection)
    watch.run()
    hooks.deliver()

    assert receiver.types == ["account.failing", "account.recovered"]
    assert receiver.received[0].data["state"] == "crashed"


def _leave_running(connection: Connection) -> None:
    values = {"account": "default", "trigger": "manual", "state": "running"}
    further = {"service_version": "0", "detail": {}, "started_at": clock.now()}
    connection.execute(sync_runs.insert().values(**values, **further))


def test_a_run_that_commits_and_one_that_does_not(
    watch: Watch, hooks: Hooks, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is told is what was committed, also if the run fails after it has woken the endpoint.
    """
    watch.see(number_row())
    hooks.add(receiver)
    with monkeypatch.context() as broken:
        broken.setattr("syncsvc.database.runs.forget_rejects", _fail)
        watch.see(number_row(monthly_charge="9"))
    hooks.deliver()

    assert receiver.types == ["account.failing"]
    assert run_once(msgspec.structs.replace(watch.job)).state == "succeeded"


def _fail(*_: object, **__: object) -> None:
    raise RuntimeError("broken")
