"""
What the worker shows over HTTP: health, metrics, and a page for people.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import structlog
from cheroot import wsgi
from prometheus_client.exposition import choose_encoder
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Response

from syncsvc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from socket import socket
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import CollectorRegistry

    from syncsvc.worker.scheduled_run import Readiness

log = structlog.get_logger(__name__)

THREADS = 12
PATIENCE = 2  # seconds for a client to send its request, and for the server to end
REQUEST_LIMIT = 16 * 2**10  # bytes of a request's head, and of its body
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
        self._registry = registry

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """
        Answer one request.
        """
        response = self._answer(environ)
        response.headers.update(HEADERS)
        return response(environ, start_response)

    def _answer(self, environ: WSGIEnvironment) -> Response:
        try:
            endpoint, _values = ROUTES.bind_to_environ(environ).match()
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
    server = _Server(
        (host, port), application, numthreads=THREADS, server_name="syncsvc", timeout=PATIENCE
    )
    server.max_request_header_size = server.max_request_body_size = REQUEST_LIMIT
    listening: Future[None] = Future()
    _in_background("http", partial(_serve, server, listening))
    try:
        listening.result()
    except OSError as exc:
        raise ConfigurationError(
            f"SYNCSVC_HTTP_HOST, SYNCSVC_HTTP_PORT: can't listen at {host}, port {port} "
            f"({exc.strerror or exc}). Choose another, or 0 as the port for none."
        ) from None
    log.info("http.listening", host=host, port=server.bind_addr[1])
    try:
        yield server.bind_addr[1]
    finally:
        _in_background("http-stop", server.stop).join(PATIENCE)


def _serve(server: _Server, listening: Future[None]) -> None:
    """
    Listen and serve. The server's own threads are daemons like this one: none outlives the worker.
    """
    try:
        server.prepare()
    except Exception as exc:  # noqa: BLE001 - it is raised where the server is waited for
        listening.set_exception(exc)
        return
    listening.set_result(None)
    server.serve()


def _in_background(name: str, call: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=call, name=name, daemon=True)
    thread.start()
    return thread
