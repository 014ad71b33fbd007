"""
All metrics, for Prometheus or as a file for node_exporter.

Counters count in this process. Gauges are read from the database, so that a
worker that has just started, or is on standby, has them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from syncsvc import __version__
from syncsvc.vocabulary import PUBLISHED, Event, Lifecycle, RunState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

RUN_SECONDS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
REQUEST_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
M = TypeVar("M", Counter, Histogram)
ENDED = (*PUBLISHED, RunState.FAILED)


class EndpointState(msgspec.Struct, frozen=True, kw_only=True):
    """
    The state of an endpoint of webhooks.

    Attributes:
        pending: Events that wait, at least; not those of a paused or disabled one.
        oldest_seconds: How long the one that has waited longest does so; 0 if none waits.
        disabled: It was disabled after failures.
    """

    pending: int
    oldest_seconds: float
    disabled: bool


class NotifyMetrics:
    """
    The metrics of webhooks, among those of a process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        counters = {"delivered": "Events delivered.", "failed": "Attempts that failed."}
        self._delivered, self._failed = (
            Counter(f"syncsvc_notify_{name}", text, ["endpoint"], registry=registry)
            for name, text in counters.items()
        )
        gauges = {
            "pending": "Events that wait to be delivered, at least.",
            "oldest_pending_seconds": "How long the oldest of them has waited.",
            "disabled": "1 if the endpoint was disabled after failures, else 0.",
        }
        self._pending, self._oldest, self._disabled = (
            Gauge(f"syncsvc_notify_{name}", text, ["endpoint"], registry=registry)
            for name, text in gauges.items()
        )

    def attempted(self, endpoint: str, *, delivered: bool) -> None:
        """
        Count an attempt to deliver an event.
        """
        (self._delivered if delivered else self._failed).labels(endpoint).inc()

    def stand(self, endpoints: Mapping[str, EndpointState]) -> None:
        """
        Set the gauges of all endpoints, and forget those of others.
        """
        for gauge in (self._pending, self._oldest, self._disabled):
            gauge.clear()
        for name, state in endpoints.items():
            self._delivered.labels(name)  # begins at 0, so that the first one is an increase
            self._failed.labels(name)
            self._pending.labels(name).set(state.pending)
            self._oldest.labels(name).set(state.oldest_seconds)
            self._disabled.labels(name).set(state.disabled)


