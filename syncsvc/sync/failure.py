"""
Record why a run failed, and find out if it has published all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError

from syncsvc.database import runs, transactions
from syncsvc.errors import SyncError
from syncsvc.vocabulary import RunState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncsvc.database.runs import Run
    from syncsvc.sync.run_context import RunContext
    from syncsvc.sync.summary import Summary

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
    row = _close_record(run, record, failure_text(exc)) if record else None
    return _summary_of_record(run, row) if row else failed


def _close_record(run: RunContext, record: Run, error: str) -> Mapping[str, Any] | None:
    """
    Mark the run as failed; return its row if it has published.
    """
    try:
        transactions.abandon(run.connection)  # it keeps the lock until the failure is on record
        with run.job.engine.begin() as fresh:
            counts = {**run.progress.reading(), "withheld": 0}
            runs.fail(fresh, record, counts, error, run.progress.seconds_taken())
            return runs.published(fresh, record)
    except DBAPIError as again:
        context = run.log_context()
        error = str(transactions.translation(again))
        log.error("sync.failure_not_recorded", **context, error=error)  # noqa: TRY400 - it is no bug
        return None


def _summary_of_record(run: RunContext, row: Mapping[str, Any]) -> Summary:
    bare = run.summary(row["state"])
    found = {name: row[name] for name in msgspec.structs.asdict(bare) if name in row}
    summary = msgspec.structs.replace(bare, **found)
    log.warning("sync.commit_reply_lost", **msgspec.structs.asdict(summary))
    return summary


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
