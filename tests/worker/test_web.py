"""
What the worker shows over HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from structlog.testing import capture_logs
from werkzeug.test import Client

from support.processes import free_port
from syncsvc.errors import ConfigurationError
from syncsvc.metrics import Metrics
from syncsvc.worker.scheduled_run import Readiness
from syncsvc.worker.web import Pages, serving

if TYPE_CHECKING:
    from collections.abc import Callable

READY = Readiness(ready=True, account="default", role="leader", problems=[])
BROKEN = Readiness(ready=False, account="default", role="leader", problems=["No database."])


def pages(
    *,
    is_progressing: bool = True,
    readiness: Readiness = READY,
    status: Callable[[], str] = lambda: "page",
) -> Pages:
    """
    Pages over a worker that is as a test wants it.
    """
    return Pages(
        is_progressing=lambda: is_progressing,
        readiness=lambda: readiness,
        registry=Metrics("default").registry,
        status=status,
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


def test_an_address_that_is_taken_is_an_error_of_configuration() -> None:
    """
    The message names the settings.
    """
    port = free_port()
    refused = pytest.raises(ConfigurationError, match="SYNCSVC_HTTP_PORT")

    with serving(pages(), "127.0.0.1", port), refused, serving(pages(), "127.0.0.1", port):
        pass
