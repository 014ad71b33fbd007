"""
What went wrong when endpoints were tried by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from support.build import number_row, rows_of
from support.receivers import HOOK, KEY, Answer
from syncsvc.accounts import sealing
from syncsvc.commands import notify
from syncsvc.commands.accounts import changing
from syncsvc.errors import ConfigurationError
from syncsvc.notify import endpoint_rows, secrets_and_signatures
from syncsvc.schema.tables import notify_cursors
from syncsvc.settings.settings import Settings

if TYPE_CHECKING:
    from support.build import Watch
    from support.receivers import Hooks, Receiver


def test_an_endpoint_that_is_gone_has_no_next_attempt(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    After 410 neither the log nor `syncsvc notify list` promises another attempt.
    """
    watch.see(number_row())
    hooks.add(receiver)
    watch.see(number_row(monthly_charge="9"))
    receiver.usual = Answer(410)
    with capture_logs() as logged:
        hooks.deliver()

    (failed,) = (each for each in logged if each["event"] == "notify.failed")
    (cursor,) = rows_of(watch.engine, notify_cursors)
    assert failed["next_attempt_at"] is None
    assert cursor["next_attempt_at"] is None


def test_an_endpoint_may_be_removed_while_an_event_is_on_its_way(
    watch: Watch, hooks: Hooks, receiver: Receiver
) -> None:
    """
    That event still arrives, the others don't, and nothing is reported as a failure.
    """

    def remove() -> None:
        with hooks.engine.begin() as connection:
            endpoint_rows.remove(connection, HOOK)

    watch.see(number_row(1), number_row(2))
    hooks.add(receiver)
    watch.see(number_row(1, monthly_charge="9"), number_row(2, monthly_charge="9"))
    receiver.answers.append(Answer(before=remove))
    with capture_logs() as logged:
        assert hooks.deliver() is None

    assert len(receiver.received) == 1
    assert [each["event"] for each in logged] == ["notify.delivered"]


def test_an_endpoint_that_was_removed_before_its_turn_is_no_failure(hooks: Hooks) -> None:
    """
    Who had it on a list of those that are due finds nothing to deliver.
    """
    assert hooks.deliver("removed") is None


def test_a_new_key_seals_the_secrets_of_endpoints_too(
    hooks: Hooks, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    After `syncsvc accounts reseal` the old key may go, and no endpoint has lost its secret.
    """
    new = sealing.new_key()
    hooks.add("https://example.com/hook")
    with hooks.engine.connect() as connection:
        assert changing.reseal(connection, _with_key(f"{new}\n{KEY}"))
        endpoint = endpoint_rows.require(connection, HOOK)

    assert secrets_and_signatures.secrets_of(_with_key(new), endpoint) == [hooks.secrets[HOOK]]
    assert "So are the secrets of 1 endpoints of webhooks." in capsys.readouterr().out


def test_an_endpoint_that_no_key_opens_is_named(
    hooks: Hooks, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `syncsvc accounts reseal` leaves it as it is, and fails.
    """
    before = hooks.add("https://example.com/hook")
    with hooks.engine.connect() as connection:
        assert not changing.reseal(connection, _with_key(sealing.new_key()))
        assert endpoint_rows.require(connection, HOOK) == before

    assert "opens the sealed secret of endpoint 'ops'" in capsys.readouterr().out


def test_no_rotation_drops_the_secret_that_the_receiver_has(hooks: Hooks) -> None:
    """
    A second one, before the first is finished, is refused; so is to finish what was not begun.
    """
    hooks.add("https://example.com/hook")
    with hooks.engine.connect() as connection:
        with pytest.raises(ConfigurationError, match="nothing to finish"):
            notify.rotate(connection, hooks.settings, HOOK, finish=True)
        notify.rotate(connection, hooks.settings, HOOK, finish=False)
        with pytest.raises(ConfigurationError, match="two secrets already"):
            notify.rotate(connection, hooks.settings, HOOK, finish=False)
        endpoint = endpoint_rows.require(connection, HOOK)

    secrets = secrets_and_signatures.secrets_of(hooks.settings, endpoint)
    assert len(secrets) == 2
    assert secrets[1] == hooks.secrets[HOOK]


def _with_key(key: str) -> Settings:
    return Settings(accounts_key=key)  # type: ignore[arg-type]  # pydantic wraps it
