"""
The enumerations in the tables, with the meaning of each value.
"""

from __future__ import annotations

from enum import StrEnum


class Lifecycle(StrEnum):
    """
    Whether the carrier bills a number to this account.
    """

    LIVE = "live"  # listed, or not known to be cancelled
    CANCELLED = "cancelled"  # cancelled, on the evidence in its history


class Event(StrEnum):
    """
    What a run found changed about a number or an address.
    """

    ADDED = "added"  # seen for the first time; a number: not provisioned yet
    PROVISIONED = "provisioned"  # the provider sent a (new) provisioned timestamp
    CANCELLED = "cancelled"  # live before, cancelled now
    REINSTATED = "reinstated"  # cancelled before, live now
    CHANGED = "changed"  # any other column changed


class Source(StrEnum):
    """
    Whose clock an `occurred_at` comes from.
    """

    PROVIDER = "provider"  # the provider's own timestamp
    OBSERVED = "observed"  # the start of the run that found it


class Evidence(StrEnum):
    """
    The evidence for a history row.
    """

    LISTING = "listing"  # the number's own row in /api/numbers
    CANCELLED_LISTING = "cancelled_listing"  # its row in /api/numbers/cancelled
    ABSENCE = "absence"  # not in a listing that was proved complete


class WithheldReason(StrEnum):
    """
    Why a cancellation was withheld.
    """

    GUARD = "guard"  # too many on weak evidence at once, or the listing is empty
    SEARCH_FAILED = "search_failed"  # the search for the number failed or proved nothing
    SEARCH_LIMIT = "search_limit"  # the run made as many searches as it may before
    CONTRADICTED = "contradicted"  # a search shows the number, or others that the listing lacks


class Trigger(StrEnum):
    """
    Why a run was started.
    """

    MANUAL = "manual"  # `syncsvc sync`
    STARTUP = "startup"  # the worker's first run
    SCHEDULE = "schedule"  # the worker's schedule


class RunState(StrEnum):
    """
    The state of a run.
    """

    RUNNING = "running"  # in progress, or its process died and no run has started since
    SUCCEEDED = "succeeded"  # published everything that it found
    WITHHELD = "withheld"  # published, except cancellations that need a decision
    FAILED = "failed"  # published nothing; `error` has the reason
    CRASHED = "crashed"  # its process died, as the next run found


class Lane(StrEnum):
    """
    In which lane of a fleet an account's next run is.
    """

    FAST = "fast"  # with most accounts
    SLOW = "slow"  # among those whose runs take long or wait for the provider


PUBLISHED = (RunState.SUCCEEDED, RunState.WITHHELD)  # the run changed the tables
BROKEN = (RunState.FAILED, RunState.CRASHED)  # it ended without