class RunMetrics:
    """
    The counters of one process: its runs, and its requests to the provider.

    Args:
        account: The label of the runs; None if the process runs many accounts.

    Attributes:
        notify: Those of webhooks.
    """

    def __init__(self, account: str | None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the number of series
        self.registry = CollectorRegistry()
        self._own = {} if account is None else {"account": account}
        self._runs = self._counter("runs", "Runs that ended, by state.", "state")
        self._rows = self._counter("history_rows", "Rows written to number_history.", "event")
        self._rejected = self._counter("rejected_rows", "Rows that could not be read.")
        self._took = Histogram(
            "syncsvc_run_duration_seconds",
            "Duration of runs.",
            [*self._own],
            buckets=RUN_SECONDS,
            registry=self.registry,
        )
        self._set_up_provider()
        self._begin_at_zero()
        self.notify = NotifyMetrics(self.registry)

    def _set_up_provider(self) -> None:
        self._requests = Counter(
            "syncsvc_provider_requests",
            "Requests to the provider, by HTTP status or by the reason for having no response.",
            ["endpoint", "status"],
            registry=self.registry,
        )
        self._request_took = Histogram(
            "syncsvc_provider_request_duration_seconds",
            "Duration of requests to the provider, to the last byte of the response.",
            ["endpoint"],
            buckets=REQUEST_SECONDS,
            registry=self.registry,
        )
        self._retries = Counter(
            "syncsvc_provider_retries",
            "Retries of requests, by reason.",
            ["endpoint", "reason"],
            registry=self.registry,
        )
        build = Gauge(
            "syncsvc_build_info", "Version of syncsvc.", ["version"], registry=self.registry
        )
        build.labels(version=__version__).set(1)

    def _begin_at_zero(self) -> None:
        """
        Start all counters at 0, so that their first event is an increase.
        """
        for state in ENDED:
            self._runs.labels(**self._own, state=state)
        for event in Event:
            self._rows.labels(**self._own, event=event)
        self._of_account(self._rejected)
        self._of_account(self._took)

    def requested(self, endpoint: str, status: str, seconds: float) -> None:
        """
        Record a request to the provider.
        """
        self._requests.labels(endpoint, status).inc()
        self._request_took.labels(endpoint).observe(seconds)

    def retried(self, endpoint: str, reason: str) -> None:
        """
        Record a retry of a request.
        """
        self._retries.labels(endpoint, reason).inc()

    def run_ended(self, state: str, seconds: float, counts: Mapping[str, int]) -> None:
        """
        Record a run that ended, with or without success.

        Args:
            counts: History rows by event, and `rejected`; missing ones are 0.
        """
        self._runs.labels(**self._own, state=state).inc()
        self._of_account(self._took).observe(seconds)
        for event in Event:
            self._rows.labels(**self._own, event=event).inc(counts.get(event, 0))
        self._of_account(self._rejected).inc(counts.get("rejected", 0))

    def add_process(self) -> None:
        """
        Add memory, processor time and open files; node_exporter would refuse a file with them.
        """
        ProcessCollector(registry=self.registry)

    def text(self) -> str:
        """
        Return all metrics in Prometheus' text format.
        """
        return generate_latest(self.registry).decode()

    def _gauge(self, name: str, description: str, *labels: str) -> Gauge:
        return Gauge(f"syncsvc_{name}", description, [*self._own, *labels], registry=self.registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(
            f"syncsvc_{name}", description, [*self._own, *labels], registry=self.registry
        )

    def _of_account(self, metric: M) -> M:
        """
        Return a metric with no label but the account's, if the process has one.
        """
        return metric.labels(**self._own) if self._own else metric


class Metrics(RunMetrics):
    """
    The metrics of one process, for one account.
    """

    def __init__(self, account: str) -> None:
        super().__init__(account)
        self._account = account
        self._set_up_gauges()

    def _set_up_gauges(self) -> None:
        self._last_success = self._gauge(
            "last_success_timestamp_seconds", "End of the last run that published (Unix time)."
        )
        self._numbers = self._gauge("numbers", "Numbers in the inventory.", "lifecycle")
        self._withheld = self._gauge(
            "cancellations_withheld", "Cancellations that the last run withheld."
        )
        self._standby = self._gauge(
            "standby", "1 if another worker is the leader, 0 if this one is."
        )
        self._ready = self._gauge(
            "ready", "1 if the last run or probe found no problem, as /readyz reports, else 0."
        )
        self._next_run = self._gauge(
            "next_run_timestamp_seconds", "Time of the next scheduled run (Unix time)."
        )
        self._interval = self._gauge(
            "schedule_interval_seconds", "The longest time between two scheduled runs."
        )

    def inventory(
        self, *, numbers: Mapping[str, int], withheld: int, last_success: datetime | None
    ) -> None:
        """
        Set the gauges that are read from the tables.

        Args:
            numbers: Counts by lifecycle.
            withheld: Cancellations that the last published run withheld.
            last_success: The end of that run.
        """
        for lifecycle in Lifecycle:
            self._numbers.labels(self._account, lifecycle).set(numbers.get(lifecycle, 0))
        self._withheld.labels(self._account).set(withheld)
        if last_success is not None:
            self._last_success.labels(self._account).set(last_success.timestamp())

    def scheduled(self, next_run: datetime | None, interval: float) -> None:
        """
        Set the time of the next run, and the longest time between two in seconds.
        """
        self._next_run.labels(self._account).set(next_run.timestamp() if next_run else 0)
        self._interval.labels(self._account).set(interval)

    def ready(self, *, ready: bool) -> None:
        """
        Set whether the worker was ready when that was last looked at.
        """
        self._ready.labels(self._account).set(ready)

    def standing_by(self, *, standby: bool) -> None:
        """
        Set whether another worker is the leader.
        """
        self._standby.labels(self._account).set(standby)
