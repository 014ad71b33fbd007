"""
Tell systemd how the service is, as sd_notify(3) has it.

The protocol is a datagram of lines to the socket named in the environment;
the kept bindings of libsystemd need its headers to install.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

log = structlog.get_logger(__name__)


class Notifier:
    """
    The way to the service manager; where there is none, nothing is told.

    Attributes:
        watchdog_seconds: How often `WATCHDOG=1` is due; None where nobody watches.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_seconds = _watchdog_seconds(environ)

    def ready(self) -> None:
        """
        Say that the service is up.
        """
        self._send("READY=1")

    def status(self, text: str) -> None:
        """
        Say in one line how it goes; `systemctl status` shows it.
        """
        self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        """
        Say that the service is about to end.
        """
        self._send("STOPPING=1")

    def alive(self) -> None:
        """
        Put off the watchdog.
        """
        self._send("WATCHDOG=1")

    @contextmanager
    def watched(self, turns: Callable[[], bool]) -> Iterator[None]:
        """
        Put off the watchdog in time, as long as the service makes progress.
        """
        ended = threading.Event()
        if self.watchdog_seconds is not None:
            arguments = (turns, self.watchdog_seconds / 2, ended)
            threading.Thread(
                target=self._keep_alive, args=arguments, name="watchdog", daemon=True
            ).start()
        try:
            yield
        finally:
            ended.set()

    def _keep_alive(
        self, turns: Callable[[], bool], seconds: float, ended: threading.Event
    ) -> None:
        while not ended.wait(seconds):
            if turns():
                self.alive()

    def _send(self, line: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
                way.sendto(line.encode(errors="replace"), address)
        except OSError as exc:
            log.warning("systemd.not_told", line=line, error=str(exc))


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """
    The time after which systemd takes this process for stuck.
    """
    meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if meant and microseconds.isdigit() else None
