"""
What a run is told, how far it has come, and what it tells in the end.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.reconcile.guard import Guard
from syncsvc.vocabulary import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from syncsvc.database.runs import Run
    from syncsvc.provider.client import NumberApi


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """
    What `sync --json` prints: how a run went, and what it found.

    Attributes:
        run_id: None for a run that was not recorded.
        listed: Distinct numbers read from the listing.
        unchanged: Listed live numbers that are as they were.
        rejected: Rows that could not be read.
        withheld: Cancellations that were not accepted.
        error: Why it failed; None where it did not.
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


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """
    All that a run needs to know.

    Attributes:
        concurrency: Pages in flight.
        deadline: A run that takes longer fails.
        dry_run: Do everything, then take it back.
        cancelled_listing: `on` needs it, `off` leaves it alone, `auto` goes without it
            where the account has none.
        guard: When cancellations that rest on absence are too many to be true.
        keep_rejects: Older rejects are removed.
        on_page: Told of the pages, rows and `num_results` of the walk so far.
        on_found: Told of the run's id when all is written, before the transaction ends.
    """

    engine: Engine
    api: NumberApi
    account: str
    concurrency: int
    deadline: timedelta
    trigger: Trigger = Trigger.MANUAL
    dry_run: bool = False
    cancelled_listing: str = "auto"
    guard: Guard = Guard()
    keep_rejects: timedelta = timedelta(days=90)
    on_page: Callable[[int, int, int | None], None] = lambda *_: None
    on_found: Callable[[Connection, int], None] = lambda *_: None


class Progress(msgspec.Struct, kw_only=True):
    """
    How far a run has come, for the record of one that fails too.
    """

    began_at: float
    ends_at: float
    run: Run | None = None
    walks: int = 0
    pages: int = 0
    num_results: int | None = None

    def seconds_left(self) -> float:
        """
        How long the run may still take.
        """
        return self.ends_at - time.monotonic()

    def summary(self, job: Job, state: str, **found: Any) -> Summary:  # noqa: ANN401 - counts
        """
        What is known of the run, and what was found at its end.
        """
        return Summary(
            run_id=self.run.id if self.run else None,
            account=job.account,
            state=state,
            walks=self.walks,
            pages=self.pages,
            num_results=self.num_results,
            duration_seconds=round(time.monotonic() - self.began_at, 3),
            **found,
        )
