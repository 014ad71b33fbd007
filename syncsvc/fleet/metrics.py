"""
A fleet worker's metrics: those of its process, and those of all accounts, with bounded series.

Only accounts that need a look have series of their own, and at most so many; how many were left
out is a metric, too.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from syncsvc.accounts.standing import Standing
from syncsvc.errors import SyncError
from syncsvc.metrics import RunMetrics
from syncsvc.vocabulary import Lane, Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from syncsvc.fleet.overview import Overview
    from syncsvc.fleet.running_accounts import RunningAccounts

HOSTS_SHOWN = 20


class FleetMetrics(RunMetrics):
    """
    The metrics of one worker of a fleet.
    """

    def __init__(self) -> None:
        super().__init__(None)

    def add_accounts(self, overview: Callable[[], Overview], at_most: int) -> None:
        """
        Add the metrics of all accounts, read from the database.

        Args:
            overview: Returns how they stand.
            at_most: How many accounts may have series of their own.
        """
        self.registry.register(_Accounts(overview, at_most))

    def add_worker(
        self,
        running: RunningAccounts,
        slots: Mapping[Lane, int],
        down: Callable[[], Mapping[str, bool]],
    ) -> None:
        """
        Add the slots of this worker, and the hosts that it finds to be down.
        """
        self.registry.register(_Worker(running, slots, down))


class _Accounts(Collector):
    def __init__(self, overview: Callable[[], Overview], at_most: int) -> None:
        self._overview = overview
        self._at_most = at_most

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """
        Name nothing beforehand, so that registering asks no database.
        """
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """
        Yield the metrics; none while the database is away.
        """
        try:
            overview = self._overview()
        except SyncError:
            return
        yield from _of_all(overview)
        yield from _of_troubled(overview, self._at_most)


class _Worker(Collector):
    def __init__(
        self,
        running: RunningAccounts,
        slots: Mapping[Lane, int],
        down: Callable[[], Mapping[str, bool]],
    ) -> None:
        self._running = running
        self._slots = slots
        self._down = down

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """
        Yield the metrics.
        """
        slots = _gauge("fleet_slots", "Runs at once in this worker.", "lane", "state")
        for lane, every in self._slots.items():
            used = sum(self._running.by_host(lane).values())
            slots.add_metric([lane.value, "used"], used)
            slots.add_metric([lane.value, "free"], max(every - used, 0))
        yield slots
        hosts = _gauge("host_down", "1 if this worker finds the host to be down, else 0.", "host")
        worst_first = sorted(self._down().items(), key=lambda item: (not item[1], item[0]))
        for host, is_down in worst_first[:HOSTS_SHOWN]:
            hosts.add_metric([host], is_down)
        yield hosts


def _of_all(overview: Overview) -> Iterator[GaugeMetricFamily]:
    counts = overview.counts()
    states = _gauge("accounts", "Accounts of the fleet, by how they stand.", "state")
    for state in Standing:
        states.add_metric([state.value], counts[state.value])
    yield states
    numbers = _gauge("numbers", "Numbers in the inventories of all accounts.", "lifecycle")
    total = Counter[Lifecycle]()
    for each in overview.accounts:
        total[Lifecycle.LIVE] += each.live_numbers
        total[Lifecycle.CANCELLED] += each.cancelled_numbers
    for lifecycle in Lifecycle:
        numbers.add_metric([lifecycle.value], total[lifecycle])
    yield numbers
    lag = "Seconds by which the account that has waited longest is overdue."
    yield _single("fleet_lag_seconds", lag, overview.lag().total_seconds())
    yield _single("fleet_due", "Accounts that wait for their run.", overview.due())
    oldest = overview.oldest_success()
    if oldest is not None:
        end = "End of the last success that is the oldest of all accounts (Unix time)."
        yield _single("oldest_success_timestamp_seconds", end, oldest.timestamp())


def _of_troubled(overview: Overview, at_most: int) -> Iterator[GaugeMetricFamily]:
    troubled = overview.need_a_look()
    late = _gauge("account_late_seconds", "Seconds by which an account is overdue.", "account")
    failures = _gauge("account_failures", "Runs in a row that published nothing.", "account")
    withheld = _gauge("account_withheld", "Cancellations withheld by the last run.", "account")
    for each in troubled[:at_most]:
        late.add_metric([each.account], each.late.total_seconds())
        failures.add_metric([each.account], each.failures)
        withheld.add_metric([each.account], each.withheld)
    yield from (late, failures, withheld)
    left_out = "Accounts that need a look and have no series of their own."
    yield _single("metrics_accounts_left_out", left_out, max(len(troubled) - at_most, 0))


def _gauge(name: str, description: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"syncsvc_{name}", description, labels=labels)


def _single(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"syncsvc_{name}", description, value=value)
