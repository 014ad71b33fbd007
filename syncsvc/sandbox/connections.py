"""
HTTP/1.1 for the simulated provider and receiver, on connections that stay open.
"""

from __future__ import annotations

import io
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed.wsgi import WSGIApplication

POLL_SECONDS = 0.02
JOIN_SECONDS = 5
BODILESS = (204, 304)  # statuses whose responses end with the head


class OpenConnections:
    """
    The open connections, so that none outlives the server.
    """

    def __init__(self) -> None:
        self.end = threading.Event()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()

    def enter(self, connection: socket.socket) -> None:
        """
        Register a connection, served by the current thread.
        """
        with self._lock:
            self._open[threading.current_thread()] = connection
            if self.end.is_set():
                hang_up(connection)

    def leave(self) -> None:
        """
        Forget the connection of the current thread.
        """
        with self._lock:
            self._open.pop(threading.current_thread(), None)

    def close(self) -> None:
        """
        End every connection, and wait for the threads that serve them.
        """
        self.end.set()
        with self._lock:
            for connection in self._open.values():
                hang_up(connection)
            threads = list(self._open)
        for thread in threads:
            thread.join(JOIN_SECONDS)


def hang_up(connection: socket.socket) -> None:
    """
    Stop a connection in both directions; the thread that serves it closes it.
    """
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class ConnectionHandler(WSGIRequestHandler):
    """
    HTTP/1.1 on one connection, kept open between requests and logging nothing.

    It closes the connection after a response shorter than its Content-Length.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    lines: OpenConnections

    def setup(self) -> None:
        """
        Register the connection.
        """
        self.lines.enter(self.request)
        super().setup()

    def finish(self) -> None:
        """
        Forget the connection.
        """
        super().finish()
        self.lines.leave()

    def run_wsgi(self) -> None:
        """
        Answer one request.
        """
        environ = self.make_environ()
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(self.rfile.read(length))
        response = Response.from_app(self.server.app, environ)
        has_body = response.status_code not in BODILESS
        self._send_head(response, has_body=has_body)
        size = response.headers.get("Content-Length")
        if not has_body:
            return
        if size is None:
            self._send_chunked(response.iter_encoded())
        else:
            self._send_plain(response.iter_encoded(), int(size))

    def _send_head(self, response: Response, *, has_body: bool) -> None:
        self.send_response(response.status_code)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if has_body and "Content-Length" not in response.headers:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _send_plain(self, body: Iterator[bytes], length: int) -> None:
        for chunk in body:
            self.wfile.write(chunk)
            length -= len(chunk)
        if length:
            self.close_connection = True

    def _send_chunked(self, body: Iterator[bytes]) -> None:
        for chunk in body:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def log(self, *_args: object, **_more: object) -> None:
        """
        Log nothing.
        """

    def log_request(self, *_args: object, **_more: object) -> None:
        """
        Log nothing.
        """


def handler_for(lines: OpenConnections) -> type[ConnectionHandler]:
    """
    Return a handler that registers its connections here.
    """
    fields: dict[str, Any] = {"lines": lines}
    return type("ConnectionHandler", (ConnectionHandler,), fields)


class LocalServer:
    """
    Serve an application over HTTP, each connection in a thread of its own.
    """

    def __init__(
        self, application: WSGIApplication, host: str, port: int, lines: OpenConnections
    ) -> None:
        self._application = application
        self._address = (host, port)
        self._lines = lines

    def start(self) -> str:
        """
        Listen; return the URL, without a path.

        Raises:
            OSError: It can't listen there.
        """
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family, backlog=128) as listener:
            self._server = make_server(
                host,
                port,
                self._application,
                threaded=True,
                request_handler=handler_for(self._lines),
                fd=listener.fileno(),
            )
        serving = lambda: self._server.serve_forever(POLL_SECONDS)  # noqa: E731
        self._thread = threading.Thread(target=serving, daemon=True)
        self._thread.start()
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self._server.port}"

    def stop(self) -> None:
        """
        Listen no more, and end every connection.
        """
        self._server.shutdown()
        self._lines.close()
        self._thread.join()
