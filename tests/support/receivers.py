"""
A receiver of webhooks, over a real socket, that keeps what it gets and answers as it is told.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from standardwebhooks import Webhook

from syncsvc.metrics import Metrics
from syncsvc.notify import endpoint_rows, secrets_and_signatures
from syncsvc.notify.deliver import Context, deliver
from syncsvc.notify.endpoint_rows import Endpoint
from syncsvc.settings.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Engine

KEY = "BHlyUF9DXqY3iV8TcXCtMgA0v5AGp-BDn9-KcT0G4eU="
HOOK = "ops"


@dataclass
class Answer:
    """
    What the receiver does with a request.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    wait: float = 0.0  # seconds before the status
    before: Callable[[], object] = lambda: None  # called before the status is sent


@dataclass
class Received:
    """
    One request.
    """

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """
        Its webhook-id.
        """
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        """
        Its body.
        """
        return json.loads(self.body)

    @property
    def type(self) -> str:
        """
        The type of its event.
        """
        return str(self.event["type"])

    @property
    def data(self) -> Any:
        """
        The data of its event.
        """
        return self.event["data"]

    def verified_by(self, secret: str) -> Any:
        """
        Its event, which the library finds to be signed with this secret.
        """
        return Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """
    Serves on loopback while its context lasts.

    Attributes:
        received: What it got, oldest first.
        answers: What it does with the next requests; with the others, what `usual` says.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: deque[Answer] = deque()
        self.usual = Answer()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        """
        Begin to listen.
        """
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Listen no more.
        """
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """
        Where it listens.
        """
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """
        Where events are sent.
        """
        return f"http://127.0.0.1:{self.port}/hook?token=hidden"

    @property
    def types(self) -> list[str]:
        """
        The types of the events that it got.
        """
        return [each.type for each in self.received]

    @property
    def ids(self) -> list[str]:
        """
        The ids of the events that it got.
        """
        return [each.id for each in self.received]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # connections stay open between requests
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                """
                Keep a request, and answer.
                """
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Received(headers, body))
                answer = receiver.answers.popleft() if receiver.answers else receiver.usual
                time.sleep(answer.wait)
                answer.before()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library has it
                """
                Keep still.
                """

        return Handler


class Hooks:
    """
    Endpoints in a database, and deliveries to them.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.settings = Settings(accounts_key=KEY)  # type: ignore[arg-type]  # pydantic wraps it
        self.metrics = Metrics("default")
        self.secrets: dict[str, str] = {}

    def add(self, receiver: Receiver | str, name: str = HOOK, **options: Any) -> Endpoint:
        """
        Add an endpoint at a receiver, or at an address.
        """
        url = receiver if isinstance(receiver, str) else receiver.url
        self.secrets[name] = secrets_and_signatures.new_secret()
        sealed = secrets_and_signatures.seal(self.settings, name, [self.secrets[name]])
        endpoint = Endpoint(name=name, url=url, sealed=sealed, **options)
        with self.engine.begin() as connection:
            endpoint_rows.add(connection, endpoint)
        return endpoint

    def deliver(
        self,
        name: str = HOOK,
        account: str = "default",
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> str | None:
        """
        Deliver what is due; why the last attempt failed, if it did.
        """
        context = Context(
            settings=lambda: self.settings, metrics=self.metrics.notify, is_stopping=is_stopping
        )
        return deliver(self.engine, name, account, context)
