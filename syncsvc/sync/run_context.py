"""
What the steps of one run share: its input, its database session and its progress.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc import clock
from syncsvc.database import runs
from syncsvc.sync.next_due import EndedRun, after_run
from syncsvc.sync.progress_and_summary import Progress, Summary

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from syncsvc.sync.next_due import Ending, Standing
    from syncsvc.sync.run_inputs import Job


class RunContext(msgspec.Struct, frozen=True):
    """
    One run under way.

    Attributes:
        connection: It holds the account's lock.
    """

    job: Job
    connection: Connection
    progress: Progress

    @property
    def account(self) -> str:
        """
        Return the account's name.
        """
        return self.job.account

    def started_at(self) -> datetime:
        """
        Return the run's start; a dry run is not on record, and starts now.
        """
        if self.progress.record:
            return self.progress.record.started_at
        with self.connection.begin():
            return runs.next_start(self.connection, self.account)

    def log_context(self) -> dict[str, Any]:
        """
        Return the fields that all of the run's log records have.
        """
        record = self.progress.record
        return {"account": self.account, "run_id": record.id if record else None}

    def status_after(
        self, before: Standing, ending: Ending, error: str | None = None
    ) -> dict[str, Any]:
        """
        Return the columns of the account's status that say when it runs next.

        Args:
            error: Why the run published nothing.
        """
        seconds = self.progress.seconds_taken()
        run = EndedRun(ending=ending, seconds=seconds, error=error)
        now = clock.now() - self.progress.ahead_of_database
        after = after_run(before, run, self.job.schedule, now)
        return {**msgspec.structs.asdict(after), "last_seconds": seconds}

    def summary(self, state: str, **found: Any) -> Summary:  # noqa: ANN401 - counts
        """
        Sum the run up, with what was found at its end.
        """
        return Summary(
            **self.log_context(),
            state=state,
            duration_seconds=self.progress.seconds_taken(),
            **{**self.progress.reading(), **found},
        )
