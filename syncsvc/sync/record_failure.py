"""
Record why a run failed, and find out if it has published all the same.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError

from syncsvc.database import runs, transactions
from syncsvc.errors import DeadlineExceeded, ProviderRefused, ProviderUnavailable, SyncError
from syncsvc.notify import endpoint_rows
from syncsvc.sync.next_due import Ending, Standing
from syncsvc.vocabulary import RunState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from syncsvc.database.runs import Run
    from syncsvc.sync.progress_and_summary import Summary
    from syncsvc.sync.run_context import RunContext

log = structlog.get_logger(__name__)


def record_failure(run: RunContext, exc: BaseException) -> Summary:
    """
    Log and record a failure; the tables stay unchanged.

    Returns:
        The summary of a failed run, or of one that has published after all: if
        its commit succeeded and only the reply was lost.
    """
    failed = run.summary(RunState.FAILED, error=failure_text(exc))
    expected = isinstance(exc, SyncError | DBAPIError) or not isinstance(exc, Exception)
    log.error("sync.failed", **msgspec.structs.asdict(failed), exc_info=None if expected else exc)
    record = run.progress.record
    row = _close_record(run, record, exc) if record else None
    return _summary_of_record(run, row) if row else failed


def _close_record(run: RunContext, record: Run, exc: BaseException) -> Mapping[str, Any] | None:
    """
    Mark the run as failed; return its row if it has published.
    """
    error = failure_text(exc)
    try:
        transactions.abandon(run.connection)  # it keeps the lock until the failure is on record
        with run.job.engine.begin() as fresh:
            counts = {**run.progress.reading(), "withheld": 0}
            runs.fail(fresh, record, counts, error, _status(run, fresh, ending(exc), error))
            endpoint_rows.wake(fresh, record.account, record.id)
            return runs.published(fresh, record)
    except DBAPIError as again:
        context = run.log_context()
        error = str(transactions.translation(again))
        log.error("sync.failure_not_recorded", **context, error=error)  # noqa: TRY400 - it is no bug
        return None


def _status(run: RunContext, fresh: Connection, how: Ending, error: str) -> dict[str, Any]:
    """
    Return when the account runs next, by the database's clock.
    """
    run.progress.ahead_of_database = transactions.clock_ahead(fresh) or timedelta()
    return run.status_after(Standing(**runs.standing(fresh, run.account)), how, error)


def _summary_of_record(run: RunContext, row: Mapping[str, Any]) -> Summary:
    bare = run.summary(row["state"])
    found = {name: row[name] for name in msgspec.structs.asdict(bare) if name in row}
    summary = msgspec.structs.replace(bare, **found)
    log.warning("sync.commit_reply_lost", **msgspec.structs.asdict(summary))
    return summary


def ending(exc: BaseException) -> Ending:
    """
    Return how a run ended that published nothing.
    """
    match exc:
        case DeadlineExceeded():
            return Ending.OUT_OF_TIME
        case ProviderUnavailable():
            return Ending.UNAVAILABLE
        case ProviderRefused():
            return Ending.REFUSED
        case _:
            return Ending.FAILED


def failure_text(exc: BaseException) -> str:
    """
    Describe a failure in one line, without values and secrets.
    """
    match exc:
        case SyncError():
            return str(exc)
        case DBAPIError():
            return str(transactions.translation(exc))
        case Exception():
            return f"Unexpected {type(exc).__name__}; the log has its traceback."
        case _:
            return "Interrupted."
