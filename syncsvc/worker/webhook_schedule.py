"""
Deliver webhooks beside the runs of a worker, of one account or of a fleet.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from syncsvc import clock
from syncsvc.database import transactions
from syncsvc.errors import SyncError
from syncsvc.notify import endpoint_standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sqlalchemy import Engine

    from syncsvc.metrics import NotifyMetrics
    from syncsvc.notify.delivery_threads import Deliveries

LOOK_EVERY = timedelta(seconds=30)  # for what others left, and for new endpoints
SHORTEST_PAUSE = timedelta(seconds=1)  # between two looks
JOB = "deliver"


class WebhookScheduler:
    """
    Looks for events after each run, when one is to be sent again, and now and then.

    Args:
        engine: Returns the database in use.
    """

    def __init__(
        self, deliveries: Deliveries, engine: Callable[[], Engine], metrics: NotifyMetrics
    ) -> None:
        self._deliveries = deliveries
        self._engine = engine
        self._metrics = metrics
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._looked_at: datetime = clock.now() - SHORTEST_PAUSE

    @contextmanager
    def running(self) -> Iterator[None]:
        """
        Deliver what is due, and renew the metrics of endpoints, until the context ends.
        """
        for job, function in ((JOB, self._look), ("metrics", self._renew_metrics)):
            self._scheduler.add_job(
                function,
                "interval",
                seconds=LOOK_EVERY.total_seconds(),
                id=job,
                next_run_time=clock.now(),
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
            )
        self._scheduler.start()
        try:
            yield
        finally:
            self._deliveries.stop()
            self._scheduler.shutdown(wait=False)

    def wake(self) -> None:
        """
        Look for events soon: a run has ended.
        """
        self._look_in(timedelta())

    def _look(self) -> None:
        self._looked_at = clock.now()
        wait = self._deliveries.start_due()
        if wait is not None and wait < LOOK_EVERY:
            self._look_in(wait)

    def _look_in(self, wait: timedelta) -> None:
        moment = max(clock.now() + wait, self._looked_at + SHORTEST_PAUSE)
        with suppress(JobLookupError):  # of a scheduler that has ended
            self._scheduler.modify_job(JOB, next_run_time=moment)

    def _renew_metrics(self) -> None:
        """
        Read how the endpoints stand; without the database the gauges stay as they are.
        """
        with suppress(SyncError), transactions.short_read(self._engine()) as connection:
            self._metrics.stand(endpoint_standing.states(connection))
