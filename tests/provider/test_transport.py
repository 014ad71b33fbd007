"""
One HTTP request with its limits, over real sockets.
"""

from __future__ import annotations

import gzip
import re
import socket
import ssl
import threading
import time
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.errors import ProviderRefused, ProviderUnavailable
from syncsvc.provider.http.deadline_network import deadline
from syncsvc.provider.http.response import BODY_LIMIT, Response
from syncsvc.provider.http.transport import TRANSLATED, DeadlineTransport, HttpTransport
from syncsvc.sandbox import ACCEPT, Fault, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATH = "/api/numbers"
HEADERS = {"Accept": ACCEPT, "Authorization": "Bearer the-secret"}
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


def serving(talk: Callable[[socket.socket], None]) -> AbstractContextManager[str]:
    """
    A server that calls `talk` on each connection, once it has read the request.
    """
    return talking(lambda connection, _head: talk(connection))


@contextmanager
def talking(talk: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """
    A server that calls `talk` with each connection and the request read from it.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _address = listener.accept()
                except OSError:
                    return
                with connection:
                    head = connection.recv(65536)
                    try:
                        talk(connection, head)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@contextmanager
def transport_to(
    url: str, *, timeout: float = 5.0, concurrency: int = 4
) -> Iterator[HttpTransport]:
    """
    A transport that is closed at the end.
    """
    transport = HttpTransport(url, timeout=timeout, concurrency=concurrency)
    yield transport
    transport.close()


def sent_at_once(*parts: bytes) -> Callable[[socket.socket], None]:
    """
    Return a `talk` that sends these bytes.
    """
    return lambda connection: connection.sendall(b"".join(parts))


def dripping(data: bytes) -> Callable[[socket.socket], None]:
    """
    Return a `talk` that sends one byte every 20 ms, each well within the timeout.
    """

    def talk(connection: socket.socket) -> None:
        for place in range(len(data)):
            connection.sendall(data[place : place + 1])
            time.sleep(0.02)

    return talk


def body(data: bytes, encoding: str) -> bytes:
    """
    The rest of a response whose body has this Content-Encoding.
    """
    return b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        encoding.encode(),
        len(data),
        data,
    )


def test_a_response_is_returned_whole(sandbox: Sandbox) -> None:
    """
    Status, headers and body are those that were sent, whatever the status.
    """
    sandbox.inject(Fault(kind="body", body=b"whatever", status=418, retry_after="7"))

    with transport_to(sandbox.url) as transport:
        response = transport.send("GET", PATH, headers=HEADERS)

    assert (response.status, response.body, response.headers["retry-after"]) == (
        418,
        b"whatever",
        "7",
    )


def test_a_request_has_its_headers_and_parameters(sandbox: Sandbox) -> None:
    """
    Headers and parameters reach the provider unchanged.
    """
    with transport_to(sandbox.url) as transport:
        transport.send("GET", PATH, headers=HEADERS, params={"page": 2})

    (request,) = sandbox.requests
    assert (request.method, request.path, request.query) == ("GET", PATH, {"page": "2"})
    assert HEADERS["Authorization"] == request.authorization


def test_a_path_before_the_api_is_kept(sandbox: Sandbox) -> None:
    """
    A reseller's base address may have a path of its own.
    """
    with transport_to(f"{sandbox.url}/api/reseller") as transport:
        transport.send("GET", PATH, headers=HEADERS)

    assert [request.path for request in sandbox.requests] == ["/api/reseller/api/numbers"]


def test_connections_are_kept_open_between_requests() -> None:
    """
    A second request uses the connection of the first.
    """
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    connections = []

    def talk(connection: socket.socket) -> None:
        connections.append(connection)
        connection.sendall(response)
        while connection.recv(65536):
            connection.sendall(response)

    with serving(talk) as url, transport_to(url) as transport:
        bodies = [transport.send("GET", PATH, headers={}).body for _ in range(3)]

    assert bodies == [b"{}"] * 3
    assert len(connections) == 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(OK + b"X-Slow: " + b"x" * 500 + b"\r\n\r\n", id="headers"),
        pytest.param(OK + b"Content-Length: 500\r\n\r\n" + b" " * 500, id="body"),
    ],
)
def test_a_response_byte_by_byte_ends_at_the_timeout(data: bytes) -> None:
    """
    The timeout limits headers and body together, however often a byte arrives.
    """
    with serving(dripping(data)) as url, transport_to(url, timeout=0.3) as transport:
        began_at = time.monotonic()
        with pytest.raises(ProviderUnavailable, match="SYNCSVC_API_TIMEOUT") as caught:
            transport.send("GET", PATH, headers={})
        took = time.monotonic() - began_at

    assert caught.value.reason == "timeout"
    assert 0.25 < took < 1.0


def test_headers_and_body_share_one_timeout() -> None:
    """
    The time that the headers took is not available to the body.
    """

    def talk(connection: socket.socket) -> None:
        time.sleep(0.25)
        connection.sendall(OK + b"Content-Length: 2\r\n\r\n{")
        time.sleep(0.25)
        connection.sendall(b"}")

    with (
        serving(talk) as url,
        transport_to(url, timeout=0.4) as transport,
        pytest.raises(ProviderUnavailable) as caught,
    ):
        transport.send("GET", PATH, headers={})

    assert caught.value.reason == "timeout"


def test_no_response_is_a_timeout(sandbox: Sandbox) -> None:
    """
    A provider that sends nothing at all is given up after the timeout.
    """
    sandbox.inject(Fault(kind="timeout", seconds=5))

    with (
        transport_to(sandbox.url, timeout=0.2) as transport,
        pytest.raises(ProviderUnavailable, match=r"no complete response within 0\.2 s") as caught,
    ):
        transport.send("GET", PATH, headers=HEADERS)

    assert caught.value.reason == "timeout"


def give_up(transport: HttpTransport) -> None:
    """
    Send a request that fails.
    """
    with pytest.raises(ProviderUnavailable):
        transport.send("GET", PATH, headers={})


def test_the_wait_for_a_free_connection_counts() -> None:
    """
    A request that gets no free connection within its timeout fails like any other.
    """
    release = threading.Event()

    def talk(connection: socket.socket) -> None:
        release.wait(5)
        connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}")

    with serving(talk) as url, transport_to(url, timeout=0.3, concurrency=1) as transport:
        first = threading.Thread(target=give_up, args=(transport,))
        first.start()
        began_at = time.monotonic()
        with pytest.raises(ProviderUnavailable) as caught:
            transport.send("GET", PATH, headers={})
        took = time.monotonic() - began_at
        first.join()
        release.set()

    assert caught.value.reason == "timeout"
    assert took < 0.6


def test_all_addresses_of_a_host_share_one_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A host with several addresses that don't respond takes no longer than one.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        port = deaf.getsockname()[1]
        entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:  # fill the queue, so that the next one is not even accepted
            each.settimeout(0)
            each.connect_ex(("127.0.0.1", port))

        def resolve(host: str, *_args: object, **_options: object) -> list[Any]:
            return [entry] * (1 if host == "127.0.0.1" else 4)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with transport_to(f"http://many.test:{port}", timeout=0.4) as transport:
            began_at = time.monotonic()
            with pytest.raises(ProviderUnavailable) as caught:
                transport.send("GET", PATH, headers={})
            took = time.monotonic() - began_at
        for each in waiting:
            each.close()

    assert caught.value.reason == "timeout"
    assert 0.3 < took < 0.8


def test_the_next_address_is_tried_if_one_is_closed(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A host is reached by any of its addresses that accepts.
    """
    real = socket.getaddrinfo

    def resolve(host: str, *args: Any, **options: Any) -> list[Any]:
        hosts = ["::1", "127.0.0.1"] if host == "two.test" else [host]
        return [entry for each in hosts for entry in real(each, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = sandbox.url.replace("127.0.0.1", "two.test")

    with transport_to(url) as transport:
        response = transport.send("GET", PATH, headers=HEADERS)

    assert response.status == 401


def test_a_connection_that_is_made_while_all_are_closed_is_closed_too() -> None:
    """
    A run that fails closes its connections while other threads connect: none of them stays open.
    """

    def close_meanwhile(_address: str) -> bool:
        transport.close()
        return True

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transport = DeadlineTransport(tls, None, 1, close_meanwhile)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(httpx.ConnectError, match="have been closed"), deadline(5):
            transport.handle_request(httpx.Request("GET", url))
        accepted, _address = server.accept()
        with accepted:
            accepted.settimeout(5)
            assert accepted.recv(1) == b""


@pytest.mark.parametrize(
    "fault", [Fault(kind="reset"), Fault(kind="timeout"), Fault(kind="cut")], ids=lambda f: f.kind
)
def test_a_connection_that_breaks_is_unavailable(sandbox: Sandbox, fault: Fault) -> None:
    """
    Resets, closed connections and truncated bodies are connection failures, in one sentence.
    """
    sandbox.inject(fault)

    with (
        transport_to(sandbox.url) as transport,
        pytest.raises(ProviderUnavailable, match=PATH) as caught,
    ):
        transport.send("GET", PATH, headers=HEADERS)

    assert (caught.value.reason, caught.value.retry_after) == ("connection", None)
    assert re.search(r"[^.]\.$", str(caught.value))


def closed_port() -> int:
    """
    A port on which nothing listens.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def failure_of(url: str) -> str:
    """
    The message of a request that fails at the connection.
    """
    with transport_to(url) as transport, pytest.raises(ProviderUnavailable) as caught:
        transport.send("GET", PATH, headers=HEADERS)
    assert caught.value.reason == "connection"
    return str(caught.value)


def test_a_refused_connection_names_host_setting_and_reason() -> None:
    """
    A closed port is a connection failure, with the system's words and no error number.
    """
    assert failure_of(f"http://127.0.0.1:{closed_port()}") == (
        "The connection to 127.0.0.1 (SYNCSVC_API_URL, /api/numbers) failed: Connection refused. "
        "Retry later."
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refused_connection_names_the_proxy(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """
    If a proxy is used, the message has its address and variable, and not its credentials.
    """
    proxy, variable = f"127.0.0.1:{closed_port()}", f"{scheme}_proxy"
    monkeypatch.setenv(variable, f"http://user:hunter2@{proxy}")

    assert failure_of(f"{scheme}://provider.test") == (
        f"The connection to provider.test through the proxy {proxy} (SYNCSVC_API_URL, {variable}, "
        "/api/numbers) failed: Connection refused. Retry later."
    )


@pytest.mark.parametrize("url", ["http://nowhere.invalid", f"http://{'long' * 20}.invalid"])
def test_a_host_without_an_address_is_named(url: str) -> None:
    """
    A name that does not resolve, or can't be a host's, is an error with the name and the setting.
    """
    host = url.removeprefix("http://")

    assert failure_of(url) == (
        f"Can't find the host {host} (SYNCSVC_API_URL). Check its name, or retry later."
    )


def test_a_proxy_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If the proxy's name does not resolve, that is the name in the error, with its variable.
    """
    monkeypatch.setenv("HTTP_PROXY", "http://user:hunter2@proxy.invalid:3128")

    assert failure_of("http://provider.test") == (
        "Can't find the host proxy.invalid (HTTP_PROXY). Check its name, or retry later."
    )


def test_a_response_that_is_not_http_is_unavailable() -> None:
    """
    Another protocol on the port is a connection failure, without a secret in the message.
    """
    with (
        serving(sent_at_once(b"220 smtp ready\r\n")) as url,
        transport_to(url) as transport,
        pytest.raises(ProviderUnavailable) as caught,
    ):
        transport.send("GET", PATH, headers=HEADERS)

    assert caught.value.reason == "connection"
    assert "the-secret" not in str(caught.value)


def test_an_exchange_speaks_tls_to_https(sandbox: Sandbox) -> None:
    """
    Nothing is sent in clear text to an https address.
    """
    url = sandbox.url.replace("http:", "https:")

    with (
        transport_to(url) as transport,
        pytest.raises(ProviderUnavailable, match="SSL") as caught,
    ):
        transport.send("GET", PATH, headers=HEADERS)

    assert caught.value.reason == "connection"
    assert sandbox.requests == []


def test_gzip_is_decompressed() -> None:
    """
    A compressed body is returned decompressed.
    """
    data = b'{"numbers": []}'

    with (
        serving(sent_at_once(OK, body(gzip.compress(data), "gzip"))) as url,
        transport_to(url) as transport,
    ):
        response = transport.send("GET", PATH, headers={})

    assert data == response.body


def test_a_body_that_is_not_the_gzip_it_claims_is_unavailable() -> None:
    """
    A body that can't be decompressed is a failure to retry.
    """
    with (
        serving(sent_at_once(OK, body(b"plain", "gzip"))) as url,
        transport_to(url) as transport,
        pytest.raises(ProviderUnavailable) as caught,
    ):
        transport.send("GET", PATH, headers={})

    assert caught.value.reason == "connection"


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, gzip"])
def test_a_status_counts_whatever_its_body_is(status: int, encoding: str) -> None:
    """
    An error page that is not what its Content-Encoding says does not hide the status.
    """
    head = b"HTTP/1.1 %d Whatever\r\n" % status

    with (
        serving(sent_at_once(head, body(b"<html>", encoding))) as url,
        transport_to(url) as transport,
    ):
        response = transport.send("GET", PATH, headers={})

    assert response.status == status


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_byte_order_mark_is_left_out(encoding: str) -> None:
    """
    A PHP file saved with a mark sends it before its output, and RFC 8259 lets us ignore it.
    """
    data = b"\xef\xbb\xbf{}"
    packed = gzip.compress(data) if encoding == "gzip" else data

    with (
        serving(sent_at_once(OK, body(packed, encoding))) as url,
        transport_to(url) as transport,
    ):
        response = transport.send("GET", PATH, headers={})

    assert response.body == b"{}"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "identity, gzip"])
@pytest.mark.parametrize(
    "cuts", [(), (7,), (1, 2, 3), (0, 15)], ids=["one", "two", "four", "empty ones"]
)
@pytest.mark.parametrize("padding", [b"", bytes(100)], ids=["no padding", "padding"])
def test_gzip_of_any_number_of_members_is_decompressed(
    encoding: str, cuts: tuple[int, ...], padding: bytes
) -> None:
    """
    Members follow each other, may be empty, and the body is all of them together.
    """
    data = b'{"numbers": []}'
    edges = [0, *cuts, len(data)]
    packed = b"".join(gzip.compress(data[start:end]) for start, end in pairwise(edges))

    with (
        serving(sent_at_once(OK, body(packed + padding, encoding))) as url,
        transport_to(url) as transport,
    ):
        response = transport.send("GET", PATH, headers={})

    assert response.body == data


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}")[:5],
        gzip.compress(b"{") + gzip.compress(b"}")[:-4],
        gzip.compress(b"{}") + b"more",
        gzip.compress(b"{}")[:-8] + bytes(8),
    ],
    ids=["cut", "cut in the header", "second cut", "something behind", "wrong checksum"],
)
def test_gzip_that_is_not_whole_is_unavailable(packed: bytes) -> None:
    """
    Members that are cut off, damaged or followed by something else are failures to retry.
    """
    with (
        serving(sent_at_once(OK, body(packed, "gzip"))) as url,
        transport_to(url) as transport,
        pytest.raises(ProviderUnavailable, match="gzip data") as caught,
    ):
        transport.send("GET", PATH, headers={})

    assert caught.value.reason == "connection"


