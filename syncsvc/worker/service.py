"""
`syncsvc run`, put together: the worker, what it shows, and who is told.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from syncsvc.metrics import Metrics
from syncsvc.worker import web
from syncsvc.worker.loop import Worker
from syncsvc.worker.scheduled_run import Duty
from syncsvc.worker.status_page import Now, StatusPage
from syncsvc.worker.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncsvc.settings.settings import Settings


def work(read_settings: Callable[[], Settings]) -> bool:
    """
    Keep one account true until a signal.

    Returns:
        Whether a second signal cut a run short.

    Raises:
        SchemaNotCurrent: The database needs `syncsvc migrate`.
        ConfigurationError: The settings can't be used.
    """
    settings = read_settings()
    notifier = Notifier(os.environ)
    metrics = Metrics(settings.account)
    duty = Duty(settings, metrics, reread=read_settings, on_ready=notifier.ready)
    worker = Worker(duty, notifier, metrics)
    pages = web.Pages(
        turns=worker.turns,
        readiness=duty.readiness,
        registry=metrics.registry,
        status=StatusPage(duty.engine, lambda: _now(duty, worker)),
    )
    shown = web.served(pages, settings.http_host, settings.http_port)
    with shown if settings.http_port else nullcontext():
        worker.run()
    return worker.cut_short


def _now(duty: Duty, worker: Worker) -> Now:
    return Now(
        account=duty.settings.account,
        role=duty.role,
        says=duty.says,
        next_run=worker.next_run,
        turns=worker.turns(),
    )
