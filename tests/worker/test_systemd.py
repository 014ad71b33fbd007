"""
What the service manager is told.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from syncsvc.worker.systemd import Notifier

if TYPE_CHECKING:
    from pathlib import Path

Environment = dict[str, str]


@pytest.mark.parametrize("abstract", [False, True])
def test_each_datagram_is_one_assignment(tmp_path: Path, abstract: bool) -> None:
    """
    What is said arrives at the socket named, be it a file or an abstract one.
    """
    name = f"@syncsvc-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0") if abstract else name)
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        notifier.ready()
        notifier.status("Run 1\nsucceeded")
        notifier.ping_watchdog()
        notifier.stopping()

        said = [manager.recv(4096).decode() for _ in range(4)]

    assert said == ["READY=1", "STATUS=Run 1 succeeded", "WATCHDOG=1", "STOPPING=1"]


def test_without_a_manager_nothing_is_said() -> None:
    """
    Outside systemd nobody is told, and nothing is logged.
    """
    with capture_logs() as logs:
        Notifier({}).ready()

    assert logs == []


def test_a_manager_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    """
    A socket that nobody listens at is logged; the worker goes on.
    """
    with capture_logs() as logs:
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}).ready()

    assert [line["event"] for line in logs] == ["systemd.notify_failed"]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
    ],
)
def test_the_watchdog_is_heeded(environ: Environment, seconds: float | None) -> None:
    """
    Only a watchdog over this very process is put off.
    """
    assert seconds == Notifier(environ).watchdog_seconds


def test_a_stuck_service_does_not_put_the_watchdog_off(tmp_path: Path) -> None:
    """
    `WATCHDOG=1` is said while there is progress, and no longer.
    """
    path = str(tmp_path / "notify")
    asked = iter([True, True, False, False, False, False, False, False])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(0.5)
        notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "40000"})
        with notifier.pinging_watchdog(lambda: next(asked, False)):
            said = [manager.recv(4096), manager.recv(4096)]
            with pytest.raises(TimeoutError):
                manager.recv(4096)

    assert said == [b"WATCHDOG=1"] * 2
