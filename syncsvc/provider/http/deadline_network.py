"""
Network connections that end at the deadline of the request they serve.

httpx and httpcore have a timeout for each single read, so a body that arrives
byte by byte never ends. These connections ignore it: every step gets the time
that is left until the deadline.
"""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import httpcore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator

READ_AT_ONCE = 256 * 2**10  # bytes: httpcore would ask for a quarter of a usual page
ENDS_AT: ContextVar[float] = ContextVar("ends_at")  # of this thread's request, monotonic


class UnknownHost(Exception):
    """
    A host's name has no address.
    """


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """
    Give what this thread does on its connections so many seconds in all.
    """
    token = ENDS_AT.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        ENDS_AT.reset(token)


class ForbiddenAddress(Exception):
    """
    A host has addresses, but none that may be connected to.
    """


class DeadlineBackend(httpcore.NetworkBackend):
    """
    Opens the connections of an httpcore pool; usable only within `deadline`.

    Args:
        is_allowed: Which of a host's addresses may be connected to. A name is resolved once, and
            what was found is both judged and used, so that no later answer gets past.
    """

    def __init__(self, is_allowed: Callable[[str], bool] = lambda _address: True) -> None:
        self._backend = httpcore.SyncBackend()
        self._is_allowed = is_allowed
        self._open: WeakSet[httpcore.NetworkStream] = WeakSet()
        self._is_closed = False
        self._lock = Lock()

    def close(self) -> None:
        """
        Close every connection, also one that another thread has just made or is making.
        """
        with self._lock:
            self._is_closed = True
            left = list(self._open)
        for stream in left:
            stream.close()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline counts
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """
        Connect to the first of a host's addresses that accepts, each with its share of the time.

        Raises:
            UnknownHost: The host has no address.
            ForbiddenAddress: It has none that is allowed.
        """
        failure: Exception = ForbiddenAddress(host)
        addresses = [each for each in _addresses(host, port) if self._is_allowed(each)]
        for tried, address in enumerate(addresses):
            left = _seconds_left(httpcore.ConnectTimeout) / (len(addresses) - tried)
            try:
                stream = self._backend.connect_tcp(
                    address, port, left, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
            else:
                return self._kept(stream)
        raise failure

    def _kept(self, stream: httpcore.NetworkStream) -> httpcore.NetworkStream:
        """
        Return a new connection's stream, which `close` will close, unless that was called before.
        """
        found = _DeadlineStream(stream, self._kept)
        with self._lock:
            if not self._is_closed:
                self._open.add(found)
                return found
        found.close()
        raise httpcore.ConnectError("The connections have been closed.")


def _addresses(host: str, port: int) -> list[str]:
    """
    Resolve a host's name to addresses, in the system's order of preference.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:  # UnicodeError: it can't be the name of a host
        raise UnknownHost(host) from exc
    if not found:
        raise UnknownHost(host)
    return [str(address[0]) for *_, address in found]


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(
        self,
        stream: httpcore.NetworkStream,
        kept: Callable[[httpcore.NetworkStream], httpcore.NetworkStream],
    ) -> None:
        self._stream = stream
        self._kept = kept

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the deadline counts
        return self._stream.read(max(max_bytes, READ_AT_ONCE), _seconds_left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the deadline counts
        self._stream.write(buffer, _seconds_left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the deadline counts
    ) -> httpcore.NetworkStream:
        left = _seconds_left(httpcore.ConnectTimeout)
        return self._kept(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore has it
        return self._stream.get_extra_info(info)


def _seconds_left(expired: type[Exception]) -> float:
    """
    Return the seconds until this thread's request must have ended.
    """
    left = ENDS_AT.get() - time.monotonic()
    if left <= 0:
        raise expired
    return left
