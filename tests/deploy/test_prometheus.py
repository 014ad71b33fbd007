from __future__ import annotations

import json
import re
import subprocess
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from support.build import needs
from support.processes import Workers, eventually, free_port
from syncsvc import clock
from syncsvc.accounts.standing import Standing
from syncsvc.fleet.metrics import FleetMetrics
from syncsvc.fleet.overview import AccountOverview, Overview
from syncsvc.fleet.running_accounts import RunningAccounts
from syncsvc.metrics import Metrics
from syncsvc.notify import endpoint_rows
from syncsvc.notify.endpoint_rows import Endpoint
from syncsvc.sandbox import Fault, Inventory, Sandbox
from syncsvc.vocabulary import Lane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from support.fleets import Fleet

TREE = Path(__file__).parents[2]
PROMETHEUS = TREE / "deploy" / "prometheus"
RULES = PROMETHEUS / "syncsvc.rules.yaml"
RULE_TESTS = PROMETHEUS / "syncsvc.rules.test.yaml"
OPERATIONS = (TREE / "docs" / "operations.md").read_text()
GRAFANA = TREE / "deploy" / "grafana"
WORKER, FLEET = "syncsvc-operations.json", "syncsvc-fleet.json"  # dashboards
SHORT = "500ms"  # between two scrapes, and two looks at the rules

Told = list[dict[str, Any]]


def _alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for rule in group["rules"] if "alert" in rule]


def _queries(dashboard: str) -> list[str]:
    """
    Every query of a dashboard, with what Grafana puts in for its variables.
    """
    panels = json.loads((GRAFANA / dashboard).read_text())["panels"]
    written = [target["expr"] for panel in panels for target in panel["targets"]]
    return [query.replace("$account", ".*").replace("$__rate_interval", "10s") for query in written]


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", RULES.name),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", RULE_TESTS.name),
    ],
    ids=["rules", "config", "tests"],
)
def test_promtool_finds_no_fault(arguments: tuple[str, ...]) -> None:
    """
    The rules and the configuration are sound, and every alert fires when its test says so.
    """
    told = subprocess.run(
        [needs("promtool"), *arguments],
        cwd=PROMETHEUS,
        check=False,
        capture_output=True,
        text=True,
    )

    assert told.returncode == 0, told.stdout + told.stderr


def test_every_alert_is_tested_to_fire() -> None:
    """
    No alert is without a test in which it fires and one in which it does not.
    """
    fires: set[str] = set()
    silent: set[str] = set()
    for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]:
        for expected in test["alert_rule_test"]:
            (fires if expected["exp_alerts"] else silent).add(expected["alertname"])

    names = {alert["alert"] for alert in _alerts()}
    assert names == fires
    assert names - {"SyncsvcTokenFailing", "SyncsvcRunsSlow"} == silent  # beside others that fire


@pytest.mark.parametrize("alert", _alerts(), ids=lambda alert: alert["alert"])
def test_every_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    """
    An alert has a summary, a description, and a place in docs/operations.md under its own name.
    """
    said = alert["annotations"]
    headings = re.findall(r"^#+ (\w+)$", OPERATIONS, re.MULTILINE)

    assert {"summary", "description", "runbook_url"} == set(said)
    assert f"docs/operations.md#{alert['alert'].lower()}" == said["runbook_url"]
    assert alert["alert"] in headings


def test_only_metrics_that_there_are_get_asked_for() -> None:
    """
    Rules and dashboard name the metrics of the service, and leave none out that it has.
    """
    has = {
        family.name
        for metrics in (Metrics("acme"), _fleet_metrics())
        for family in metrics.registry.collect()
    }
    written = "\n".join([RULES.read_text(), *_queries(WORKER), *_queries(FLEET)])
    asked = {
        re.sub(r"_(total|bucket|sum|count)$", "", name)
        for name in re.findall(r"\bsyncsvc_\w+", written)
    }

    assert {re.sub(r"_info$", "", name) for name in has} == {
        re.sub(r"_info$", "", name) for name in asked
    }


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_real_prometheus_tells_when_the_provider_goes_down(
    engine: Engine, tmp_path: Path
) -> None:
    """
    An alert fires when the provider is gone, another when the worker is, and none before.

    The Prometheus scrapes the real worker, and has an answer to every query of the dashboard.
    """
    with Sandbox(Inventory.seeded(50)) as provider:
        _add_endpoint(engine, enabled=True)
        provider.inject(Fault(kind="status", status=503))
        workers = Workers(provider, engine, tmp_path)
        with (
            workers.worker(api_retries="1", schedule="2s") as worker,
            _scraped(worker.url, tmp_path) as ask,
        ):
            eventually(lambda: worker.runs() >= 2)
            unanswered = set(_queries(WORKER))
            eventually(lambda: not _unanswered(ask, unanswered))
            eventually(lambda: not _firing(ask))

            provider.__exit__()  # it goes down
            eventually(lambda: "SyncsvcNoSuccess" in _firing(ask))

            worker.process.kill()
            eventually(lambda: "SyncsvcNoMetrics" in _firing(ask))


