"""
Assemble a worker of a fleet: hand-out, runs, metrics, status pages and systemd notifier.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from syncsvc.fleet.metrics import FleetMetrics
from syncsvc.fleet.overview import CachedOverview
from syncsvc.fleet.status_page import FleetPages
from syncsvc.fleet.worker import FleetWorker
from syncsvc.worker import web
from syncsvc.worker.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncsvc.settings.settings import Settings

METRICS_AGE = 30.0  # seconds after which the metrics of all accounts are read again


def run_fleet(read_settings: Callable[[], Settings]) -> None:
    """
    Sync all accounts that are due, beside any number of workers, until a signal.

    Raises:
        SchemaNotCurrent: A schema is not the current one.
        ConfigurationError: A setting can't be used, or the database is not PostgreSQL.
    """
    settings = read_settings()
    metrics = FleetMetrics()
    metrics.add_process()
    worker = FleetWorker(settings, read_settings, metrics, Notifier(os.environ))
    metrics.add_accounts(CachedOverview(worker.overview, METRICS_AGE), settings.metrics_accounts)
    metrics.add_worker(worker.running, worker.slots, worker.hosts.down)
    endpoints = web.serving(_pages(worker, metrics), settings.http_host, settings.http_port)
    with endpoints if settings.http_port else nullcontext():
        worker.work()


def _pages(worker: FleetWorker, metrics: FleetMetrics) -> web.Pages:
    pages = FleetPages(worker.engine, worker.overview, worker.slots_in_use, worker.hosts.down)
    return web.Pages(
        is_progressing=worker.is_progressing,
        readiness=worker.readiness,
        registry=metrics.registry,
        status=pages.summary,
        further={"/accounts": pages.accounts, "/accounts/<path:name>": pages.account},
        hosts=web.own_names(worker.settings.http_host),
    )
