"""
Failures: what their messages say, and who must act.
"""

from __future__ import annotations

import re

import pytest

from syncsvc import errors

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.SyncError)
]


def failure(kind: type[errors.SyncError], detail: str = "") -> errors.SyncError:
    """
    A failure of some kind.
    """
    if issubclass(kind, errors.ProviderUnavailable):
        return kind(detail, reason="test")
    return kind(detail)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_the_text_given(kind: type[errors.SyncError]) -> None:
    """
    Nothing is put before or after the sentences that an error is raised with.
    """
    assert str(failure(kind, "It is full. Ask the carrier.")) == "It is full. Ask the carrier."


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_without_text_is_a_sentence_of_the_class(kind: type[errors.SyncError]) -> None:
    """
    An error raised without text says something whole, and not its docstring.
    """
    message = str(failure(kind))

    assert re.fullmatch(r"[A-Z][^\n]+\.", message)
    assert message == kind.default
    assert message != " ".join((kind.__doc__ or "").split())


def test_an_error_needs_no_docstring() -> None:
    """
    Messages are the same in a program that was stripped of its documentation.
    """
    undocumented = type("Undocumented", (errors.RunInProgress,), {"__doc__": None})

    assert str(undocumented()) == str(errors.RunInProgress())


def test_a_run_out_of_time_names_what_it_was_doing() -> None:
    """
    The deadline's error names the setting, and the step that was not finished.
    """
    message = str(errors.DeadlineExceeded.during("publishing"))

    assert "SYNCSVC_RUN_DEADLINE" in message
    assert "(it was publishing)" in message


@pytest.mark.parametrize("kind", KINDS)
def test_every_failure_says_who_must_act(kind: type[errors.SyncError]) -> None:
    """
    Each kind is one to wait out or one for somebody to look at, and never both.
    """
    groups = (errors.TransientError, errors.ActionRequired)

    assert kind is errors.SyncError or sum(issubclass(kind, group) for group in groups) == 1


def test_an_answer_not_given_says_why_and_when_to_ask_again() -> None:
    """
    What a retry needs to know travels with the failure.
    """
    plain = errors.ProviderUnavailable(reason="status_503")
    timed = errors.ProviderUnavailable("Busy.", reason="status_429", retry_after=2.5)

    assert (plain.reason, plain.retry_after) == ("status_503", None)
    assert (timed.reason, timed.retry_after) == ("status_429", 2.5)
