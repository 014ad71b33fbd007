"""
One run, from the lock to the summary. Nothing else does a run.
"""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError
from structlog.contextvars import bound_contextvars

from syncsvc import clock
from syncsvc.database import locks, runs, transactions
from syncsvc.database.maintenance import migrate, monthly_view
from syncsvc.notify import endpoint_rows
from syncsvc.provider.confirm_absence import search_numbers
from syncsvc.provider.thread_pool import ThreadPool
from syncsvc.reconcile import cancellation_evidence, plan, temp_tables
from syncsvc.reconcile.publishing import publish, run_counts
from syncsvc.reconcile.publishing.find_volatile_field import find_volatile_field
from syncsvc.reconcile.staging.stage_listing import Stage
from syncsvc.reconcile.unchanged import fingerprint_store, page_store
from syncsvc.reconcile.withhold_cancellations import Scope
from syncsvc.sync.next_due import Ending, Standing
from syncsvc.sync.progress_and_summary import Progress
from syncsvc.sync.read_listings import read_listings
from syncsvc.sync.record_failure import failure_text, record_failure
from syncsvc.sync.run_context import RunContext
from syncsvc.vocabulary import PUBLISHED, RunState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from syncsvc.database.runs import Run
    from syncsvc.payloads.records import Number, Reject
    from syncsvc.provider.confirm_absence import SearchOutcome, SearchRequest
    from syncsvc.provider.walk import Proof
    from syncsvc.reconcile.cancellation_evidence import Verdict
    from syncsvc.sync.progress_and_summary import Summary
    from syncsvc.sync.run_inputs import Job

log = structlog.get_logger(__name__)

CONFLICTS_NAMED = 10
DECODING_THREADS = 1  # decodes a response while the others wait for theirs


def run_once(job: Job) -> Summary:
    """
    Make the tables agree with the provider, or leave them unchanged.

    Pages are staged outside the real tables, which change in a single
    transaction, after the last page. A run that fails is recorded, and its
    summary has the state `failed`.

    Raises:
        RunInProgress: Another run of the account holds the lock.
        SchemaNotCurrent: The database needs `syncsvc migrate`.
        DatabaseUnavailable: The run could not even be recorded.
    """
    progress = Progress.start(job.deadline)
    job.on_begin(progress)
    with transactions.translated(), job.engine.connect() as connection:
        run = RunContext(job, connection, progress)
        migrate.require_current(connection)
        connection.rollback()
        with locks.run_lock(connection, job.account):
            _begin(run)
            summary = _run_or_record_failure(run)
    if progress.has_months and summary.state in PUBLISHED:
        _refresh_monthly_view(run)
    return summary


def _begin(run: RunContext) -> None:
    """
    Record the run, and mark those that crashed before it.
    """
    connection, progress = run.connection, run.progress
    with connection.begin():
        temp_tables.empty_tables(connection)
        progress.ahead_of_database = transactions.clock_ahead(connection) or timedelta()
        if run.job.dry_run:
            return
        progress.has_months = run.job.refresh_months and monthly_view.exists(connection)
        crashed = runs.mark_crashed(connection, run.account)
        if crashed:
            endpoint_rows.wake(connection, run.account, max(crashed))
        progress.record = _record_begin(run)
    if crashed:
        log.warning("sync.crashed_run_found", account=run.account, runs=len(crashed))


def _record_begin(run: RunContext) -> Run:
    return runs.begin(run.connection, run.account, run.job.trigger, run.job.host)


def _run_or_record_failure(run: RunContext) -> Summary:
    try:
        with bound_contextvars(**run.log_context()):
            return _run(run)
    except BaseException as exc:
        summary = record_failure(run, exc)
        if not isinstance(exc, Exception) and summary.state not in PUBLISHED:
            raise
        return summary


def _run(run: RunContext) -> Summary:
    """
    Read the listings, decide on cancellations, then publish what changes.
    """
    log.info("sync.started", dry_run=run.job.dry_run, trigger=str(run.job.trigger))
    known = fingerprint_store.load(run.connection, run.account)
    with closing(Stage(run.connection, run.account, known)) as stage:
        with ThreadPool(_threads(run.job.api.concurrency)) as pool:
            proof, cancelled = read_listings(run, stage, pool)
            _compare_clocks(run)
            verdict = _judge_cancellations(run, stage, proof, pool)
        detail = {"complete": proof.complete, "cancelled_listing": cancelled}
        found = _publish(run, stage, verdict, detail)
    summary = run.summary(_state(run.job, verdict), **found)
    _log_result(summary, verdict)
    return summary


def _compare_clocks(run: RunContext) -> None:
    """
    Log if this machine's clock, which dates the run, is not that of the provider or the server.
    """
    others = {
        "the provider": run.job.api.clock_ahead,
        "the database server": run.progress.ahead_of_database,
    }
    for name, ahead in others.items():
        if ahead is not None and abs(ahead) > clock.TOLERANCE:
            seconds = round(ahead.total_seconds())
            log.warning("sync.clock_differs", other=name, seconds_ahead=seconds)


def _threads(concurrency: int) -> int:
    """
    Return one thread more than requests in flight, which the throttle limits.
    """
    return concurrency + DECODING_THREADS if concurrency > 1 else 1


