"""
The words that the tables use, each with its meaning.
"""

from __future__ import annotations

from enum import StrEnum


class Lifecycle(StrEnum):
    """
    Whether the carrier bills a number to this account.
    """

    LIVE = "live"  # listed, or not yet known to be gone
    CANCELLED = "cancelled"  # known to be gone, on the evidence in its history


class Event(StrEnum):
    """
    What one run found different about one number or address.
    """

    ADDED = "added"  # seen for the first time; a number: not provisioned yet
    PROVISIONED = "provisioned"  # the provider gave a (new) provisioned timestamp
    CANCELLED = "cancelled"  # live before, gone now
    REINSTATED = "reinstated"  # cancelled before, live now
    CHANGED = "changed"  # anything else became different


class Source(StrEnum):
    """
    Whose clock an `occurred_at` comes from.
    """

    PROVIDER = "provider"  # the provider's own timestamp
    OBSERVED = "observed"  # the start of the run that saw it


class Evidence(StrEnum):
    """
    What a history row rests on.
    """

    LISTING = "listing"  # the number's own row in /api/numbers
    CANCELLED_LISTING = "cancelled_listing"  # its row in /api/numbers/cancelled
    ABSENCE = "absence"  # not in a listing that was proved complete


class Trigger(StrEnum):
    """
    Why a run was started.
    """

    MANUAL = "manual"  # by `syncsvc sync`
    STARTUP = "startup"  # the worker's first run
    SCHEDULE = "schedule"  # the worker's clock


class RunState(StrEnum):
    """
    How a run stands.
    """

    RUNNING = "running"  # under way, or its holder died and no run came after
    SUCCEEDED = "succeeded"  # published all that it found
    WITHHELD = "withheld"  # published, but for cancellations that need a look
    FAILED = "failed"  # published nothing; `error` says why
    CRASHED = "crashed"  # its process died; the next run found it so
