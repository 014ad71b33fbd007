"""
One bounded HTTP exchange: so long, so large, and no further.

It goes through httpx's transport, without a client around it: there are no
cookies, redirects or log lines to see to, and a client costs as much time
again as the transport.

httpx bounds each single read, so that a body that drips a byte at a time
never ends. Here the whole exchange has one deadline, from its start to the
last byte of the body, and one size, after decompression.
"""

from __future__ import annotations

import math
import socket
import time
from contextlib import closing
from contextvars import ContextVar
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
import msgspec

from syncsvc import __version__
from syncsvc.errors import ProviderUnavailable
from syncsvc.provider import http_environment
from syncsvc.provider.meter import NoMeter
from syncsvc.provider.response_body import read_body

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

    from syncsvc.provider.meter import Meter

ALWAYS = {"Accept-Encoding": "gzip", "User-Agent": f"syncsvc/{__version__}"}
PASSING = frozenset({408, 425, 429})  # refusals that a later attempt may not meet
RETRY_AFTER_LIMIT = 60.0  # seconds: a header alone, perhaps in other units, stops no run
READ_AT_ONCE = 256 * 2**10  # bytes: httpcore would ask for a quarter of a usual page
ENDS_AT: ContextVar[float] = ContextVar("ends_at")  # on the monotonic clock, for this thread


class Answer(msgspec.Struct, frozen=True):
    """
    What the provider answered, whole.
    """

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def may_pass(self) -> bool:
        """
        Whether the same request may be answered properly later.
        """
        return self.status in PASSING or self.status >= 500  # noqa: PLR2004 - server errors

    @property
    def retry_after(self) -> float | None:
        """
        Seconds for which to leave the provider alone, where it says so.
        """
        return _retry_after(self.headers.get("Retry-After"))

    def unavailable(self, path: str) -> ProviderUnavailable:
        """
        This answer as the failure that it is.
        """
        return ProviderUnavailable(
            f"The provider is unavailable ({self.status} from {path}). Retry later.",
            reason=str(self.status),
            retry_after=self.retry_after,
        )


class Exchange:
    """
    The way to one provider.

    Args:
        base_url: Scheme, host and the path before `/api`.
        timeout: Seconds for one exchange.
        connections: How many may be open at once.
        meter: Told of every request.

    Raises:
        ConfigurationError: What the environment says of proxies or certificates can't be used.
    """

    def __init__(
        self, base_url: str, *, timeout: float, connections: int, meter: Meter | None = None
    ) -> None:
        self._base_url = base_url
        self._timeout = timeout
        self.connections = connections
        self.meter = meter or NoMeter()
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._transport = _BoundedTransport(
            limits=limits,
            proxy=http_environment.proxy_for(base_url),
            verify=http_environment.tls_context(),
        )
        self._extensions = {"timeout": httpx.Timeout(timeout).as_dict()}

    def close(self) -> None:
        """
        Close every connection.
        """
        self._transport.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str | int] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> Answer:
        """
        Send one request and read the whole answer.

        Raises:
            ProviderUnavailable: It broke off or took too long.
            ProviderRefused: The body is too large.
        """
        began_at, status = time.monotonic(), "unreadable"
        try:
            answer = self._send(method, path, headers=headers, params=params, data=data)
        except ProviderUnavailable as exc:
            status = exc.reason
            raise
        else:
            status = str(answer.status)
            return answer
        finally:
            seconds = time.monotonic() - began_at
            self.meter.requested(endpoint(path, params), status, seconds)

    def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str | int] | None,
        data: Mapping[str, str] | None,
    ) -> Answer:
        token = ENDS_AT.set(time.monotonic() + self._timeout)
        request = httpx.Request(
            method,
            self._base_url + path,
            params=params,
            data=data,
            headers={**ALWAYS, **headers},
            extensions=self._extensions,
        )
        try:
            with closing(self._transport.handle_request(request)) as response:
                return Answer(response.status_code, response.headers, read_body(response, path))
        except httpx.TimeoutException:
            detail = (
                f"The provider sent no complete response within {self._timeout:g} s "
                f"(SYNCSVC_API_TIMEOUT, {path}). Retry later."
            )
            raise ProviderUnavailable(detail, reason="timeout") from None
        except httpx.RequestError as exc:
            words = " ".join(str(exc).split()).rstrip(".") or type(exc).__name__
            detail = f"The connection to the provider failed ({path}): {words}. Retry later."
            raise ProviderUnavailable(detail, reason="connection") from None
        finally:
            ENDS_AT.reset(token)


def endpoint(path: str, params: Mapping[str, str | int] | None) -> str:
    """
    What a request is for, as metrics name it: numbers, cancelled, search or token.
    """
    if path.startswith("/api/oauth2/"):
        return "token"
    if path.endswith("/cancelled"):
        return "cancelled"
    return "search" if params and "search" in params else "numbers"


def _retry_after(value: str | None) -> float | None:
    """
    Seconds to wait, from a number of them or an HTTP date; a minute at most.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT) if math.isfinite(seconds) else None


def _seconds_until(date: str) -> float:
    try:
        moment = parsedate_to_datetime(date)
        # The oldest of the three forms bears no zone; all of them mean GMT.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    except (ValueError, OverflowError):
        return math.nan


class _BoundedTransport(httpx.HTTPTransport):
    """
    httpx's own transport over connections that keep to the exchange's end.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(**options)
        self._pool._network_backend = _BoundedBackend()  # noqa: SLF001 - httpx passes none on


class _BoundedBackend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the exchange's end decides
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """
        Connect to the first of a host's addresses that answers, within one deadline for all.
        """
        failure: Exception = httpcore.ConnectError("it has no address")
        addresses = _addresses(host, port)
        for tried, address in enumerate(addresses):
            left = _left(httpcore.ConnectTimeout) / (len(addresses) - tried)
            try:
                stream = self._backend.connect_tcp(
                    address, port, left, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
            else:
                return _BoundedStream(stream)
        raise failure


def _addresses(host: str, port: int) -> list[str]:
    """
    What a host's name resolves to, in the system's order of preference.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:  # the latter of a name that is no host's
        raise httpcore.ConnectError(exc) from exc
    return [str(address[0]) for *_, address in found]


class _BoundedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the exchange's end decides
        return self._stream.read(max(max_bytes, READ_AT_ONCE), _left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the exchange's end decides
        self._stream.write(buffer, _left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the exchange's end decides
    ) -> httpcore.NetworkStream:
        left = _left(httpcore.ConnectTimeout)
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore has it
        return self._stream.get_extra_info(info)


def _left(expired: type[Exception]) -> float:
    """
    Seconds until this thread's exchange must have ended.
    """
    left = ENDS_AT.get() - time.monotonic()
    if left <= 0:
        raise expired
    return left
