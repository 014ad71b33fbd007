"""
What went wrong when endpoints were tried by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from support.build import number_row, rows_of
from support.receivers import HOOK, Answer
from syncsvc.notify import endpoints
from syncsvc.schema.tables import notify_cursors

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
            endpoints.remove(connection, HOOK)

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
