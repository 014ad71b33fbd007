"""
Read both of the provider's listings, and stage their rows.
"""

from __future__ import annotations

from contextlib import closing
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


def read_listings(run: RunContext, stage: Stage, pool: ThreadPool) -> tuple[Proof, str]:
    """
    Read the listing, and then the cancelled one.

    The listing is walked until one walk proves that it saw all of it, at most 3 times. The first
    page of the cancelled listing is requested beside the last pages of each walk, so that a small
    account waits once for both.

    Returns:
        The proof of the last walk, and what was read of the cancelled listing.
    """
    while True:
        with closing(Walk(run.job.api.cancelled_page, pool, run.progress.seconds_left)) as later:
            walk = _listing_walk(run, stage, pool, later)
            proof = _walk_once(run, stage, walk)
            if proof.complete or run.progress.walks == WALKS_AT_MOST:
                stage.keep_latest(complete=proof.complete)
                return proof, _read_cancelled_listing(run, stage, later)
        log.warning("sync.walk_incomplete", walk=run.progress.walks, rows=walk.rows)


def _listing_walk(run: RunContext, stage: Stage, pool: ThreadPool, later: Walk) -> Walk:
    known = stage.known
    return Walk(
        partial(run.job.api.page, known=known),
        pool,
        run.progress.seconds_left,
        known.total // run.job.api.page_size + 1 if known.total else None,
        later.request_first if run.job.cancelled_listing != "off" else lambda: None,
    )


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


def _read_cancelled_listing(run: RunContext, stage: Stage, walk: Walk) -> str:
    """
    Walk over the cancelled listing once. An entry that it lacks means nothing.

    Returns:
        What was read, for the run's detail.
    """
    if run.job.cancelled_listing == "off":
        said = "off"
    else:
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