def _judge_cancellations(run: RunContext, stage: Stage, proof: Proof, pool: ThreadPool) -> Verdict:
    """
    Decide which of the doubtful numbers are cancelled.
    """
    scope = Scope(
        account=run.account,
        started_at=run.started_at(),
        complete=proof.complete,
        guard=run.job.guard,
    )

    def search(requests: Sequence[SearchRequest]) -> Mapping[str, Number | Reject | SearchOutcome]:
        return search_numbers(requests, run.job.api, pool, run.progress.seconds_left)

    return cancellation_evidence.judge(run.connection, scope, stage, search)


def _publish(
    run: RunContext, stage: Stage, verdict: Verdict, detail: dict[str, Any]
) -> dict[str, int]:
    """
    Plan the difference and write it, in one transaction; return the counts.
    """
    job, connection = run.job, run.connection
    with transactions.publishing(connection, run.progress.seconds_left) as transaction:
        record = run.progress.record or _record_begin(run)
        found = _publish_difference(connection, record, stage, verdict)
        conflicts = _address_conflicts(connection, stage)
        detail |= {**msgspec.structs.asdict(verdict), "address_conflicts": conflicts}
        if detail["complete"] and not conflicts:
            _store_pages(connection, record, stage, found)
        counts = {**run.progress.reading(), **found}
        endpoint_rows.wake_if_changed(connection, record, counts)
        runs.finish(connection, record, counts, detail, _status(run, stage))
        runs.forget_rejects(connection, record, older_than=job.keep_rejects)
        job.on_found(connection, record.id)
        if job.dry_run:
            transaction.rollback()
        return found


def _status(run: RunContext, stage: Stage) -> dict[str, Any]:
    """
    Return the account's next run; and its numbers, if this run has seen all of them unchanged.
    """
    status = run.status_after(Standing(), Ending.PUBLISHED)
    if stage.is_unchanged:
        known = stage.known
        status |= {"live_numbers": known.total, "cancelled_numbers": known.cancelled}
    return status


def _publish_difference(
    connection: Connection, record: Run, stage: Stage, verdict: Verdict
) -> dict[str, int]:
    if stage.is_unchanged:
        found = run_counts.counts_without_changes(stage.unchanged.rows)
    else:
        found = _publish_staged(connection, record, stage)
    publish.publish_withheld(connection, record, verdict.withheld)
    return {**found, "withheld": verdict.withheld}


def _publish_staged(connection: Connection, record: Run, stage: Stage) -> dict[str, int]:
    """
    Publish what the staged rows change, if they change anything.
    """
    seen = fingerprint_store.find(connection, record.account, stage.known)
    plan.plan_changes(connection, record)
    found, planned = run_counts.count_plan(connection, stage.unchanged.rows)
    if not stage.different and not run_counts.has_changes(found):
        return found
    if stage.unchanged.is_remembered:  # few rows are planned; what follows looks each of them up
        temp_tables.analyze(connection, temp_tables.planned_numbers.c.uuid)
    if planned.known:
        seen = fingerprint_store.leave_out_planned(connection, record.account, seen)
    publish.publish_plan(connection, record, planned)
    fingerprint_store.save(connection, record, seen, stage.unchanged.fingerprints)
    _warn_of_volatile_field(connection, found)
    return found


def _warn_of_volatile_field(connection: Connection, found: Mapping[str, int]) -> None:
    volatile = find_volatile_field(connection, found)
    if volatile:
        log.warning(
            "sync.volatile_field",
            field=volatile.name,
            count=volatile.numbers,
            to_ignore=f"SYNCSVC_IGNORED_FIELDS={volatile.name}",
        )


def _store_pages(
    connection: Connection, record: Run, stage: Stage, found: Mapping[str, int]
) -> None:
    """
    Store the pages of a complete listing, if the tables now agree with all of their rows.
    """
    noted = stage.unchanged.noted
    is_news = stage.different or run_counts.has_changes(found)
    if noted and (is_news or noted.rows == len(stage.known)):
        page_store.save(connection, record.account, noted)


def _address_conflicts(connection: Connection, stage: Stage) -> int:
    """
    Count and log the addresses that one listing showed with two contents.
    """
    conflicts = [] if stage.is_unchanged else plan.address_conflicts(connection)
    if conflicts:
        log.warning(
            "sync.address_conflicts", count=len(conflicts), first=conflicts[:CONFLICTS_NAMED]
        )
    return len(conflicts)


def _state(job: Job, verdict: Verdict) -> str:
    if job.dry_run:
        return "planned"
    return str(RunState.WITHHELD if verdict.withheld else RunState.SUCCEEDED)


def _log_result(summary: Summary, verdict: Verdict) -> None:
    if summary.rejected:
        log.warning("sync.rows_rejected", count=summary.rejected, see="sync_rejects")
    if verdict.withheld:
        log.warning(
            "sync.cancellations_withheld",
            count=verdict.withheld,
            first=verdict.first_withheld,
            see="withheld_cancellations",
            to_list="syncsvc report withheld",
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


def _refresh_monthly_view(run: RunContext) -> None:
    """
    Refresh the materialised view. The run has published, even if this fails.
    """
    try:
        monthly_view.refresh(run.job.engine, run.progress.seconds_left())
    except (DBAPIError, KeyboardInterrupt) as exc:
        context = run.log_context()
        log.warning(
            "sync.monthly_view_not_refreshed",
            **context,
            error=failure_text(exc),
            to_do=f"{monthly_view.REFRESH}; as its owner, or with MAINTAIN on it (PostgreSQL 17)",
        )
