"""
One run, from the lock to the summary. Nothing else does a run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError
from structlog.contextvars import bound_contextvars

from syncsvc.database import locks, migrate, monthly_view, runs, transactions
from syncsvc.errors import SyncError
from syncsvc.provider.confirm_absence import look_for
from syncsvc.provider.thread_pool import Fetchers
from syncsvc.reconcile import cancellation_evidence, fingerprint_store, plan, publish
from syncsvc.reconcile.guard import Scope
from syncsvc.reconcile.staging import Stage
from syncsvc.sync.read_listings import read_cancelled_listing, read_listing
from syncsvc.sync.run_inputs import Job, Progress, Summary
from syncsvc.vocabulary import PUBLISHED, RunState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from syncsvc.database.runs import Run
    from syncsvc.payloads.records import Number, Reject
    from syncsvc.provider.confirm_absence import Inquiry, Outcome
    from syncsvc.provider.walk import Proof
    from syncsvc.reconcile.cancellation_evidence import Verdict

log = structlog.get_logger(__name__)

CONFLICTS_NAMED = 10
READING = 1  # thread that reads an answer while the others wait for theirs


def run_once(job: Job) -> Summary:
    """
    Make the tables agree with the provider, or leave them as they were.

    Pages are staged outside the real tables, which change in a single
    transaction, after the last page. A run that fails is recorded and
    summed up as `failed`.

    Raises:
        RunInProgress: Another run of the account holds the lock.
        SchemaNotCurrent: The database needs `syncsvc migrate`.
        DatabaseUnavailable: It could not even be recorded.
    """
    began_at = time.monotonic()
    progress = Progress(began_at=began_at, ends_at=began_at + job.deadline.total_seconds())
    with transactions.translated(), job.engine.connect() as connection:
        migrate.require_current(connection)
        connection.rollback()
        with locks.run_lock(connection, job.account):
            _begin(job, connection, progress)
            summary = _recorded_run(job, connection, progress)
    if summary.state in PUBLISHED:
        _renew_months(job, progress)
    return summary


def _recorded_run(job: Job, connection: Connection, progress: Progress) -> Summary:
    """
    The run itself; why one failed is on record.
    """
    try:
        with bound_contextvars(**_run_context(job, progress)):
            return _run(job, connection, progress)
    except BaseException as exc:
        published = _record_failure(job, connection, progress, exc)
        if not isinstance(exc, Exception):
            raise
        return published or progress.summary(job, RunState.FAILED, error=failure_text(exc))


def _run(job: Job, connection: Connection, progress: Progress) -> Summary:
    """
    Read the listings, judge what is missing, then publish what changes.
    """
    log.info("sync.started", dry_run=job.dry_run, trigger=str(job.trigger))
    stage = Stage(connection, fingerprint_store.load(connection, job.account))
    with Fetchers(_threads(job)) as fetchers:
        proof = read_listing(job, stage, progress, fetchers)
        cancelled = read_cancelled_listing(job, stage, progress, fetchers)
        verdict = _judge_missing(job, connection, stage, progress, proof, fetchers)
    detail = {"complete": proof.complete, "cancelled_listing": cancelled, **_judged(verdict)}
    found = _publish(job, connection, progress, stage, verdict, detail)
    summary = progress.summary(job, _state(job, verdict), withheld=verdict.withheld, **found)
    _tell(summary, verdict)
    return summary


def _judge_missing(
    job: Job,
    connection: Connection,
    stage: Stage,
    progress: Progress,
    proof: Proof,
    fetchers: Fetchers,
) -> Verdict:
    """
    Decide which of the doubtful numbers are cancelled.
    """
    with connection.begin():  # a dry run is not on record, and starts now
        now = runs.next_start(connection, job.account)
    scope = Scope(
        account=job.account,
        started_at=progress.run.started_at if progress.run else now,
        complete=proof.complete,
        guard=job.guard,
    )

    def search(inquiries: Sequence[Inquiry]) -> Mapping[str, Number | Reject | Outcome]:
        return look_for(inquiries, job.api, fetchers, progress.seconds_left)

    return cancellation_evidence.judge(connection, scope, stage, search)


def _publish(
    job: Job,
    connection: Connection,
    progress: Progress,
    stage: Stage,
    verdict: Verdict,
    detail: dict[str, Any],
) -> dict[str, int]:
    """
    Work out what is different and write it, in one transaction.
    """
    with transactions.publishing(connection, progress.seconds_left) as transaction:
        run = progress.run or runs.begin(connection, job.account, job.trigger)
        if _repeats(connection, run, stage, verdict):
            found = publish.found_as_it_was(connection)
        else:
            stale = fingerprint_store.changed_since_load(connection, run.account, stage.known)
            plan.plan_all(connection, run)
            found = publish.publish(connection, run)
            fingerprint_store.save(connection, run, forget=stale)
        publish.publish_withheld(connection, run, verdict.withheld)
        counts = _counts(progress, {**found, "withheld": verdict.withheld})
        runs.finish(connection, run, counts, {**detail, **_conflicts(connection)})
        runs.forget_rejects(connection, run, older_than=job.keep_rejects)
        job.on_found(connection, run.id)
        if job.dry_run:
            transaction.rollback()
        return found


def _repeats(connection: Connection, run: Run, stage: Stage, verdict: Verdict) -> bool:
    """
    Whether all is as it was, so that there is nothing to plan.
    """
    same_numbers = stage.repeats and not verdict.missing
    return same_numbers and not plan.addresses_differ(connection, run.account)


def _threads(job: Job) -> int:
    """
    More than there are requests in flight, which the pace of the provider sees to.
    """
    return job.concurrency + READING if job.concurrency > 1 else 1


def _renew_months(job: Job, progress: Progress) -> None:
    """
    Renew the months, where they are kept: the run has published, whatever comes of that.
    """
    try:
        monthly_view.renew(job.engine, progress.seconds_left())
    except (DBAPIError, KeyboardInterrupt) as exc:
        context = _run_context(job, progress)
        log.warning(
            "sync.months_not_renewed",
            **context,
            error=failure_text(exc),
            to_do=f"{monthly_view.RENEW}; as its owner, or granted MAINTAIN on it (PostgreSQL 17)",
        )


def _state(job: Job, verdict: Verdict) -> str:
    if job.dry_run:
        return "planned"
    return str(RunState.WITHHELD if verdict.withheld else RunState.SUCCEEDED)


def _judged(verdict: Verdict) -> dict[str, Any]:
    """
    The verdict as the run's detail keeps it.
    """
    return msgspec.structs.asdict(verdict)


def _tell(summary: Summary, verdict: Verdict) -> None:
    """
    Log what needs a look, and the summary.
    """
    if summary.rejected:
        log.warning("sync.rows_rejected", count=summary.rejected, see="sync_rejects")
    if verdict.withheld:
        log.warning(
            "sync.cancellations_withheld",
            count=verdict.withheld,
            first=verdict.first_withheld,
            see="withheld_cancellations",
            to_look="syncsvc sync --dry-run --allow-mass-cancel",
            to_accept="syncsvc sync --allow-mass-cancel",
        )
    if verdict.early_stamps:
        log.warning(
            "sync.early_cancelled_stamps",
            count=verdict.early_stamps,
            first=verdict.first_early_stamps,
        )
    log.info("sync.finished", **msgspec.structs.asdict(summary))


def _begin(job: Job, connection: Connection, progress: Progress) -> None:
    """
    Put the run on record, and those that died before it.
    """
    if job.dry_run:
        return
    with connection.begin():
        crashed = runs.mark_crashed(connection, job.account)
        progress.run = runs.begin(connection, job.account, job.trigger)
    if crashed:
        log.warning("sync.crashed_run_found", account=job.account, runs=crashed)


def _run_context(job: Job, progress: Progress) -> dict[str, Any]:
    return {"account": job.account, "run_id": progress.run.id if progress.run else None}


def _counts(progress: Progress, found: dict[str, int]) -> dict[str, int | None]:
    return {
        "walks": progress.walks,
        "pages": progress.pages,
        "num_results": progress.num_results,
        "withheld": 0,
        **found,
    }


def _conflicts(connection: Connection) -> dict[str, int]:
    """
    How many addresses one listing showed with two contents; they are logged too.
    """
    conflicts = plan.address_conflicts(connection)
    if conflicts:
        log.warning(
            "sync.address_conflicts", count=len(conflicts), first=conflicts[:CONFLICTS_NAMED]
        )
    return {"address_conflicts": len(conflicts)}


def _record_failure(
    job: Job, connection: Connection, progress: Progress, exc: BaseException
) -> Summary | None:
    """
    Note in the log and on record why a run failed; the tables stay as they were.

    Returns:
        The summary of a run that has published after all: its transaction took
        effect, and the answer to that was lost.
    """
    known = isinstance(exc, SyncError | DBAPIError) or not isinstance(exc, Exception)
    failed = progress.summary(job, RunState.FAILED, error=failure_text(exc))
    log.error("sync.failed", **msgspec.structs.asdict(failed), exc_info=None if known else exc)
    run = progress.run
    if run is None:
        return None
    try:
        transactions.abandon(connection)  # it still holds the lock, until the failure is on record
        with job.engine.begin() as fresh:
            runs.fail(fresh, run, _counts(progress, {}), failure_text(exc))
            row = runs.published(fresh, run)
    except DBAPIError as again:
        context = _run_context(job, progress)
        error = str(transactions.translation(again))
        log.error("sync.failure_not_recorded", **context, error=error)  # noqa: TRY400 - it is no bug
        return None
    return _published_after_all(job, progress, row) if row else None


def _published_after_all(job: Job, progress: Progress, row: Mapping[str, Any]) -> Summary:
    """
    Sum a run up by its row in `sync_runs`.
    """
    told = progress.summary(job, row["state"])
    found = {name: row[name] for name in msgspec.structs.asdict(told) if name in row}
    summary = msgspec.structs.replace(told, **found)
    log.warning("sync.published_after_all", **msgspec.structs.asdict(summary))
    return summary


def failure_text(exc: BaseException) -> str:
    """
    A failure in one line, without values and secrets.
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
