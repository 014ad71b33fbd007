"""
What the worker shows over HTTP.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from structlog.testing import capture_logs
from werkzeug.test import Client

from support.processes import free_port
from syncsvc.errors import ConfigurationError
from syncsvc.metrics import Metrics
from syncsvc.worker import web
from syncsvc.worker.scheduled_run import Readiness
from syncsvc.worker.web import Pages, own_names, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

READY = Readiness(ready=True, account="default", role="leader", problems=[])
BROKEN = Readiness(ready=False, account="default", role="leader", problems=["No database."])


def pages(
    *,
    is_progressing: bool = True,
    readiness: Readiness = READY,
    status: Callable[[], str] = lambda: "page",
    hosts: Sequence[str] = (),
) -> Pages:
    """
    Pages over a worker that is as a test wants it.
    """
    return Pages(
        is_progressing=lambda: is_progressing,
        readiness=lambda: readiness,
        registry=Metrics("default").registry,
        status=status,
        hosts=hosts,
    )


@pytest.mark.parametrize(
    ("path", "made", "status", "said"),
    [
        ("/livez", {}, 200, {"alive": True, "problems": []}),
        ("/readyz", {}, 200, {"ready": True, "problems": []}),
        ("/readyz", {"readiness": BROKEN}, 503, {"ready": False, "problems": ["No database."]}),
    ],
)
def test_health_is_a_status_and_the_reasons(
    path: str, made: dict[str, Any], status: int, said: dict[str, Any]
) -> None:
    """
    The status is 200 or 503, and the JSON has the reasons for 503.
    """
    answer = Client(pages(**made)).get(path)

    assert status == answer.status_code
    assert said.items() <= answer.get_json().items()


def test_a_stuck_worker_is_not_alive() -> None:
    """
    `/livez` asks for progress, not only for a process.
    """
    answer = Client(pages(is_progressing=False)).get("/livez")

    assert answer.status_code == 503
    assert "stuck" in answer.get_json()["problems"][0]


def test_metrics_are_prometheus_text() -> None:
    """
    `/metrics` names what runs.
    """
    answer = Client(pages()).get("/metrics")

    assert answer.content_type.startswith("text/plain; version=")
    assert 'syncsvc_build_info{version="' in answer.text


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics"])
def test_a_head_is_answered_like_a_get(path: str) -> None:
    """
    Who asks for the head alone gets the same status.
    """
    assert Client(pages()).head(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("POST", "/", 405), ("DELETE", "/metrics", 405)],
)
def test_nothing_else_is_there(method: str, path: str, status: int) -> None:
    """
    Other paths and other methods are refused.
    """
    answer = Client(pages()).open(path, method=method)

    assert status == answer.status_code


def test_the_page_allows_itself_nothing() -> None:
    """
    No script, no other origin, no frame, no copy in a cache.
    """
    headers = Client(pages()).get("/").headers

    assert headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert "script" not in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_failing_page_is_logged_and_serves_on() -> None:
    """
    A bug in a page answers 500 without its traceback, which the log has.
    """

    def fail() -> str:
        raise RuntimeError("hunter2-in-a-message")

    port = free_port()
    with capture_logs() as logs, serving(pages(status=fail), "127.0.0.1", port):
        broken = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
        alive = httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False)

    assert (broken.status_code, alive.status_code) == (500, 200)
    assert "hunter2" not in broken.text
    assert "http.error" in [line["event"] for line in logs]


def test_slow_clients_keep_no_probe_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While many connections are silent, or have sent half a request, probes are answered.
    """
    monkeypatch.setattr(web, "LIFETIME", 600)
    monkeypatch.setitem(web.LIMITS, "channel_timeout", 600)
    with serving(pages(), "127.0.0.1", free_port()) as port, ExitStack() as slow:
        for place in range(200):
            client = slow.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: lo"[: place % 30])

        probes = [httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False) for _ in range(3)]

    assert [probe.status_code for probe in probes] == [200] * 3


@pytest.mark.parametrize("limit", ["LIFETIME", "channel_timeout"])
def test_a_slow_client_is_shut_out(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """
    A client that takes too long in all, or is silent for too long, loses its connection.
    """
    monkeypatch.setattr(web, "LIFETIME", 0 if limit == "LIFETIME" else 600)
    monkeypatch.setitem(web.LIMITS, "channel_timeout", 0 if limit == "channel_timeout" else 600)
    with (
        serving(pages(), "127.0.0.1", free_port()) as port,
        socket.create_connection(("127.0.0.1", port), timeout=60) as client,
    ):
        client.sendall(b"GET /")

        assert client.recv(1) == b""


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9464", 200),
        ("127.0.0.1", 200),
        ("[::1]:9464", 200),
        ("evil.example", 400),
        ("localhost.evil.example:9464", 400),
    ],
)
def test_loopback_has_its_own_names_only(host: str, status: int) -> None:
    """
    On loopback another name in `Host` is refused, as a foreign page may have made it ours.
    """
    at_home = Client(pages(hosts=own_names("127.0.0.1")))

    assert status == at_home.get("/metrics", headers={"Host": host}).status_code


@pytest.mark.parametrize("host", ["::", "10.0.0.7", "worker.example"])
def test_elsewhere_any_name_is_answered(host: str) -> None:
    """
    What is not bound to loopback is reached by names that are not known here.
    """
    assert own_names(host) == ()
    assert Client(pages()).get("/livez", headers={"Host": "any.example"}).status_code == 200


def test_metrics_tell_of_the_process_and_its_readiness() -> None:
    """
    Memory, open files and the last look at readiness are in the worker's metrics.

    Files for node_exporter have none of the process: it has metrics of these names itself.
    """
    metrics = Metrics("default")
    of_a_file = metrics.text()
    metrics.add_process()
    metrics.ready(ready=False)

    told = metrics.text()

    assert "process_resident_memory_bytes " in told
    assert "process_open_fds " in told
    assert "process_" not in of_a_file
    assert 'syncsvc_ready{account="default"} 0.0' in told


def test_an_address_that_is_taken_is_an_error_of_configuration() -> None:
    """
    The message names the settings.
    """
    port = free_port()
    refused = pytest.raises(ConfigurationError, match="SYNCSVC_HTTP_PORT")

    with serving(pages(), "127.0.0.1", port), refused, serving(pages(), "127.0.0.1", port):
        pass
