"""
Failures: what their messages say, and who must act.
"""

from __future__ import annotations

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
def test_a_message_is_headline_and_detail(kind: type[errors.SyncError]) -> None:
    """
    The class says what happened, in one sentence; the detail follows it on the same line.
    """
    headline = " ".join((kind.__doc__ or "").split())

    assert headline.endswith(".")
    assert f"{headline} Ask the carrier." == str(failure(kind, "Ask the carrier."))


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_without_detail_is_the_headline(kind: type[errors.SyncError]) -> None:
    """
    A failure with nothing to add says its headline, without a space after it.
    """
    assert " ".join((kind.__doc__ or "").split()) == str(failure(kind))


def test_a_message_is_known_to_the_letter() -> None:
    """
    The headline is the class's own, not that of the class above it.
    """
    assert str(errors.RunInProgress("Wait.")) == "Another run of this account holds the lock. Wait."


def test_a_class_without_a_docstring_has_the_detail_alone() -> None:
    """
    Where documentation is stripped from the program, details are still told.
    """
    undocumented = type("Undocumented", (errors.SyncError,), {"__doc__": None})

    assert str(undocumented("What was found.")) == "What was found."


@pytest.mark.parametrize("kind", KINDS)
def test_every_failure_says_who_must_act(kind: type[errors.SyncError]) -> None:
    """
    Each kind is one to wait out or one for somebody to look at, and never both.
    """
    groups = (errors.WaitAndSee, errors.NeedsOperator)

    assert kind is errors.SyncError or sum(issubclass(kind, group) for group in groups) == 1


def test_an_answer_not_given_says_why_and_when_to_ask_again() -> None:
    """
    What a retry needs to know travels with the failure.
    """
    plain = errors.ProviderUnavailable(reason="status_503")
    timed = errors.ProviderUnavailable("Busy.", reason="status_429", retry_after=2.5)

    assert (plain.reason, plain.retry_after) == ("status_503", None)
    assert (timed.reason, timed.retry_after) == ("status_429", 2.5)
