"""
One run, from the lock to the summary. Nothing else does a run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError
from structlog.contextvars import bound_contextvars

from syncsvc import db, merge, migrate, plan, runs
from syncsvc.errors import SyncError
from syncsvc.fetchers import Fetchers
from syncsvc.stage import Stage, count, staged_rejects
from syncsvc.vocabulary import RunState, Trigger
from syncsvc.walk import Proof, Walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from sqlalchemy import Connection, Engine

    from syncsvc.provider import NumberApi
    from syncsvc.runs import Run

log = structlog.get_logger(__name__)

WALKS_AT_MOST = 3
CONFLICTS_NAMED = 10


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
    with db.translated(), job.engine.connect() as connection:
        migrate.require_current(connection)
        connection.rollback()
        with db.only_run(connection, job.account):
            _begin(job, connection, progress)
            try:
                with bound_contextvars(**_run_context(job, progress)):
                    return _run(job, connection, progress)
            except BaseException as exc:
                _record_failure(job, connection, progress, exc)
                if not isinstance(exc, Exception):
                    raise
                return progress.summary(job, RunState.FAILED, error=failure_text(exc))


def _run(job: Job, connection: Connection, progress: Progress) -> Summary:
    """
    Read the listing, then publish what it changes.
    """
    log.info("sync.started", dry_run=job.dry_run, trigger=str(job.trigger))
    stage = Stage(connection)
    proof = _read_listing(job, stage, progress)
    stage.settle(complete=proof.complete)
    found = _publish(job, connection, progress, proof)
    state = "planned" if job.dry_run else str(RunState.SUCCEEDED)
    summary = progress.summary(job, state, **found)
    if summary.rejected:
        log.warning("sync.rows_rejected", count=summary.rejected, see="sync_rejects")
    log.info("sync.finished", **msgspec.structs.asdict(summary))
    return summary


def _read_listing(job: Job, stage: Stage, progress: Progress) -> Proof:
    """
    Walk until one walk proves that it saw the whole listing, 3 times at most.
    """
    with Fetchers(job.concurrency) as fetchers:
        while True:
            walk = Walk(job.api.page, fetchers, progress.seconds_left)
            proof = _walk_once(job, stage, progress, walk)
            if proof.complete or progress.walks == WALKS_AT_MOST:
                return proof
            log.warning("sync.walk_incomplete", walk=progress.walks, rows=walk.rows)


def _walk_once(job: Job, stage: Stage, progress: Progress, walk: Walk) -> Proof:
    stage.begin_walk()
    progress.walks += 1
    for page in walk:
        stage.add(page, walk.pages)
        progress.pages += 1
        progress.num_results = walk.num_results
        job.on_page(walk.pages, walk.rows, walk.num_results)
    progress.num_results = walk.num_results  # of a listing without rows, too
    return walk.prove(stage.distinct_rows())


def _publish(job: Job, connection: Connection, progress: Progress, proof: Proof) -> dict[str, int]:
    """
    Work out what is different and write it, in one transaction.
    """
    with db.publishing(connection, progress.seconds_left) as transaction:
        run = progress.run or runs.begin(connection, job.account, job.trigger)
        plan.create_plan(connection)
        plan.plan_addresses(connection, run)
        plan.plan_listed(connection, run)
        if proof.complete and _nothing_nameless(connection):
            plan.plan_absent(connection, run)
        found = merge.publish(connection, run)
        detail = _detail(connection, proof)
        runs.finish(connection, run, _counts(progress, found), detail)
        job.on_found(connection, run.id)
        if job.dry_run:
            transaction.rollback()
        return found


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


def _nothing_nameless(connection: Connection) -> bool:
    """
    Whether every reject's number is known, so that none of them looks absent.
    """
    return count(connection, staged_rejects, staged_rejects.c.uuid.is_(None)) == 0


def _counts(progress: Progress, found: dict[str, int]) -> dict[str, int | None]:
    return {
        "walks": progress.walks,
        "pages": progress.pages,
        "num_results": progress.num_results,
        "withheld": 0,
        **found,
    }


def _detail(connection: Connection, proof: Proof) -> dict[str, Any]:
    """
    More about a run, for people; what is odd is logged too.
    """
    conflicts = plan.address_conflicts(connection)
    if conflicts:
        log.warning(
            "sync.address_conflicts", count=len(conflicts), first=conflicts[:CONFLICTS_NAMED]
        )
    return {
        **runs.place(),
        "complete": proof.complete,
        "address_conflicts": len(conflicts),
    }


def _record_failure(
    job: Job, connection: Connection, progress: Progress, exc: BaseException
) -> None:
    """
    Note in the log and on record why a run failed; the tables stay as they were.
    """
    known = isinstance(exc, SyncError | SQLAlchemyError) or not isinstance(exc, Exception)
    context = _run_context(job, progress)
    log.error("sync.failed", **context, error=failure_text(exc), exc_info=None if known else exc)
    run = progress.run
    if run is None:
        return
    try:
        connection.rollback()  # it still holds the lock, until the failure is on record
        with job.engine.begin() as fresh:
            runs.fail(fresh, run, _counts(progress, {}), failure_text(exc))
    except SQLAlchemyError as again:
        log.error("sync.failure_not_recorded", **context, error=str(db.translation(again)))  # noqa: TRY400 - it is no bug


def failure_text(exc: BaseException) -> str:
    """
    A failure in one line, without values and secrets.
    """
    match exc:
        case SyncError():
            return str(exc)
        case SQLAlchemyError():
            return str(db.translation(exc))
        case Exception():
            return f"Unexpected {type(exc).__name__}; the log has its traceback."
        case _:
            return "Interrupted."