def test_a_real_prometheus_tells_how_a_fleet_is(
    fleet: Fleet, sandbox: Sandbox, tmp_path: Path
) -> None:
    """
    One host of two is down: it and its accounts are told, and the account of the other one is not.

    So is an endpoint of webhooks that was disabled. When the workers are gone, that is told. The
    dashboard of fleets has an answer to every query.
    """
    sandbox.inventory = Inventory.seeded(5)
    _add_endpoint(fleet.engine, enabled=False)
    fleet.add(["fine"], sandbox)
    dead = f"http://127.0.0.1:{free_port()}"
    fleet.add([f"lost-{number}" for number in range(5)], sandbox, api_url=dead)
    port = free_port()
    (worker,) = fleet.start(SYNCSVC_HTTP_PORT=str(port), SYNCSVC_API_RETRIES="1")
    with _scraped(f"http://127.0.0.1:{port}", tmp_path) as ask:
        unanswered = set(_queries(FLEET))
        eventually(lambda: not _unanswered(ask, unanswered))
        troubled = eventually(lambda: _accounts_of(ask, "SyncsvcAccountNeedsAttention"))
        eventually(lambda: {"SyncsvcHostDown", "SyncsvcNotifyFailing"} <= set(_firing(ask)))

        assert "fine" not in troubled
        assert "SyncsvcFleetNoWorkers" not in _firing(ask)

        worker.kill()
        eventually(lambda: "SyncsvcFleetNoWorkers" in _firing(ask))


class Ask:
    """
    The HTTP API of a Prometheus.
    """

    def __init__(self, url: str) -> None:
        """
        Know where it listens.
        """
        self._url = url

    def __call__(self, path: str, **parameters: str) -> Any:
        """
        The data of one answer.
        """
        answer = httpx.get(f"{self._url}/api/v1/{path}", params=parameters, trust_env=False)
        said = answer.json()
        assert said["status"] == "success", said
        return said["data"]


@contextmanager
def _scraped(url: str, home: Path) -> Iterator[Ask]:
    """
    A Prometheus that scrapes this worker, by the configuration and the rules as shipped but sooner.
    """
    rules = re.sub(r"^( +for:) .+$", r"\1 0s", RULES.read_text(), flags=re.MULTILINE)
    (home / RULES.name).write_text(rules)
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": SHORT, "evaluation_interval": SHORT}
    configuration["scrape_configs"][0]["scrape_timeout"] = SHORT
    configuration["scrape_configs"][0]["static_configs"] = [
        {"targets": [url.removeprefix("http://")]}
    ]
    (home / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    command = [
        needs("prometheus"),
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'tsdb'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    with subprocess.Popen(command, cwd=home) as process:
        try:
            eventually(lambda: httpx.get(f"http://{address}/-/ready", trust_env=False).is_success)
            ask = Ask(f"http://{address}")
            eventually(lambda: ask("targets")["activeTargets"])
            yield ask
        finally:
            process.kill()


def _unanswered(ask: Ask, queries: set[str]) -> set[str]:
    """
    The queries that Prometheus has no data for yet; those it has are struck off.
    """
    queries -= {query for query in queries if ask("query", query=query)["result"]}
    return queries


def _add_endpoint(engine: Engine, *, enabled: bool) -> None:
    """
    An endpoint of webhooks that gets no events, disabled after failures or not.
    """
    reason = None if enabled else "It responded 410: it wants no further events."
    endpoint = Endpoint(
        name="ops",
        url="https://example.com/hook",
        accounts=("none",),
        enabled=enabled,
        disabled_reason=reason,
    )
    with engine.begin() as connection:
        endpoint_rows.add(connection, endpoint)


def _accounts_of(ask: Ask, name: str) -> set[str]:
    """
    The accounts that an alert fires for.
    """
    return {
        alert["labels"]["account"]
        for alert in ask("alerts")["alerts"]
        if alert["state"] == "firing" and alert["labels"]["alertname"] == name
    }


def _fleet_metrics() -> FleetMetrics:
    """
    The metrics of a fleet's worker that has an account and a host.
    """
    account = AccountOverview(
        account="acme",
        standing=Standing.FAILING,
        host="https://cloudlx.example.com",
        lane=Lane.FAST,
        failures=1,
        attention=None,
        last_state="failed",
        last_success_at=clock.now(),
        last_error=None,
        interval=timedelta(minutes=15),
        late=timedelta(),
        live_numbers=1,
        cancelled_numbers=0,
        withheld=0,
        rejected=0,
    )
    metrics = FleetMetrics()
    metrics.add_accounts(lambda: Overview(at=clock.now(), accounts=[account]), 1)
    metrics.add_worker(RunningAccounts(), {Lane.FAST: 1}, lambda: {"https://example.com": True})
    return metrics


def _firing(ask: Ask) -> list[str]:
    return sorted(
        alert["labels"]["alertname"]
        for alert in ask("alerts")["alerts"]
        if alert["state"] == "firing"
    )
