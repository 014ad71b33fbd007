from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import kubernetes_validate
import msgspec
import pytest
import yaml

from support.build import needs
from syncsvc import __version__
from syncsvc.fleet.worker import HARD_STOP
from syncsvc.metrics import EndpointState, Metrics
from syncsvc.settings.loading import load_settings
from syncsvc.settings.sources import CONFIG_FILE, SECRETS_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Object = dict[str, Any]

TREE = Path(__file__).parents[2]
MANIFESTS = TREE / "deploy" / "kubernetes"
RULES = TREE / "deploy" / "prometheus" / "syncsvc.rules.yaml"
OPERATIONS = (TREE / "docs" / "operations.md").read_text()
WEBHOOKS = (TREE / "docs" / "webhooks.md").read_text()
DEPLOYMENTS = {"worker": "syncsvc", "fleet": "syncsvc-fleet"}
VERSIONS = ("1.27", kubernetes_validate.latest_version())  # the oldest meant, the newest known
FLEETS = ("overlays/fleet", "overlays/fleet-autoscaled")
BUILDS = ("base", "overlays/cronjob", "overlays/monitoring", *FLEETS)
OPERATOR_LABELS = {"container", "endpoint", "job", "namespace", "pod"}  # of each series
OPERATOR_KINDS = ("PodMonitor", "PrometheusRule", "ScaledObject")
FIRST_WITH_RESOURCES = 21  # before it, kubectl had kustomize 2.0.3, where a directory is a base
VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}  # those of the restricted profile
each_build = pytest.mark.parametrize("build", BUILDS)
each_fleet = pytest.mark.parametrize("build", FLEETS)
each_monitored = pytest.mark.parametrize("build", ["overlays/monitoring", FLEETS[1]])


class Relabeling(msgspec.Struct, forbid_unknown_fields=True):
    """
    What becomes of a label that the operator sets.
    """

    action: Literal["labeldrop"]
    regex: str


class Endpoint(msgspec.Struct, forbid_unknown_fields=True):
    """
    Where a PodMonitor looks in a pod.
    """

    port: str
    path: str
    interval: str
    relabelings: list[Relabeling]


class Expression(msgspec.Struct, forbid_unknown_fields=True):
    """
    What one label may be.
    """

    key: str
    operator: Literal["In"]
    values: list[str]


