"""
Metrics are right after every outcome.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.build import NEW_YEAR, api_for, number_row
from syncsvc.metrics import Metrics
from syncsvc.sandbox import Fault, Inventory, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.build import Result

CONTRACT = {
    "syncsvc_last_success_timestamp_seconds": {"account"},
    "syncsvc_runs_total": {"account", "state"},
    "syncsvc_run_duration_seconds_count": {"account"},
    "syncsvc_numbers": {"account", "lifecycle"},
    "syncsvc_history_rows_total": {"account", "event"},
    "syncsvc_cancellations_withheld": {"account"},
    "syncsvc_rejected_rows_total": {"account"},
    "syncsvc_provider_requests_total": {"endpoint", "status"},
    "syncsvc_provider_request_duration_seconds_count": {"endpoint"},
    "syncsvc_provider_retries_total": {"endpoint", "reason"},
    "syncsvc_build_info": {"version"},
}


class Noted:
    """
    A meter that keeps what it is told.
    """

    def __init__(self) -> None:
        """
        Know nothing yet.
        """
        self.requests: list[tuple[str, str]] = []
        self.retries: list[tuple[str, str]] = []

    def requested(self, endpoint: str, status: str, seconds: float) -> None:
        """
        Keep a request.
        """
        assert seconds >= 0
        self.requests.append((endpoint, status))

    def retried(self, endpoint: str, reason: str) -> None:
        """
        Keep a retry.
        """
        self.retries.append((endpoint, reason))


def read(metrics: Metrics, tmp_path: Path) -> dict[tuple[str, frozenset[str]], float]:
    """
    Every sample, by its name and the values of its labels.
    """
    (tmp_path / "metrics.prom").write_text(metrics.text())
    text = (tmp_path / "metrics.prom").read_text()
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_has_its_name_and_labels(tmp_path: Path) -> None:
    """
    The names and labels are those that dashboards stand on.
    """
    metrics = Metrics("default")
    metrics.requested("numbers", "200", 0.1)
    metrics.retried("numbers", "timeout")
    metrics.inventory(numbers={}, withheld=0, last_success=NEW_YEAR)
    (tmp_path / "all.prom").write_text(metrics.text())

    families = text_string_to_metric_families((tmp_path / "all.prom").read_text())
    found = {sample.name: set(sample.labels) for family in families for sample in family.samples}

    assert CONTRACT.items() <= found.items()
    assert not [name for name in found if name.endswith("_created")]


def test_what_has_not_happened_is_zero(tmp_path: Path) -> None:
    """
    A counter is there before its first event, so that the first one is an increase.
    """
    found = read(Metrics("default"), tmp_path)

    assert found["syncsvc_runs_total", frozenset({"default", "failed"})] == 0.0
    assert found["syncsvc_history_rows_total", frozenset({"default", "cancelled"})] == 0.0
    assert ("syncsvc_last_success_timestamp_seconds", frozenset({"default"})) not in found


def test_a_run_counts_its_rows(tmp_path: Path) -> None:
    """
    A run's end adds its rows by event, its rejects, its state and its length.
    """
    metrics = Metrics("default")
    metrics.run_ended("withheld", 2.0, {"provisioned": 3, "cancelled": 1, "rejected": 2})
    metrics.run_ended("failed", 1.0, {})

    found = read(metrics, tmp_path)

    account = frozenset({"default"})
    assert found["syncsvc_history_rows_total", account | {"provisioned"}] == 3.0
    assert found["syncsvc_rejected_rows_total", account] == 2.0
    assert found["syncsvc_runs_total", account | {"withheld"}] == 1.0
    assert found["syncsvc_runs_total", account | {"failed"}] == 1.0
    assert found["syncsvc_run_duration_seconds_sum", account] == 3.0


@pytest.mark.parametrize(
    ("fault", "requests", "reasons"),
    [
        (Fault(kind="status", status=503), ["503", "200"], ["503"]),
        (Fault(kind="reset"), ["connection", "200"], ["connection"]),
        (Fault(kind="html", status=200), ["200", "200"], ["not_a_page"]),
    ],
)
def test_each_request_and_retry_is_counted(
    sandbox: Sandbox, fault: Fault, requests: list[str], reasons: list[str]
) -> None:
    """
    A request is counted by how it was answered, a retry by why it was made.
    """
    noted = Noted()
    sandbox.inventory = Inventory([number_row()])
    sandbox.inject(fault)
    with api_for(sandbox, meter=noted) as api:
        api.page(1)

    assert [("numbers", status) for status in requests] == noted.requests
    assert [("numbers", reason) for reason in reasons] == noted.retries


def test_endpoints_are_told_apart(sandbox: Sandbox) -> None:
    """
    The listing, the cancelled listing and a search each have their name.
    """
    noted = Noted()
    with api_for(sandbox, meter=noted) as api:
        api.page(1)
        api.cancelled_page(1)
        api.search_page("123", 1)

    assert noted.requests == [("numbers", "200"), ("cancelled", "200"), ("search", "200")]


@pytest.mark.parametrize(("broken", "state"), [(False, "succeeded"), (True, "failed")])
def test_a_single_run_writes_its_metrics(
    sandbox: Sandbox,
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    broken: bool,
    state: str,
) -> None:
    """
    `sync --metrics-file` leaves what node_exporter picks up, also if the run failed.
    """
    sandbox.inventory = Inventory([number_row()])
    if broken:
        sandbox.inject(Fault(kind="html", times=20))
    monkeypatch.setenv("SYNCSVC_API_URL", sandbox.url)
    monkeypatch.setenv("SYNCSVC_API_TOKEN", sandbox.token)
    monkeypatch.setenv("SYNCSVC_API_RETRIES", "0")

    cli("sync", "--metrics-file", str(tmp_path / "syncsvc.prom"))

    families = text_string_to_metric_families((tmp_path / "syncsvc.prom").read_text())
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }
    assert found["syncsvc_runs_total", "default", state] == 1.0
    assert (0.0 if broken else 1.0) == found["syncsvc_numbers", "default", "live"]
    last = found.get(("syncsvc_last_success_timestamp_seconds", "default"))
    assert (last is None) == broken
    assert last is None or abs(last - datetime.now(tz=UTC).timestamp()) < 60  # noqa: TID251 - the real clock


def test_a_dry_run_has_no_metrics(
    sandbox: Sandbox,
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """
    What was only planned is not counted as written: the two flags don't go together.
    """
    monkeypatch.setenv("SYNCSVC_API_URL", sandbox.url)
    monkeypatch.setenv("SYNCSVC_API_TOKEN", sandbox.token)

    result = cli("sync", "--dry-run", "--metrics-file", str(tmp_path / "syncsvc.prom"))

    assert result.code == 2
    assert "--metrics-file" in result.err
