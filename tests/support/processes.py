"""
The real worker as a process, and what it tells from outside.
"""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
import termios
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from syncsvc.sandbox import Sandbox

PATIENCE = 60.0  # seconds
MAIN = "from syncsvc.cli.app import main; main()"
LOOK = 0.02  # seconds between looks


def eventually(true: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """
    Wait until something is true; its value then.
    """
    ends_at = time.monotonic() + seconds
    while True:
        with suppress(httpx.TransportError):
            if found := true():
                return found
        assert time.monotonic() < ends_at, "it never came true"
        time.sleep(LOOK)


def piped_from(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """
    What a command writes into a pipe.
    """
    call = [sys.executable, "-c", MAIN, *words]
    return subprocess.run(call, env=environ, check=True, capture_output=True, text=True).stdout


def on_terminal(words: Sequence[str], columns: int, environ: Mapping[str, str]) -> str:
    """
    What a command writes on a terminal of so many columns.
    """
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, columns))
    call = [sys.executable, "-c", MAIN, *words]
    with subprocess.Popen(call, env=environ, stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        written = b""
        with suppress(OSError):  # Linux's word for the end
            while part := os.read(ours, 65536):
                written += part
        os.close(ours)
        assert process.wait(PATIENCE) == 0
    return written.decode()


def free_port() -> int:
    """
    A port of loopback that nobody listens at now.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """
    A worker under way.
    """

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        """
        Know the process, where it listens and where its log goes.
        """
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.log_file = log

    def get(self, path: str) -> httpx.Response:
        """
        Ask one of its endpoints.
        """
        return httpx.get(self.url + path, trust_env=False)

    def ready(self) -> dict[str, Any]:
        """
        What `/readyz` says.
        """
        said: dict[str, Any] = self.get("/readyz").json()
        return said

    def metric(self, name: str, **labels: str) -> float | None:
        """
        The value of one metric that bears these labels; None if it is not shown.
        """
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def runs(self, state: str = "succeeded") -> float:
        """
        How many runs came to this end.
        """
        return self.metric("syncsvc_runs_total", state=state) or 0.0

    def log(self) -> str:
        """
        All that it has logged so far.
        """
        return self.log_file.read_text()

    def signal(self, number: signal.Signals) -> None:
        """
        Send it a signal.
        """
        self.process.send_signal(number)

    def ended(self, seconds: float = PATIENCE) -> int:
        """
        Wait for its end; the exit code.
        """
        return self.process.wait(seconds)


class Workers:
    """
    Start workers that sync the simulated provider into a database.
    """

    def __init__(self, sandbox: Sandbox, engine: Engine, home: Path) -> None:
        """
        Take the provider, the database, and a folder for logs.
        """
        self._sandbox = sandbox
        self._url = engine.url.render_as_string(hide_password=False)
        self._home = home
        self._started = 0

    @contextmanager
    def worker(self, *, patch: str = "", **settings: str) -> Iterator[Running]:
        """
        One worker, killed in the end unless it has ended.

        Args:
            patch: Python to execute before the command.
            settings: Variables in lower case; None of SYNCSVC_ in their names.
        """
        port = free_port()
        self._started += 1
        log = self._home / f"worker-{self._started}.log"
        command = f"import sys\nsys.argv = ['syncsvc', 'run']\n{patch}\n{MAIN}"
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-c", command],
                cwd=self._home,
                env=self._environment(port, settings),
                stderr=stderr,
                text=True,
            )
        try:
            yield Running(process, port, log)
        finally:
            process.kill()
            process.wait()

    def _environment(self, port: int, settings: dict[str, str]) -> dict[str, str]:
        usual = {
            "api_url": self._sandbox.url,
            "api_token": self._sandbox.token,
            "api_retries": "0",
            "database_url": self._url,
            "schedule": "1s",
            "http_port": str(port),
        }
        outside = ("notify_socket", "watchdog_usec", "credentials_directory")
        named = {
            key.upper() if key in outside else f"SYNCSVC_{key.upper()}": value
            for key, value in {**usual, **settings}.items()
            if value
        }
        return {**os.environ, **named}
