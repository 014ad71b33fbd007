"""
The worker's HTTP endpoints: health, metrics and the status page.
"""

from __future__ import annotations

import re
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
from syncsvc.output.templating import content_security_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from socket import socket
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import CollectorRegistry

    from syncsvc.worker.scheduled_run import Readiness

log = structlog.get_logger(__name__)

THREADS = 12
TIMEOUT = 2  # seconds for a client to send its request, and for the server to stop
REQUEST_LIMIT = 16 * 2**10  # bytes of a request's head, and of its body
ROUTES = Map(
    [Rule(f"/{path}", methods=["GET"], endpoint=path) for path in ("livez", "readyz", "metrics")]
    + [Rule("/", methods=["GET"], endpoint="status")]
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": content_security_policy(
        style_src="'unsafe-inline'", frame_ancestors="'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Pages:
    """
    The WSGI application of the endpoints.

    Args:
        is_progressing: Returns whether the worker makes progress.
        readiness: Returns whether the worker and its database are ready.
        registry: The metrics.
        status: Renders the status page as HTML.
    """

    def __init__(
        self,
        *,
        is_progressing: Callable[[], bool],
        readiness: Callable[[], Readiness],
        registry: CollectorRegistry,
        status: Callable[[], str],
    ) -> None:
        self._is_progressing = is_progressing
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
        alive = self._is_progressing()
        problems = [] if alive else ["A run, or the schedule, is stuck: it is long overdue."]
        return _json({"alive": alive, "problems": problems}, 200 if alive else 503)


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
        Bind as cheroot does, but close the socket if that fails.
        """
        try:
            socket_.bind(bind_addr)
        except OSError:
            socket_.close()
            raise
        return socket_

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:  # noqa: FBT001, FBT002 - as cheroot has it
        """
        Log an error in a request as the service logs everything else.
        """
        log.log(level, "http.error", detail=msg.strip(), exc_info=traceback)


@contextmanager
def serving(application: WSGIApplication, host: str, port: int) -> Iterator[int]:
    """
    Serve an application from a thread of its own; the value is the port.

    Raises:
        ConfigurationError: The address is not available.
    """
    server = _Server(
        (host, port), application, numthreads=THREADS, server_name="syncsvc", timeout=TIMEOUT
    )
    server.max_request_header_size = server.max_request_body_size = REQUEST_LIMIT
    listening: Future[None] = Future()
    _in_background("http", partial(_serve, server, listening))
    try:
        listening.result()
    except OSError as exc:
        raise ConfigurationError(
            f"SYNCSVC_HTTP_HOST, SYNCSVC_HTTP_PORT: can't listen at {host}, port {port} "
            f"({_reason(exc)}). Choose another, or turn the endpoints off with port 0."
        ) from None
    log.info("http.listening", host=host, port=server.bind_addr[1])
    try:
        yield server.bind_addr[1]
    finally:
        _in_background("http-stop", server.stop).join(TIMEOUT)


def _reason(exc: OSError) -> str:
    """
    Return the system's words from cheroot's list of the addresses that it tried.
    """
    tried = re.findall(r"\[Errno -?\d+\] ([^()]+)", str(exc))
    return tried[-1] if tried else exc.strerror or str(exc)


def _serve(server: _Server, listening: Future[None]) -> None:
    """
    Listen and serve. Like this thread the server's own ones are daemons: none outlives the worker.
    """
    try:
        server.prepare()
    except Exception as exc:  # noqa: BLE001 - whoever waits for the server raises it
        listening.set_exception(exc)
        return
    listening.set_result(None)
    server.serve()


def _in_background(name: str, call: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=call, name=name, daemon=True)
    thread.start()
    return thread
