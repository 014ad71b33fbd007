"""
A run's progress, and the summary that it ends with.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import msgspec

if TYPE_CHECKING:
    from syncsvc.database.runs import Run


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """
    What `sync --json` prints: the run's state and its counts.

    Attributes:
        run_id: None for a run that was not recorded.
        listed: Distinct numbers read from the listing.
        unchanged: Listed live numbers without a change.
        rejected: Rows that could not be read.
        withheld: Cancellations that were not accepted.
        error: Why it failed, or None.
    """

    run_id: int | None = None
    account: str
    state: str
    walks: int = 0
    pages: int = 0
    num_results: int | None = None
    listed: int = 0
    added: int = 0
    provisioned: int = 0
    cancelled: int = 0
    reinstated: int = 0
    changed: int = 0
    unchanged: int = 0
    address_changes: int = 0
    rejected: int = 0
    withheld: int = 0
    duration_seconds: float = 0.0
    error: str | None = None


class Progress(msgspec.Struct, kw_only=True):
    """
    How far a run has come.

    Attributes:
        began_at: By the monotonic clock.
        record: The run's row in `sync_runs`; None for a dry run.
        ahead_of_database: By how much this machine's clock is ahead of the database server's, by
            whose clock accounts are due.
        has_months: There is a materialised view to refresh after the run.
    """

    began_at: float
    ends_at: float
    record: Run | None = None
    ahead_of_database: timedelta = timedelta()
    has_months: bool = False
    walks: int = 0
    pages: int = 0
    num_results: int | None = None

    @classmethod
    def start(cls, deadline: timedelta) -> Self:
        """
        Start the clock of a run.
        """
        began_at = time.monotonic()
        return cls(began_at=began_at, ends_at=began_at + deadline.total_seconds())

    def seconds_left(self) -> float:
        """
        Return how long the run may still take.
        """
        return self.ends_at - time.monotonic()

    def seconds_taken(self) -> float:
        """
        Return how long the run has taken so far, to the millisecond.
        """
        return round(time.monotonic() - self.began_at, 3)

    def reading(self) -> dict[str, Any]:
        """
        Return the counts of what was read so far.
        """
        return {"walks": self.walks, "pages": self.pages, "num_results": self.num_results}
