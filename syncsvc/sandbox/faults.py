"""
Faults that the simulated provider injects: each replaces a proper response or alters it.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self, get_args, get_origin, get_type_hints

from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

JSON = "application/json"
ENDLESS_CHUNK = b" " * 65536
ENDLESS_CHUNKS = 16384  # 1 GiB in all

Kind = Literal["status", "delay", "cut", "reset", "html", "body", "drip", "endless", "timeout"]
Endpoint = Literal["numbers", "cancelled", "search", "token", "any"]


def check_choices(instance: object) -> None:
    """
    Refuse a value that its field's type does not name.

    Raises:
        ValueError: With the field and its valid values.
    """
    for name, hint in get_type_hints(type(instance)).items():
        value = getattr(instance, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ValueError(f"unknown {name} {value!r}; use one of {', '.join(get_args(hint))}")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    One fault, for some requests.
    """

    kind: Kind
    endpoint: Endpoint = "any"
    status: int = 500  # of status, html and body
    retry_after: str | None = None  # of status, html and body
    location: str | None = None  # of status, html and body
    seconds: float = 0.0  # of delay and timeout in all, of drip for each byte
    body: bytes = b""  # of body
    skip: int = 0  # let this many matching requests pass first
    times: int = 1

    def __post_init__(self) -> None:
        check_choices(self)

    @classmethod
    def from_order(cls, order: Mapping[str, Any]) -> Self:
        """
        Read a fault from JSON, in which its body is text.

        Raises:
            TypeError: A field is unknown.
            ValueError: A field has no valid value.
        """
        return cls(**{**order, "body": str(order.get("body", "")).encode()})

    def as_order(self) -> dict[str, Any]:
        """
        Return the fault as JSON, in which its body is text.
        """
        return {**asdict(self), "body": self.body.decode(errors="replace")}

    def concerns(self, endpoint: str) -> bool:
        """
        Return whether the fault applies to requests to this endpoint.
        """
        return self.endpoint in ("any", endpoint)


class Pending:
    """
    The faults still to come, each with its own count of matching requests.
    """

    def __init__(self) -> None:
        self._left: list[tuple[Fault, int, int]] = []
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        """
        Add these faults.
        """
        with self._lock:
            self._left.extend((fault, fault.skip, fault.times) for fault in faults)

    def clear(self) -> None:
        """
        Forget all faults.
        """
        with self._lock:
            self._left.clear()

    def left(self) -> list[Fault]:
        """
        Return the faults still to come, with what is left of `skip` and `times`.
        """
        with self._lock:
            return [replace(fault, skip=skip, times=times) for fault, skip, times in self._left]

    def due(self, endpoint: str) -> Fault | None:
        """
        Take the first fault that is due for this request; it counts for the others' skips, too.
        """
        due = None
        left = []
        with self._lock:
            for fault, skip, times in self._left:
                here = fault.concerns(endpoint) and times > 0
                if here and skip:
                    left.append((fault, skip - 1, times))
                elif here and due is None:
                    due = fault
                    left.append((fault, 0, times - 1))
                else:
                    left.append((fault, skip, times))
            self._left = [each for each in left if each[2] > 0]
        return due


def problem(status: int, message: str) -> Response:
    """
    Return an error response as JSON.
    """
    return Response(json.dumps({"error": message}), status=status, content_type=JSON)


def faulty(
    fault: Fault, answer: Callable[[], Response], connection: socket.socket, end: threading.Event
) -> Response:
    """
    Return the fault's response, which replaces the proper one or alters it.

    Raises:
        ConnectionError: There is no response; the connection has to be closed.
    """
    match fault.kind:
        case "status" | "html" | "body":
            return _instead(fault)
        case "delay":
            end.wait(fault.seconds)
            return answer()
        case "cut":
            return _cut(answer())
        case "drip":
            return _dripping(answer(), fault.seconds, end)
        case "endless":
            return Response(_without_end(end), content_type=JSON)
        case "reset":
            reset(connection)
        case "timeout":
            end.wait(fault.seconds)
    raise ConnectionAbortedError


def reset(connection: socket.socket) -> None:
    """
    Close a connection so that the other side sees it reset.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())


def _instead(fault: Fault) -> Response:
    headers = {"Retry-After": fault.retry_after, "Location": fault.location}
    if fault.kind == "status":
        response = problem(fault.status, "injected")
    elif fault.kind == "body":
        response = Response(fault.body, status=fault.status, content_type=JSON)
    else:
        page = f"<!DOCTYPE html><html><body><h1>{fault.status} Proxy error</h1></body></html>"
        response = Response(page, status=fault.status, content_type="text/html; charset=utf-8")
    response.headers.update({name: value for name, value in headers.items() if value is not None})
    return response


def _streamed(response: Response, body: Iterator[bytes]) -> Response:
    headers = response.headers.copy()
    headers["Content-Length"] = str(len(response.get_data()))
    return Response(body, status=response.status_code, headers=headers)


def _cut(response: Response) -> Response:
    data = response.get_data()
    return _streamed(response, iter([data[: len(data) // 2]]))


def _dripping(response: Response, seconds: float, end: threading.Event) -> Response:
    data = response.get_data()

    def drops() -> Iterator[bytes]:
        for place in range(len(data)):
            if end.wait(seconds):
                return
            yield data[place : place + 1]

    return _streamed(response, drops())


def _without_end(end: threading.Event) -> Iterator[bytes]:
    yield b'{"numbers": ['
    for _ in range(ENDLESS_CHUNKS):
        if end.is_set():
            return
        yield ENDLESS_CHUNK
