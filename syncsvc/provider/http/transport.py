"""
Send one HTTP request within one deadline and one size limit.

There is no `httpx.Client` around it: no cookies, redirects or log lines are
needed, and a client takes as much time per request again as the transport.
"""

from __future__ import annotations

import re
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, cast

import httpcore
import httpx

from syncsvc import __version__
from syncsvc.errors import ProviderUnavailable
from syncsvc.provider.http import http_environment
from syncsvc.provider.http.deadline_network import DeadlineBackend, UnknownHost, deadline
from syncsvc.provider.http.response import Response, read_body
from syncsvc.provider.meter import NoMeter, endpoint
from syncsvc.provider.throttle import Throttle

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    from syncsvc.provider.http.host_breaker import HostBreaker
    from syncsvc.provider.meter import Meter

DEFAULT_HEADERS = {"Accept-Encoding": "gzip", "User-Agent": f"syncsvc/{__version__}"}
KEEPALIVE = 5.0  # seconds for which an idle connection stays open, as httpx's default is
TRANSLATED = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
)
UNREADABLE = "unreadable"  # in place of the status of a response whose body is too large
SERVER_ERROR = 500
ERRNO = re.compile(r"\[Errno -?\d+\] ")


class HttpTransport:
    """
    Connections to one provider. Safe to use from several threads.

    Args:
        base_url: Scheme, host and the path before `/api`.
        timeout: Seconds for one request, to the last byte of the response.
        concurrency: Number of requests, and so of connections, at once.
        meter: Counts every request.
        breaker: Refuses requests while the host is down.

    Raises:
        ConfigurationError: A proxy or certificate variable of the environment can't be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float,
        concurrency: int,
        meter: Meter | None = None,
        breaker: HostBreaker | None = None,
    ) -> None:
        self.concurrency = concurrency
        self.meter = meter or NoMeter()
        self._breaker = breaker
        self._base_url = base_url
        self._timeout = timeout
        self._proxy = http_environment.proxy_for(base_url)
        self._proxy_variable = http_environment.proxy_variable(base_url)
        self._transport = DeadlineTransport(
            http_environment.tls_context(), self._proxy, concurrency
        )

    def close(self) -> None:
        """
        Close every connection.
        """
        self._transport.close()

    def new_throttle(self) -> Throttle:
        """
        Return a throttle for as many requests at once as there are connections.
        """
        return Throttle(self.concurrency)

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str | int] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> Response:
        """
        Send one request and read the whole response, whatever its status.

        Raises:
            ProviderUnavailable: The connection failed, or the response took too long.
            HostDown: The breaker refused the request.
            ProviderRefused: The body is too large.
        """
        if self._breaker is not None:
            self._breaker.admit()
        began_at, status = time.monotonic(), UNREADABLE
        request = httpx.Request(
            method,
            self._base_url + path,
            params=params,
            data=data,
            headers={**DEFAULT_HEADERS, **headers},
            # httpcore itself waits for a free connection; the backend has the deadline.
            extensions={"timeout": {"pool": self._timeout}},
        )
        try:
            response = self._exchange(request, path)
        except ProviderUnavailable as exc:
            status = exc.reason
            raise
        else:
            status = str(response.status)
            return response
        finally:
            self.meter.requested(endpoint(path, params), status, time.monotonic() - began_at)
            if self._breaker is not None:
                self._breaker.record(answered=_is_answer(status))

    def _exchange(self, request: httpx.Request, path: str) -> Response:
        try:
            with (
                deadline(self._timeout),
                closing(self._transport.handle_request(request)) as response,
            ):
                return Response(response.status_code, response.headers, read_body(response, path))
        except httpx.TimeoutException:
            raise ProviderUnavailable(
                f"The provider sent no complete response within {self._timeout:g} s "
                f"(SYNCSVC_API_TIMEOUT, {path}). Retry later.",
                reason="timeout",
            ) from None
        except (httpx.RequestError, UnknownHost) as exc:
            raise ProviderUnavailable(
                self._what_failed(exc, request.url.host, path), reason="connection"
            ) from None

    def _what_failed(self, exc: Exception, host: str, path: str) -> str:
        """
        Return the message for a request without a response, with the proxy if there is one.
        """
        target, settings = host, "SYNCSVC_API_URL"
        if self._proxy is not None:
            target += f" through the proxy {self._proxy.url.netloc.decode()}"
            settings += f", {self._proxy_variable}"
        if isinstance(exc, UnknownHost):
            wanted, setting = (
                (self._proxy.url.host, self._proxy_variable) if self._proxy else (host, settings)
            )
            return f"Can't find the host {wanted} ({setting}). Check its name, or retry later."
        words = ERRNO.sub("", " ".join(str(exc).split())).rstrip(".") or type(exc).__name__
        if isinstance(exc, httpx.DecodingError):
            return f"The response body can't be read ({path}): {words}. Retry later."
        return f"The connection to {target} ({settings}, {path}) failed: {words}. Retry later."


def _is_answer(status: str) -> bool:
    """
    Return whether a request's status is that of a host that is up: unreadable is a large body.
    """
    return status == UNREADABLE or (status.isdecimal() and int(status) < SERVER_ERROR)


class DeadlineTransport(httpx.BaseTransport):
    """
    A transport over httpcore's connection pool, as httpx's own is, with our network backend.

    httpx's own has no option for the backend. Requests are sent within `network.deadline`.

    Args:
        connections: How many there may be at once.
        is_allowed: Which addresses may be connected to; the proxy's, if there is one.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
        connections: int,
        is_allowed: Callable[[str], bool] = lambda _address: True,
    ) -> None:
        self._backend = DeadlineBackend(is_allowed)
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            proxy=_httpcore_proxy(proxy) if proxy else None,
            max_connections=connections,
            keepalive_expiry=KEEPALIVE,
            network_backend=self._backend,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """
        Send a request; its response has still to be read, and closed.
        """
        with _httpx_errors():
            response = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    _httpcore_url(request.url),
                    headers=request.headers.raw,
                    content=cast("httpx.SyncByteStream", request.stream),
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Stream(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """
        Close every connection.
        """
        self._pool.close()
        self._backend.close()


class _Stream(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """
    Raise httpcore's errors as httpx's, which have the same names.
    """
    try:
        yield
    except TRANSLATED as exc:
        raise getattr(httpx, type(exc).__name__)(str(exc)) from exc


def _httpcore_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


def _httpcore_proxy(proxy: httpx.Proxy) -> httpcore.Proxy:
    return httpcore.Proxy(
        _httpcore_url(proxy.url), proxy.raw_auth, proxy.headers.raw, proxy.ssl_context
    )
