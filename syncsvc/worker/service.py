"""
Assemble the worker: loop, HTTP endpoints, status page and systemd notifier.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from syncsvc.metrics import Metrics
from syncsvc.notify.delivery_threads import Deliveries
from syncsvc.worker import web
from syncsvc.worker.loop import Worker
from syncsvc.worker.scheduled_run import ScheduledRuns
from syncsvc.worker.status_page import StatusPage, WorkerState
from syncsvc.worker.systemd import Notifier
from syncsvc.worker.webhook_schedule import WebhookScheduler

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncsvc.settings.settings import Settings


def run_worker(read_settings: Callable[[], Settings]) -> bool:
    """
    Sync one account on schedule until a signal.

    Returns:
        Whether a second signal interrupted a run.

    Raises:
        SchemaNotCurrent: The schema is not the current one.
        ConfigurationError: A setting can't be used.
    """
    settings = read_settings()
    notifier = Notifier(os.environ)
    metrics = Metrics(settings.account)
    metrics.add_process()
    scheduled_runs = ScheduledRuns(
        settings, metrics, read_settings=read_settings, on_ready=notifier.ready
    )
    deliveries = Deliveries(
        scheduled_runs.engine, lambda: scheduled_runs.settings, metrics.notify, settings.account
    )
    webhooks = WebhookScheduler(deliveries, scheduled_runs.engine, metrics.notify)
    scheduled_runs.on_end = webhooks.wake
    worker = Worker(scheduled_runs, notifier, metrics)
    pages = web.Pages(
        is_progressing=worker.is_progressing,
        readiness=scheduled_runs.readiness,
        registry=metrics.registry,
        status=StatusPage(scheduled_runs.engine, lambda: _worker_state(scheduled_runs, worker)),
        hosts=web.own_names(settings.http_host),
    )
    endpoints = web.serving(pages, settings.http_host, settings.http_port)
    with (
        endpoints if settings.http_port else nullcontext(),
        webhooks.running(),
    ):
        worker.run()
    return worker.interrupted


def _worker_state(scheduled_runs: ScheduledRuns, worker: Worker) -> WorkerState:
    return WorkerState(
        account=scheduled_runs.settings.account,
        role=scheduled_runs.role,
        last_result=scheduled_runs.last_result,
        is_failing=scheduled_runs.is_failing,
        interval=worker.interval,
        next_run=worker.next_run,
        is_progressing=worker.is_progressing(),
    )
