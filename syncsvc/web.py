"""
What the worker shows over HTTP: health, metrics, and a page for people.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import structlog
from cheroot import wsgi
from prometheus_client import make_wsgi_app
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Response

from syncsvc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from socket import socket
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import CollectorRegistry

    from syncsvc.duty import Readiness

log = structlog.get_logger(__name__)

THREADS = 6
ROUTES = Map(
    [Rule(f"/{path}", methods=["GET"], endpoint=path) for path in ("livez", "readyz", "metrics")]
    + [Rule("/", methods=["GET"], endpoint="status")]
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Pages:
    """
    The WSGI application, over whatever it is given to ask.

    Args:
        turns: Whether the worker makes progress.
        readiness: Whether the tables can be relied on.
        registry: The metrics.
        status: The page for people, as HTML.
    """

    def __init__(
        self,
        *,
        turns: Callable[[], bool],
        readiness: Callable[[], Readiness],
        registry: CollectorRegistry,
        status: Callable[[], str],
    ) -> None:
        self._turns = turns
        self._readiness = readiness
        self._status = status
        self._metrics: WSGIApplication = make_wsgi_app(registry)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """
        Answer one request.
        """
        response = self._answer(environ)
        if not isinstance(response, Response):
            return response(environ, start_response)
        response.headers.update(HEADERS)
        return response(environ, start_response)

    def _answer(self, environ: WSGIEnvironment) -> WSGIApplication:
        try:
            endpoint, _values = ROUTES.bind_to_environ(environ).match()
        except HTTPException as exc:
            return _as_response(exc)
        match endpoint:
            case "metrics":
                return self._metrics
            case "livez":
                return self._liveness()
            case "readyz":
                readiness = self._readiness()
                return _json(readiness, 200 if readiness.ready else 503)
            case _:
                return Response(self._status(), mimetype="text/html")

    def _liveness(self) -> Response:
        turns = self._turns()
        problems = [] if turns else ["A run, or the schedule, is stuck: it is long overdue."]
        return _json({"alive": turns, "problems": problems}, 200 if turns else 503)


def _as_response(exc: HTTPException) -> Response:
    response = Response(f"{exc.name}.\n", status=exc.code, mimetype="text/plain")
    if isinstance(exc, MethodNotAllowed):
        response.headers["Allow"] = "GET, HEAD"
    return response


def _json(value: object, status: int) -> Response:
    return Response(msgspec.json.encode(value), status=status, mimetype="application/json")


class _Server(wsgi.Server):
    @staticmethod
    def bind_socket(socket_: socket, bind_addr: tuple[str, int]) -> socket:
        """
        Bind as cheroot does, but leave no open socket behind where that fails.
        """
        try:
            socket_.bind(bind_addr)
        except OSError:
            socket_.close()
            raise
        return socket_

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:  # noqa: FBT001, FBT002 - as cheroot has it
        """
        Send what goes wrong in a request through the pipeline of all logs.
        """
        log.log(level, "http.error", detail=msg.strip(), exc_info=traceback)


@contextmanager
def served(application: WSGIApplication, host: str, port: int) -> Iterator[int]:
    """
    Serve an application from a thread of its own; gives the port.

    Raises:
        ConfigurationError: The address can't be had.
    """
    server = _Server((host, port), application, numthreads=THREADS, server_name="syncsvc")
    try:
        server.prepare()
    except OSError as exc:
        raise ConfigurationError(
            f"SYNCSVC_HTTP_HOST, SYNCSVC_HTTP_PORT: can't listen at {host}, port {port} "
            f"({exc.strerror or exc}). Choose another, or 0 as the port for none."
        ) from None
    thread = threading.Thread(target=server.serve, name="http", daemon=True)
    thread.start()
    log.info("http.listening", host=host, port=server.bind_addr[1])
    try:
        yield server.bind_addr[1]
    finally:
        server.stop()
        thread.join()
