"""
One request goes to an address that is allowed, and ends in time, whatever the receiver does.
"""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from typing import Any

import pytest

from support.receivers import Answer, Receiver
from syncsvc import clock
from syncsvc.notify import events, sending
from syncsvc.notify.endpoint_rows import Endpoint
from syncsvc.notify.sending import Sender

PRIVATE = ("10.0.0.8", "192.168.1.1", "172.16.0.1", "fd00::1", "127.0.0.1", "::ffff:10.0.0.8")
NEVER = ("169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "64:ff9b::a9fe:a9fe")  # noqa: S104 - none is listened at
PUBLIC = ("93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822")


def send(url: str, **options: Any) -> sending.Answer:
    """
    Send a test event.
    """
    endpoint = Endpoint(name="ops", url=url, **options)
    with closing(Sender(endpoint)) as sender:
        return sender.send(events.for_trial("ops", clock.now()), {"webhook-id": "1"})


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """
    The addresses of host names, beside those that the system knows; each look-up takes the first.
    """
    names: dict[str, list[str]] = {}
    known = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: Any, **options: Any) -> Any:
        if host not in names:
            return known(host, port, *rest, **options)
        address = names[host].pop(0) if len(names[host]) > 1 else names[host][0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return names


@pytest.mark.parametrize("address", [*PRIVATE, *NEVER])
def test_a_name_that_leads_inside_is_refused(resolved: dict[str, list[str]], address: str) -> None:
    """
    No connection is made to a private, loopback or link-local address behind a name.
    """
    resolved["hook.example"] = [address]

    answer = send("https://hook.example/")

    assert answer.status is None
    assert answer.error is not None
    assert "only private addresses" in answer.error


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_allowed(resolved: dict[str, list[str]], address: str) -> None:
    """
    Those under which clouds serve credentials, among others, even with --allow-private.
    """
    resolved["hook.example"] = [address]

    answer = send("https://hook.example/", allow_private=True)

    assert "link-local or reserved" in str(answer.error)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    """
    Also those that a translator wraps in IPv6.
    """
    endpoint = Endpoint(name="ops", url="https://hook.example/")

    assert sending._is_allowed(endpoint)(address)  # noqa: SLF001 - nothing else says so offline


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_allowed_on_request(address: str) -> None:
    """
    With --allow-private.
    """
    endpoint = Endpoint(name="ops", url="https://hook.example/", allow_private=True)

    assert sending._is_allowed(endpoint)(address)  # noqa: SLF001 - nothing else says so offline


def test_a_name_that_changes_its_answer_gets_nothing(
    resolved: dict[str, list[str]], receiver: Receiver
) -> None:
    """
    A name is looked up once: what was judged is what is connected to.
    """
    resolved["hook.example"] = ["10.0.0.8", "127.0.0.1"]

    answer = send(f"http://hook.example:{receiver.port}/", allow_http=True)

    assert "only private addresses" in str(answer.error)
    assert resolved["hook.example"] == ["127.0.0.1"]  # nobody asked again
    assert receiver.received == []


def test_loopback_is_allowed_if_the_address_names_it(receiver: Receiver) -> None:
    """
    A relay on the same machine needs no flag.
    """
    assert send(receiver.url).error is None
    assert send(f"http://localhost:{receiver.port}/").error is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    """
    Wherever one leads, the event is not delivered.
    """
    with Receiver() as other:
        receiver.usual = Answer(status, {"Location": other.url})

        answer = send(receiver.url)

        assert answer.error == f"It responded {status}; redirects are not followed."
        assert other.received == []


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_one(receiver: Receiver, status: int) -> None:
    """
    All of 2xx.
    """
    receiver.usual = Answer(status)

    assert send(receiver.url).error is None


def test_a_slow_receiver_is_given_up(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The whole exchange has one limit, also for one that sends a byte now and then.
    """
    monkeypatch.setattr(sending, "TIMEOUT", 0.3)
    receiver.usual = Answer(wait=2)

    assert send(receiver.url).error == "It sent no response within 0.3 s."


def test_the_status_counts_even_if_the_body_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of a body only the start is read, and of one that hangs nothing is waited for.
    """
    monkeypatch.setattr(sending, "TIMEOUT", 0.5)
    with _endless(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\nthanks") as port:
        answer = send(f"http://127.0.0.1:{port}/")

    assert (answer.status, answer.error, answer.body) == (200, None, b"thanks")


def test_a_large_body_is_read_in_part(receiver: Receiver) -> None:
    """
    A receiver can't fill our memory.
    """
    receiver.usual = Answer(500, body=b"x" * 10_000_000)

    answer = send(receiver.url)

    assert answer.error == "It responded 500."
    assert len(answer.body) == sending.BODY_READ


@pytest.mark.parametrize("sent", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 999999 x\r\n\r\n"])
def test_what_is_no_http_is_a_failure(sent: bytes) -> None:
    """
    And not an error of ours.
    """
    with _endless(sent, hang=False) as port:
        answer = send(f"http://127.0.0.1:{port}/")

    assert answer.status is None
    assert str(answer.error).startswith("The connection failed: ")


def test_nobody_there_is_a_failure() -> None:
    """
    The message names neither path nor query, which may have a secret.
    """
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    answer = send(f"http://127.0.0.1:{port}/path?token=hidden")

    assert answer.error == "The connection failed: Connection refused."


def test_an_unknown_host_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It says which one.
    """

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert send("https://nowhere.invalid/").error == "Can't find the host nowhere.invalid."


class _endless:  # noqa: N801 - it reads as a function
    """
    A server that sends these bytes to the first client, and then hangs, or closes.
    """

    def __init__(self, sent: bytes, *, hang: bool = True) -> None:
        self._sent, self._hang = sent, hang
        self._server = socket.create_server(("127.0.0.1", 0))
        self._done = threading.Event()

    def __enter__(self) -> int:
        threading.Thread(target=self._serve, daemon=True).start()
        port: int = self._server.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._server.close()

    def _serve(self) -> None:
        client, _ = self._server.accept()
        with client:
            client.recv(65536)
            client.sendall(self._sent)
            if self._hang:
                self._done.wait(10)