class Selector(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """
    Which pods it selects.
    """

    match_labels: dict[str, str]
    match_expressions: list[Expression]

    def selects(self, labels: dict[str, str]) -> bool:
        """
        Whether a pod with these labels is one of them.
        """
        return self.match_labels.items() <= labels.items() and all(
            labels.get(each.key) in each.values for each in self.match_expressions
        )


class PodMonitor(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """
    What a PodMonitor may say here.
    """

    job_label: str
    selector: Selector
    pod_metrics_endpoints: list[Endpoint]


class Rule(msgspec.Struct, forbid_unknown_fields=True, rename={"for_": "for"}):
    """
    An alert, or an expression that is recorded.
    """

    expr: str
    alert: str = ""
    record: str = ""
    for_: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Group(msgspec.Struct, forbid_unknown_fields=True):
    """
    Rules that are evaluated together.
    """

    name: str
    rules: list[Rule]


class PrometheusRule(msgspec.Struct, forbid_unknown_fields=True):
    """
    What a PrometheusRule may say here.
    """

    groups: list[Group]


class Trigger(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """
    What KEDA scales by.
    """

    type: Literal["prometheus"]
    metric_type: Literal["Value"]
    metadata: dict[str, str]


class Target(msgspec.Struct, forbid_unknown_fields=True):
    """
    The Deployment that KEDA scales.
    """

    name: str


class Advanced(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """
    The HorizontalPodAutoscaler that KEDA makes.
    """

    horizontal_pod_autoscaler_config: Object


class ScaledObject(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """
    What a ScaledObject may say here.
    """

    scale_target_ref: Target
    min_replica_count: int
    max_replica_count: int
    polling_interval: int
    advanced: Advanced
    triggers: list[Trigger]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Object]]:
    """
    What `kubectl kustomize` makes of a directory of the manifests.
    """
    home = tmp_path_factory.mktemp("manifests")
    shutil.copytree(MANIFESTS, home, dirs_exist_ok=True)
    _in_its_own_words(needs("kubectl"), home)

    @cache
    def render(build: str) -> str:
        return _rendered(home / build)

    return lambda build: list(yaml.safe_load_all(render(build)))


@each_build
def test_manifests_are_valid(rendered: Callable[[str], list[Object]], build: str) -> None:
    """
    Every object fits the schema of its kind, without a field that Kubernetes does not know.
    """
    for thing in rendered(build):
        if thing["kind"] not in OPERATOR_KINDS:
            for version in VERSIONS:
                kubernetes_validate.validate(thing, version, strict=True)


@each_build
def test_pods_meet_the_restricted_profile(
    rendered: Callable[[str], list[Object]], build: str
) -> None:
    """
    No pod does what the restricted Pod Security profile forbids, and its root is read-only.
    """
    pods = _pods(rendered(build))

    assert [_offences(pod) for pod in pods] == [[]]


@pytest.mark.parametrize(
    ("spoil", "offence"),
    [
        (lambda pod: pod.update(hostNetwork=True), "hostNetwork"),
        (lambda pod: pod["securityContext"].pop("seccompProfile"), "seccompProfile"),
        (lambda pod: pod["securityContext"].update(runAsUser=0), "runAsUser"),
        (lambda pod: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "hostPath"),
        (lambda pod: pod["containers"][0]["securityContext"].clear(), "capabilities"),
        (lambda pod: pod["containers"][0]["ports"][0].update(hostPort=1), "hostPort"),
        (
            lambda pod: pod["initContainers"][0]["securityContext"].update(runAsNonRoot=False),
            "runAsNonRoot",
        ),
    ],
    ids=["network", "seccomp", "root", "volume", "capabilities", "port", "init"],
)
def test_offences_are_found(
    rendered: Callable[[str], list[Object]], spoil: Callable[[Object], object], offence: str
) -> None:
    """
    The check of the restricted profile sees a pod that breaks it.
    """
    (pod,) = _pods(rendered("base"))
    spoil(pod)

    assert any(offence in found for found in _offences(pod))


@each_build
def test_pods_start_with_settings_that_are_known(
    rendered: Callable[[str], list[Object]], build: str
) -> None:
    """
    What the ConfigMap sets are settings, links of Services add none, and secrets come as files.
    """
    objects = rendered(build)
    (configured,) = _of(objects, "ConfigMap")
    (pod,) = _pods(objects)

    settings = load_settings(environ={**configured["data"], "SYNCSVC_API_TOKEN": "t"})

    assert (settings.http_host, settings.log_format) == ("0.0.0.0", "json")  # noqa: S104
    assert pod["enableServiceLinks"] is False
    for container in _containers(pod):
        assert container["envFrom"] == [{"configMapRef": {"name": configured["metadata"]["name"]}}]
        mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        secrets = "migration-secrets" if container["name"] == "migrate" else "secrets"
        assert mounted == {secrets: str(SECRETS_DIRECTORY), "tmp": "/tmp"}  # noqa: S108


@each_build
def test_only_the_migration_may_change_the_schema(
    rendered: Callable[[str], list[Object]], build: str
) -> None:
    """
    The two Secrets are apart, so that the worker's database role needs no DDL rights.
    """
    (pod,) = _pods(rendered(build))

    names = {
        each["name"]: each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each
    }
    assert names == {"migration-secrets": "syncsvc-migrate", "secrets": "syncsvc"}


@each_build
def test_nothing_is_given_a_token(rendered: Callable[[str], list[Object]], build: str) -> None:
    """
    Neither the ServiceAccount nor a pod mounts a token of the Kubernetes API.
    """
    objects = rendered(build)

    assert [each["automountServiceAccountToken"] for each in _pods(objects)] == [False]
    assert [each["automountServiceAccountToken"] for each in _of(objects, "ServiceAccount")] == [
        False
    ]


@each_build
def test_images_are_those_of_this_version(
    rendered: Callable[[str], list[Object]], build: str
) -> None:
    """
    The migration and the service run the same image, tagged with the version of the tree.
    """
    (pod,) = _pods(rendered(build))

    assert {f"syncsvc:{__version__}"} == {each["image"] for each in _containers(pod)}
    command = "sync" if "cronjob" in build else "run"
    fleet = ["--fleet"] if build in FLEETS else []
    assert [["migrate", *fleet], [command, *fleet]] == [each["args"] for each in _containers(pod)]


@pytest.mark.parametrize("build", ["base", *FLEETS])
def test_probes_ask_where_the_worker_answers(
    rendered: Callable[[str], list[Object]], build: str
) -> None:
    """
    Every probe asks an endpoint of the worker, on the port that its settings open.
    """
    objects = rendered(build)
    (configured,) = _of(objects, "ConfigMap")
    (pod,) = _pods(objects)
    (container,) = pod["containers"]

    asked = {
        name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
    }

    assert {name: each["path"] for name, each in asked.items()} == {
        "startup": "/livez",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    assert {"http"} == {each["port"] for each in asked.values()}
    assert [int(configured["data"]["SYNCSVC_HTTP_PORT"])] == [
        port["containerPort"] for port in container["ports"] if port["name"] == "http"
    ]


def test_the_worker_has_a_stand_in(rendered: Callable[[str], list[Object]]) -> None:
    """
    An eviction takes one of two replicas, a new version none before its own is ready.
    """
    objects = rendered("base")
    (deployment,) = _of(objects, "Deployment")
    (budget,) = _of(objects, "PodDisruptionBudget")

    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert budget["spec"]["maxUnavailable"] == 1
    assert deployment["spec"]["selector"] == budget["spec"]["selector"]


@each_fleet
def test_a_fleet_shares_its_work(rendered: Callable[[str], list[Object]], build: str) -> None:
    """
    An eviction takes one of several workers, and each has longer to end than it takes at most.
    """
    objects = rendered(build)
    (deployment,) = _of(objects, "Deployment")
    (budget,) = _of(objects, "PodDisruptionBudget")
    (pod,) = _pods(objects)

    assert budget["spec"]["maxUnavailable"] == 1
    assert deployment["spec"]["selector"] == budget["spec"]["selector"]
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert pod["terminationGracePeriodSeconds"] > HARD_STOP


def test_a_fleet_can_run_beside_a_worker(rendered: Callable[[str], list[Object]]) -> None:
    """
    Neither Deployment selects the other's pods, and what both have in common is the same.
    """
    single, fleet = rendered("base"), rendered("overlays/fleet")
    (one,) = _of(single, "Deployment")
    (other,) = _of(fleet, "Deployment")
    shared = ("Namespace", "ServiceAccount", "NetworkPolicy", "ConfigMap")

    assert one["metadata"]["name"] != other["metadata"]["name"]
    assert not _selects(one, other)
    assert not _selects(other, one)
    assert [_of(single, kind) for kind in shared] == [_of(fleet, kind) for kind in shared]


def test_keda_has_the_number_of_workers(rendered: Callable[[str], list[Object]]) -> None:
    """
    The ScaledObject has the form of its kind and scales the fleet, whose replicas are left to it.
    """
    objects = rendered("overlays/fleet-autoscaled")
    (fixed,) = _of(rendered("overlays/fleet"), "Deployment")
    (deployment,) = _of(objects, "Deployment")
    (found,) = _of(objects, "ScaledObject")

    scaled = msgspec.convert(found["spec"], ScaledObject)
    (trigger,) = scaled.triggers

    assert fixed["spec"]["replicas"] == scaled.min_replica_count == 2
    assert "replicas" not in deployment["spec"]
    assert scaled.scale_target_ref.name == deployment["metadata"]["name"]
    assert scaled.max_replica_count > scaled.min_replica_count
    assert "syncsvc_fleet_lag_seconds" in trigger.metadata["query"]
    assert {"serverAddress", "query", "threshold"} == set(trigger.metadata)


def test_the_cronjob_never_overlaps(rendered: Callable[[str], list[Object]]) -> None:
    """
    The other way has no worker, one Job at a time, and a limit to starting late.
    """
    objects = rendered("overlays/cronjob")
    (job,) = _of(objects, "CronJob")

    assert _of(objects, "Deployment") == []
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert job["spec"]["startingDeadlineSeconds"] > 0
    assert job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0


def test_both_ways_run_in_like_pods(rendered: Callable[[str], list[Object]]) -> None:
    """
    The CronJob's pod is set up as the worker's, from its volumes to its migration.
    """
    (worker,) = _pods(rendered("base"))
    (single,) = _pods(rendered("overlays/cronjob"))
    alike = ("securityContext", "initContainers", "volumes", "serviceAccountName")

    assert {name: worker[name] for name in alike} == {name: single[name] for name in alike}


@each_build
def test_traffic_is_closed_by_default(rendered: Callable[[str], list[Object]], build: str) -> None:
    """
    Every pod is under a policy that lets nobody in and names the ports that it may reach.
    """
    objects = rendered(build)
    (policy,) = (
        each for each in _of(objects, "NetworkPolicy") if each["metadata"]["name"] == "syncsvc"
    )
    ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}

    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"].get("ingress", []) == []
    assert {53, 443, 5432} == ports
    for labels in _pod_labels(objects):
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


@each_monitored
def test_prometheus_finds_the_workers(rendered: Callable[[str], list[Object]], build: str) -> None:
    """
    The PodMonitor has the form of its kind and selects the worker's pods, whose job is `syncsvc`.

    The policy that lets Prometheus in selects the same.
    """
    objects = rendered(build)
    (found,) = _of(objects, "PodMonitor")
    (policy,) = (
        each for each in _of(objects, "NetworkPolicy") if each["metadata"]["name"] != "syncsvc"
    )
    (labels,) = _pod_labels(objects)

    monitor = msgspec.convert(found["spec"], PodMonitor)

    assert found["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor.selector.selects(labels)
    assert not monitor.selector.selects({**labels, "app.kubernetes.io/component": "cronjob"})
    assert monitor.selector == msgspec.convert(policy["spec"]["podSelector"], Selector)
    assert labels[monitor.job_label] == "syncsvc"
    (endpoint,) = monitor.pod_metrics_endpoints
    assert (endpoint.port, endpoint.path, endpoint.interval) == ("http", "/metrics", "30s")


@each_monitored
def test_no_label_of_the_operator_takes_the_place_of_ours(
    rendered: Callable[[str], list[Object]], build: str
) -> None:
    """
    The operator's own labels that the rules ask for as metrics' labels are dropped.

    Prometheus would rename those of the metrics, and the rules would find none of them.
    """
    (found,) = _of(rendered(build), "PodMonitor")
    (endpoint,) = msgspec.convert(found["spec"], PodMonitor).pod_metrics_endpoints
    metrics = Metrics("acme")
    metrics.notify.stand({"ops": EndpointState(pending=0, oldest_seconds=0.0, disabled=False)})
    samples = [each for family in metrics.registry.collect() for each in family.samples]
    ours = {label for sample in samples for label in sample.labels}

    dropped = {each.regex for each in endpoint.relabelings}

    assert dropped == ours & OPERATOR_LABELS


def test_the_alerts_are_those_of_prometheus(rendered: Callable[[str], list[Object]]) -> None:
    """
    The PrometheusRule has the form of its kind and says word for word what the rules' file says.
    """
    (found,) = _of(rendered("overlays/monitoring"), "PrometheusRule")
    stands = yaml.safe_load(RULES.read_text())

    assert msgspec.convert(found["spec"], PrometheusRule) == msgspec.convert(stands, PrometheusRule)


def test_the_overlay_of_the_documentation_renders(tmp_path: Path) -> None:
    """
    What docs/operations.md tells an operator to write names his image and changes his settings.
    """
    shutil.copytree(MANIFESTS, tmp_path / "deploy" / "kubernetes")
    (written,) = re.findall(r"```yaml\n(# site/kustomization.yaml.+?)```", OPERATIONS, re.DOTALL)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "kustomization.yaml").write_text(written)

    _in_its_own_words(needs("kubectl"), tmp_path)

    objects = list(yaml.safe_load_all(_rendered(tmp_path / "site")))

    (pod,) = _pods(objects)
    (configured,) = _of(objects, "ConfigMap")
    assert {f"registry.example.com/syncsvc:{__version__}"} == {
        each["image"] for each in _containers(pod)
    }
    assert configured["data"]["SYNCSVC_SCHEDULE"] == "1h"
    assert configured["data"]["SYNCSVC_LOG_FORMAT"] == "json"


@pytest.mark.parametrize("component", ["worker", "fleet"])
def test_the_settings_of_endpoints_reach_the_pod(tmp_path: Path, component: str) -> None:
    """
    What docs/webhooks.md adds to the overlay mounts the TOML file where the service looks for it.

    The secret is a further key of a Secret that is mounted already.
    """
    shutil.copytree(MANIFESTS, tmp_path / "deploy" / "kubernetes")
    (file,) = re.findall(r"```toml\n(.+?)```", WEBHOOKS, re.DOTALL)
    (written,) = re.findall(r"```yaml\n(# site/kustomization.yaml.+?)```", WEBHOOKS, re.DOTALL)
    overlay = {"worker": "base", "fleet": "overlays/fleet"}[component]
    resources = {"resources": [f"../deploy/kubernetes/{overlay}"], "namespace": "syncsvc"}
    named = written.replace(
        "  name: syncsvc\n      spec", f"  name: {DEPLOYMENTS[component]}\n      spec"
    )
    own = yaml.safe_load(named)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "kustomization.yaml").write_text(yaml.safe_dump({**resources, **own}))
    (tmp_path / "site" / "syncsvc.toml").write_text(file)
    _in_its_own_words(needs("kubectl"), tmp_path)

    objects = list(yaml.safe_load_all(_rendered(tmp_path / "site")))

    (pod,) = _pods(objects)
    (found,) = (each for each in _of(objects, "ConfigMap") if "syncsvc.toml" in each["data"])
    sources = {each["name"]: each for each in pod["volumes"]}
    mounts = {each["mountPath"]: each["name"] for each in pod["containers"][0]["volumeMounts"]}
    assert (
        sources[mounts[str(CONFIG_FILE.parent)]]["configMap"]["name"] == found["metadata"]["name"]
    )
    assert sources[mounts[str(SECRETS_DIRECTORY)]]["secret"]["secretName"] == "syncsvc"
    assert "items" not in sources[mounts[str(SECRETS_DIRECTORY)]]["secret"]


def _rendered(path: Path) -> str:
    told = subprocess.run(
        [needs("kubectl"), "kustomize", str(path)], check=False, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def _in_its_own_words(kubectl: str, home: Path) -> None:
    """
    Say the same to a kubectl as old as Debian 12's, which calls directories bases.

    It does not know batch/v1's CronJob either, so that names must not get a hash.
    """
    version = subprocess.run(
        [kubectl, "version", "--client", "--output=json"], check=True, capture_output=True
    )
    minor = json.loads(version.stdout)["clientVersion"]["minor"]
    if int(re.sub(r"\D", "", minor)) >= FIRST_WITH_RESOURCES:
        return
    for path in home.rglob("kustomization.yaml"):
        document = yaml.safe_load(path.read_text())
        resources = document.get("resources", [])
        document["bases"] = [each for each in resources if not each.endswith(".yaml")]
        document["resources"] = [each for each in resources if each.endswith(".yaml")]
        patches = document.pop("patches", [])
        document["patchesStrategicMerge"] = [
            each.get("path") or _in_a_file(each["patch"], path.parent) for each in patches
        ]
        document["generatorOptions"] = {"disableNameSuffixHash": True}
        path.write_text(yaml.safe_dump(document))


def _in_a_file(patch: str, home: Path) -> str:
    """
    Write an inline patch to a file; its name.
    """
    (home / "patch.yaml").write_text(patch)
    return "patch.yaml"


def _of(objects: list[Object], kind: str) -> list[Object]:
    return [thing for thing in objects if thing["kind"] == kind]


def _selects(deployment: Object, other: Object) -> bool:
    """
    Whether a Deployment would take another one's pods for its own.
    """
    labels = other["spec"]["template"]["metadata"]["labels"]
    return bool(deployment["spec"]["selector"]["matchLabels"].items() <= labels.items())


def _templates(objects: list[Object]) -> Iterator[Object]:
    """
    The pod templates of whatever runs pods.
    """
    for thing in objects:
        if thing["kind"] == "Deployment":
            yield thing["spec"]["template"]
        if thing["kind"] == "CronJob":
            yield thing["spec"]["jobTemplate"]["spec"]["template"]


def _pods(objects: list[Object]) -> list[Object]:
    return [template["spec"] for template in _templates(objects)]


def _pod_labels(objects: list[Object]) -> list[dict[str, str]]:
    return [template["metadata"]["labels"] for template in _templates(objects)]


def _containers(pod: Object) -> list[Object]:
    return [*pod["initContainers"], *pod["containers"]]


def _offences(pod: Object) -> list[str]:
    """
    What the restricted Pod Security profile has against a pod, and a root that can be written.
    """
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    found += [f"volume {kind}" for kind in sorted(_kinds_of_volumes(pod) - VOLUMES)]
    found += [f"sysctl {each['name']}" for each in pod["securityContext"].get("sysctls", [])]
    for container in _containers(pod):
        context = {**pod["securityContext"], **container.get("securityContext", {})}
        found += [f"{container['name']}: {offence}" for offence in _offences_of(context)]
        found += [
            f"{container['name']}: hostPort"
            for port in container.get("ports", [])
            if "hostPort" in port
        ]
    return found


def _kinds_of_volumes(pod: Object) -> set[str]:
    return {kind for volume in pod["volumes"] for kind in volume if kind != "name"}


def _offences_of(context: Object) -> Iterator[str]:
    """
    What is wrong with a container's security context, that of its pod included.
    """
    seccomp = context.get("seccompProfile", {}).get("type")
    wanted = {
        "runAsNonRoot": context.get("runAsNonRoot") is True,
        "runAsUser": context.get("runAsUser") != 0,
        "seccompProfile": seccomp in {"RuntimeDefault", "Localhost"},
        "capabilities": context.get("capabilities") == {"drop": ["ALL"]},
        "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
        "privileged": not context.get("privileged"),
        "procMount": context.get("procMount", "Default") == "Default",
        "seLinuxOptions": "seLinuxOptions" not in context,
        "appArmorProfile": "appArmorProfile" not in context,
        "readOnlyRootFilesystem": context.get("readOnlyRootFilesystem") is True,
    }
    return (name for name, met in wanted.items() if not met)
