"""
Report readiness, status and watchdog pings to systemd, by sd_notify(3)'s protocol.

The protocol is one datagram of lines to the socket that NOTIFY_SOCKET names. The bindings of
libsystemd that are still maintained need its headers to install.
"""

from __future__ import annotations

import os
import re
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
    The socket of the service manager; without one, nothing is sent.

    Attributes:
        watchdog_seconds: How often `WATCHDOG=1` is due; None without a watchdog.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_seconds = _watchdog_seconds(environ)

    def ready(self) -> None:
        """
        Report that the service is ready.
        """
        self._send("READY=1")

    def status(self, text: str) -> None:
        """
        Report the status in one line; `systemctl status` shows it.
        """
        self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        """
        Report that the service is stopping.
        """
        self._send("STOPPING=1")

    def ping_watchdog(self) -> None:
        """
        Restart the watchdog's timer.
        """
        self._send("WATCHDOG=1")

    @contextmanager
    def pinging_watchdog(self, is_progressing: Callable[[], bool]) -> Iterator[None]:
        """
        Ping the watchdog from a thread, as long as the service makes progress.
        """
        ended = threading.Event()
        if self.watchdog_seconds is not None:
            arguments = (is_progressing, self.watchdog_seconds / 2, ended)
            threading.Thread(
                target=self._keep_pinging, args=arguments, name="watchdog", daemon=True
            ).start()
        try:
            yield
        finally:
            ended.set()

    def _keep_pinging(
        self, is_progressing: Callable[[], bool], seconds: float, ended: threading.Event
    ) -> None:
        while not ended.wait(seconds):
            if is_progressing():
                self.ping_watchdog()

    def _send(self, line: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(line.encode(errors="replace"), address)
        except OSError as exc:
            log.warning("systemd.notify_failed", line=line, error=str(exc))


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """
    Return the time without a ping after which systemd restarts this process.
    """
    is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not is_ours or not re.fullmatch(r"\d{1,15}", microseconds, re.ASCII):
        return None
    return int(microseconds) / 1e6 or None
