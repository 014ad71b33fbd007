"""
The worker's HTTP endpoints: health, metrics and the status page.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import msgspec
import structlog
from prometheus_client.exposition import choose_encoder
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
)
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from syncsvc.errors import ConfigurationError
from syncsvc.output.templating import content_security_policy
from syncsvc.settings.values import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import CollectorRegistry

log = structlog.get_logger(__name__)

TIMEOUT = 2  # seconds without a byte from a client, and for the server to stop
LIFETIME = 10  # seconds for a client to send a request, however often it sends a byte
BACKLOG = 128  # connections that wait to be accepted
LIMITS: dict[str, Any] = {
    "threads": 4,
    "connection_limit": 500,  # half of the usual limit of open files
    "channel_timeout": TIMEOUT,
    "cleanup_interval": 1,  # seconds between looks for clients that are too slow
    "max_request_header_size": 16 * 2**10,
    "max_request_body_size": 16 * 2**10,
    "asyncore_use_poll": True,
    "ident": "syncsvc",
}
ENDPOINTS = ("livez", "readyz", "metrics")
HtmlPage = Callable[[Mapping[str, str]], str | None]  # of the path's and the query's values
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": content_security_policy(
        style_src="'unsafe-inline'", frame_ancestors="'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Readiness(Protocol):
    """
    The response of `/readyz`.
    """

    @property
    def ready(self) -> bool:
        """
        Return whether the worker is ready.
        """


class Pages:
    """
    The WSGI application of the endpoints.

    Args:
        is_progressing: Returns whether the worker makes progress.
        readiness: Returns whether the worker and its database are ready.
        registry: The metrics.
        status: Renders the status page as HTML.
        further: Further pages by the rule of their path; one that returns None does not exist.
        hosts: The names in `Host` that are answered; all if there is none.
    """

    def __init__(
        self,
        *,
        is_progressing: Callable[[], bool],
        readiness: Callable[[], Readiness],
        registry: CollectorRegistry,
        status: Callable[[], str],
        further: Mapping[str, HtmlPage] | None = None,
        hosts: Sequence[str] = (),
    ) -> None:
        self._is_progressing = is_progressing
        self._readiness = readiness
        self._html: dict[str, HtmlPage] = {"/": lambda _: status(), **(further or {})}
        rules = {**{f"/{path}": path for path in ENDPOINTS}, **{path: path for path in self._html}}
        self._routes = Map(
            [Rule(rule, methods=["GET"], endpoint=endpoint) for rule, endpoint in rules.items()]
        )
        self._registry = registry
        self._hosts = hosts

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """
        Answer one request.
        """
        try:
            response = self._answer(environ)
        except Exception:  # a bug in a page
            log.exception("http.error", path=environ.get("PATH_INFO"))
            response = _as_response(InternalServerError())
        response.headers.update(HEADERS)
        return response(environ, start_response)

    def _answer(self, environ: WSGIEnvironment) -> Response:
        if not self._is_known(environ.get("HTTP_HOST", "")):
            return _as_response(BadRequest())
        try:
            endpoint, values = self._routes.bind_to_environ(environ).match()
        except HTTPException as exc:
            return _as_response(exc)
        match endpoint:
            case "metrics":
                encode, kind = choose_encoder(environ.get("HTTP_ACCEPT", ""))
                return Response(encode(self._registry), content_type=kind)
            case "livez":
                return self._liveness()
            case "readyz":
                readiness = self._readiness()
                return _json(readiness, 200 if readiness.ready else 503)
            case _:
                asked = Request(environ).args.to_dict()
                return _page(self._html[endpoint]({**asked, **values}))

    def _is_known(self, host: str) -> bool:
        """
        Refuse names that a foreign page may have made this machine's own, by DNS rebinding.
        """
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            name = host
        return not self._hosts or not name or name in self._hosts

    def _liveness(self) -> Response:
        alive = self._is_progressing()
        problems = [] if alive else ["A run, or the schedule, is stuck: it is long overdue."]
        return _json({"alive": alive, "problems": problems}, 200 if alive else 503)


def own_names(host: str) -> tuple[str, ...]:
    """
    Return the names of a host that is this machine's loopback; none for another host.
    """
    if not is_loopback(f"//[{host}]" if ":" in host else f"//{host}"):
        return ()
    return (host.lower(), "localhost", "127.0.0.1", "::1")


def _page(html: str | None) -> Response:
    return _as_response(NotFound()) if html is None else Response(html, mimetype="text/html")


def _as_response(exc: HTTPException) -> Response:
    response = Response(f"{exc.name}.\n", status=exc.code, mimetype="text/plain")
    if isinstance(exc, MethodNotAllowed):
        response.headers["Allow"] = "GET, HEAD"
    return response


def _json(value: object, status: int) -> Response:
    return Response(msgspec.json.encode(value), status=status, mimetype="application/json")


class _Server(TcpWSGIServer):  # type: ignore[misc] # it has no type hints
    """
    A server whose threads see whole requests only: slow clients wait in its loop.
    """

    def maintenance(self, now: float) -> None:
        """
        Close idle connections, and those that take too long to send a request, byte by byte.
        """
        super().maintenance(now)
        for channel in self.active_channels.values():
            if not channel.requests and now - channel.creation_time > LIFETIME:
                channel.will_close = True


@contextmanager
def serving(application: WSGIApplication, host: str, port: int) -> Iterator[int]:
    """
    Serve an application from a thread of its own; the value is the port.

    Raises:
        ConfigurationError: The address is not available.
    """
    try:
        listener = _listener(host, port)
    except OSError as exc:
        raise ConfigurationError(
            f"SYNCSVC_HTTP_HOST, SYNCSVC_HTTP_PORT: can't listen at {host}, port {port} "
            f"({_reason(exc)}). Choose another, or turn the endpoints off with port 0."
        ) from None
    options = Adjustments(sockets=[listener], **LIMITS)
    address = (listener.family, listener.type, listener.proto, listener.getsockname())
    server = _Server(application, _sock=listener, adj=options, sockinfo=address, bind_socket=False)
    thread = threading.Thread(target=server.run, name="http", daemon=True)
    thread.start()
    log.info("http.listening", host=host, port=server.effective_port)
    try:
        yield server.effective_port
    finally:
        server.trigger.pull_trigger(partial(_stop, server))
        thread.join(TIMEOUT)


def _listener(host: str, port: int) -> socket.socket:
    """
    Listen at the first address of this host that is available.
    """
    problem = OSError(f"no address of {host}")
    for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        every = ipaddress.ip_address(address[0]) == ipaddress.IPv6Address("::")
        try:
            return socket.create_server(
                (str(address[0]), port), family=family, backlog=BACKLOG, dualstack_ipv6=every
            )
        except OSError as exc:
            problem = exc
    raise problem


def _reason(exc: OSError) -> str:
    """
    Return the system's words, without the address that Python adds.
    """
    if exc.errno is None or isinstance(exc, socket.gaierror):
        return exc.strerror or str(exc)
    return os.strerror(exc.errno)


def _stop(server: _Server) -> None:
    """
    End the server's loop, from within. Its threads are daemons: none outlives the worker.
    """
    server.task_dispatcher.set_thread_count(0)
    wasyncore.close_all(server._map)  # noqa: SLF001 - as waitress's own MultiSocketServer does
