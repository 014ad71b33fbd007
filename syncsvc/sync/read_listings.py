"""
Read both of the provider's listings, and stage their rows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from syncsvc.errors import NoSuchListing
from syncsvc.payloads.records import is_live_entry
from syncsvc.provider.walk import Proof, Walk

if TYPE_CHECKING:
    from syncsvc.provider.thread_pool import ThreadPool
    from syncsvc.reconcile.staging.stage_listing import Stage
    from syncsvc.sync.run_context import RunContext

log = structlog.get_logger(__name__)

WALKS_AT_MOST = 3


def read_listing(run: RunContext, stage: Stage, pool: ThreadPool) -> Proof:
    """
    Walk until one walk proves that it saw the whole listing, at most 3 times.
    """
    progress = run.progress
    fetch = partial(run.job.api.page, known=stage.known)
    expected_pages = stage.known.total // run.job.api.page_size + 1
    while True:
        walk = Walk(fetch, pool, progress.seconds_left, expected_pages)
        proof = _walk_once(run, stage, walk)
        if proof.complete or progress.walks == WALKS_AT_MOST:
            stage.keep_latest(complete=proof.complete)
            return proof
        log.warning("sync.walk_incomplete", walk=progress.walks, rows=walk.rows)


def read_cancelled_listing(run: RunContext, stage: Stage, pool: ThreadPool) -> str:
    """
    Walk over the cancelled listing once. An entry that it lacks means nothing.

    Returns:
        What was read, for the run's detail.
    """
    if run.job.cancelled_listing == "off":
        said = "off"
    else:
        walk = Walk(run.job.api.cancelled_page, pool, run.progress.seconds_left)
        live = 0
        try:
            for page in walk:
                stage.add_cancelled(page, walk.pages)
                live += sum(map(is_live_entry, page.rows))
            said = f"{walk.rows} rows on {walk.pages} pages"
            said += f", {live} of them live by their own status and no evidence" if live else ""
        except NoSuchListing as exc:
            if run.job.cancelled_listing == "on":
                raise
            log.info("sync.no_cancelled_listing", error=str(exc))
            said = f"not available: {exc}"
    stage.keep_latest_cancelled()
    return said


def _walk_once(run: RunContext, stage: Stage, walk: Walk) -> Proof:
    progress = run.progress
    stage.begin_walk()
    progress.walks += 1
    for page in walk:
        stage.add(page, walk.pages)
        progress.pages += 1
        progress.num_results = walk.num_results
        run.job.on_page(walk.pages, walk.rows, walk.num_results)
    progress.num_results = walk.num_results  # of a listing without rows, too
    return walk.prove(stage.distinct_rows())
