"""
Read the provider's listings into the stage.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from syncsvc.errors import NoSuchListing
from syncsvc.provider.walk import Proof, Walk
from syncsvc.reconcile.staging import says_it_is_live

if TYPE_CHECKING:
    from syncsvc.provider.thread_pool import Fetchers
    from syncsvc.reconcile.staging import Stage
    from syncsvc.sync.run_inputs import Job, Progress

log = structlog.get_logger(__name__)

WALKS_AT_MOST = 3


def read_listing(job: Job, stage: Stage, progress: Progress, fetchers: Fetchers) -> Proof:
    """
    Walk until one walk proves that it saw the whole listing, 3 times at most.
    """
    fetch = partial(job.api.page, known=stage.known)
    while True:
        walk = Walk(fetch, fetchers, progress.seconds_left)
        proof = _walk_once(job, stage, progress, walk)
        if proof.complete or progress.walks == WALKS_AT_MOST:
            stage.settle(complete=proof.complete)
            return proof
        log.warning("sync.walk_incomplete", walk=progress.walks, rows=walk.rows)


def read_cancelled_listing(job: Job, stage: Stage, progress: Progress, fetchers: Fetchers) -> str:
    """
    Walk over the cancelled listing once; what it does not hold is no news.

    Returns:
        What came of it, for the run's detail.
    """
    if job.cancelled_listing == "off":
        said = "off"
    else:
        walk = Walk(job.api.cancelled_page, fetchers, progress.seconds_left)
        live = 0
        try:
            for page in walk:
                stage.add_cancelled(page, walk.pages)
                live += sum(map(says_it_is_live, page.rows))
            said = f"{walk.rows} rows on {walk.pages} pages"
            said += f", {live} of them live by their own status and no evidence" if live else ""
        except NoSuchListing as exc:
            if job.cancelled_listing == "on":
                raise
            log.info("sync.no_cancelled_listing", error=str(exc))
            said = f"not available: {exc}"
    stage.settle_cancelled()
    return said


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