def test_a_bomb_of_many_members_is_refused() -> None:
    """
    Small members are refused if they are too large together.
    """
    packed = gzip.compress(bytes(BODY_LIMIT // 4 + 1), compresslevel=1) * 4

    with (
        serving(sent_at_once(OK, body(packed, "gzip"))) as url,
        transport_to(url) as transport,
        pytest.raises(ProviderRefused, match="larger than 64 MiB"),
    ):
        transport.send("GET", PATH, headers={})


def test_a_body_of_64_mib_is_taken() -> None:
    """
    The largest body allowed is read whole.
    """
    packed = gzip.compress(bytes(BODY_LIMIT), compresslevel=1)

    with serving(sent_at_once(OK, body(packed, "gzip"))) as url, transport_to(url) as transport:
        response = transport.send("GET", PATH, headers={})

    assert len(response.body) == 64 * 1024 * 1024


def test_a_gzip_bomb_is_refused() -> None:
    """
    One byte more than 64 MiB is refused, even if the compressed body is small.
    """
    packed = gzip.compress(bytes(BODY_LIMIT + 1), compresslevel=1)

    with (
        serving(sent_at_once(OK, body(packed, "gzip"))) as url,
        transport_to(url) as transport,
        pytest.raises(ProviderRefused, match="larger than 64 MiB"),
    ):
        transport.send("GET", PATH, headers={})


def test_an_endless_body_is_refused(sandbox: Sandbox) -> None:
    """
    A body without a length is read up to 64 MiB.
    """
    sandbox.inject(Fault(kind="endless"))

    with (
        transport_to(sandbox.url) as transport,
        pytest.raises(ProviderRefused, match="Lower SYNCSVC_PAGE_SIZE"),
    ):
        transport.send("GET", PATH, headers=HEADERS)


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip\r\nContent-Encoding: gzip"])
def test_a_body_that_is_compressed_twice_is_refused(encoding: str) -> None:
    """
    A body that is compressed twice is not decompressed at all.
    """
    packed = gzip.compress(gzip.compress(b"{}"))

    with (
        serving(sent_at_once(OK, body(packed, encoding))) as url,
        transport_to(url) as transport,
        pytest.raises(ProviderRefused, match="compressed more than once"),
    ):
        transport.send("GET", PATH, headers={})


def test_a_redirect_is_not_followed(sandbox: Sandbox) -> None:
    """
    A redirect is a response like any other, so the token is sent to no other host.
    """
    with Sandbox(sandbox.inventory) as other:
        sandbox.inject(Fault(kind="status", status=302, location=f"{other.url}{PATH}"))
        with transport_to(sandbox.url) as transport:
            response = transport.send("GET", PATH, headers=HEADERS)
        elsewhere = list(other.requests)

    assert response.status == 302
    assert elsewhere == []
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """
    A proxy of the environment gets the request; its scheme may be missing.
    """
    with serving(sent_at_once(OK, b"Content-Length: 5\r\n\r\nproxy")) as url:
        monkeypatch.setenv("http_proxy", url.replace("http://", scheme))
        with transport_to("http://provider.test") as transport:
            response = transport.send("GET", PATH, headers=HEADERS)

    assert response.body == b"proxy"


@pytest.mark.parametrize(("reply", "after"), [(b"200 OK", b"\x16\x03"), (b"407 No", b"")])
def test_https_goes_through_a_tunnel_of_the_proxy(
    monkeypatch: pytest.MonkeyPatch, reply: bytes, after: bytes
) -> None:
    """
    The proxy is asked, with its credentials, for a tunnel, in which TLS and nothing else is sent.
    """
    heads, sent = [], []

    def tunnel(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        connection.sendall(b"HTTP/1.1 " + reply + b"\r\n\r\n")
        sent.append(connection.recv(65536)[:2])

    with talking(tunnel) as url:
        monkeypatch.setenv("https_proxy", url.replace("http://", "http://user:p%40ss@"))
        with (
            transport_to("https://provider.test") as transport,
            pytest.raises(ProviderUnavailable, match="through the proxy") as caught,
        ):
            transport.send("GET", PATH, headers=HEADERS)

    assert heads[0].startswith(b"CONNECT provider.test:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in heads[0]
    assert b"the-secret" not in heads[0]
    assert sent == [after]
    assert (reply == b"407 No") == ("407" in str(caught.value))


def test_every_error_of_httpcore_has_a_counterpart_of_httpx() -> None:
    """
    The errors that the transport translates by their names exist under these names.
    """
    errors = [
        kind
        for kind in vars(httpcore).values()
        if isinstance(kind, type) and issubclass(kind, TRANSLATED)
    ]

    namesakes = [getattr(httpx, kind.__name__) for kind in errors]

    assert httpcore.ConnectError in errors
    assert all(issubclass(kind, httpx.RequestError) for kind in namesakes)


def test_no_proxy_is_used_for_a_host_that_is_exempt(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The hosts in NO_PROXY are reached directly.
    """
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    with transport_to(sandbox.url) as transport:
        response = transport.send("GET", PATH, headers=HEADERS)

    assert response.status == 401


def response_with(status: int = 503, retry_after: str | None = None) -> Response:
    """
    A response with this status and this Retry-After.
    """
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Response(status, httpx.Headers(headers), b"")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_a_transient_status(status: int) -> None:
    """
    Server errors, timeouts and rate limits are transient.
    """
    assert response_with(status).is_transient


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 403, 404, 409, 410, 422, 451])
def test_a_status_that_is_not_transient(status: int) -> None:
    """
    Every other status would be the same again.
    """
    assert not response_with(status).is_transient


def test_the_error_of_a_transient_status_names_path_and_status() -> None:
    """
    The message has the path and the status, which is also the reason.
    """
    failure = response_with(429, "3").unavailable(PATH)

    assert str(failure) == "The provider is unavailable (429 from /api/numbers). Retry later."
    assert (failure.reason, failure.retry_after) == ("429", 3.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("59", 59.0),
        ("1.5", 1.5),
        ("60", 60.0),
        ("61", 60.0),
        ("86400", 60.0),
        ("-5", 0.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Fri, 99 Foo 2026 12:00:00 GMT", None),
        ("Fri, 02 Jan 2026 12:00:00 GMT", 0.0),
        ("Sat, 02 Jan 2999 12:00:00 GMT", 60.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str | None, seconds: float | None) -> None:
    """
    Seconds and dates are read, up to a minute, and anything else is ignored.
    """
    assert seconds == response_with(retry_after=value).unavailable(PATH).retry_after


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%c"])
def test_every_form_of_an_http_date_is_in_gmt(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    All three formats of an HTTP date are read as GMT, whatever the machine's time zone.
    """
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    date = (datetime.fromtimestamp(time.time(), tz=UTC) + timedelta(seconds=50)).strftime(form)

    seconds = response_with(retry_after=date).unavailable(PATH).retry_after
    monkeypatch.undo()
    time.tzset()

    assert seconds == pytest.approx(50, abs=2)


@given(st.text() | st.datetimes(timezones=st.just(UTC)).map(format_datetime))
def test_no_retry_after_is_too_odd(value: str) -> None:
    """
    Whatever is sent, the wait is between 0 and 60 s, or none is read.
    """
    response = Response(503, httpx.Headers([(b"Retry-After", value.encode())]), b"")

    seconds = response.unavailable(PATH).retry_after

    assert seconds is None or 0 <= seconds <= 60


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("headers", "ahead"),
    [
        ({"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 0),
        ({"Date": "Wed, 31 Dec 2025 23:00:00 GMT"}, 3600),
        ({"Date": "Thursday, 01-Jan-26 00:00:10 GMT"}, -10),
        ({"Date": "Thu Jan  1 00:00:00 2026"}, 0),
        ({"Date": "Thu, 01 Jan 2026 00:00:00 GMT", "Age": "3600"}, None),
        ({"Date": "soon"}, None),
        ({"Date": "Thu, 01 Jan 99999 00:00:00 GMT"}, None),
        ({"Date": ""}, None),
        ({}, None),
    ],
)
def test_a_response_shows_the_providers_clock(headers: dict[str, str], ahead: float | None) -> None:
    """
    The clocks are compared by any form of the Date header, unless a cache repeats an old one.
    """
    found = Response(200, httpx.Headers(headers), b"").clock_ahead

    assert found == (None if ahead is None else timedelta(seconds=ahead))
