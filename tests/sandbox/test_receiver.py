"""
The receiver of webhooks, over real sockets.
"""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from standardwebhooks import Webhook

from syncsvc import clock
from syncsvc.sandbox.receiver import Received, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.build import Result

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
NUMBER = {"account": "acme", "number_e164": "441245123456", "uuid": "u"}


def event(kind: str = "number.cancelled", **data: Any) -> str:
    """
    The body of an event.
    """
    return json.dumps({"type": kind, "timestamp": "2026-11-01T00:00:00Z", "data": data or NUMBER})


def send(
    url: str, body: str, *, secret: str | None = SECRET, identity: str = "evt_1", age: int = 0
) -> int:
    """
    Send an event, signed with a secret or not at all; the status of the response.
    """
    headers = {"webhook-id": identity}
    if secret is not None:
        now = clock.now() - timedelta(seconds=age)
        headers["webhook-timestamp"] = str(int(now.timestamp()))
        headers["webhook-signature"] = Webhook(secret).sign(identity, now, body)
    return httpx.post(url, content=body, headers=headers, trust_env=False).status_code


def test_a_signed_event_is_verified_and_a_repeated_one_is_seen() -> None:
    """
    The second request with an id is marked as repeated, and another id is new.
    """
    shown: list[Received] = []
    with Receiver([SECRET], shown.append) as receiver:
        statuses = [send(receiver.url, event(), identity=name) for name in ("a", "a", "b")]

    assert statuses == [204, 204, 204]
    assert [(each.id, each.is_verified, each.is_repeated) for each in shown] == [
        ("a", True, False),
        ("a", True, True),
        ("b", True, False),
    ]
    assert str(shown[0])[20:] == ("  a  number.cancelled  acme 441245123456  verified  new  204")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"secret": OTHER}, "No matching signature found"),
        ({"secret": None}, "Missing required headers"),
        ({"age": 600}, "Message timestamp too old"),
        ({"age": -600}, "Message timestamp too new"),
    ],
    ids=["secret", "unsigned", "old", "early"],
)
def test_what_can_not_be_verified_is_refused(changed: dict[str, Any], reason: str) -> None:
    """
    It gets 401, and its line says why.
    """
    shown: list[Received] = []
    with Receiver([SECRET], shown.append) as receiver:
        assert send(receiver.url, event(), **changed) == 401

    (received,) = shown
    assert not received.is_verified
    assert f"  NOT VERIFIED: {reason}  new  401" in str(received)


@pytest.mark.parametrize("signature", ["v1", "v1,a", "v1,a b", ",,"])
def test_a_signature_that_is_none_is_refused(signature: str) -> None:
    """
    A header that the library can't take apart gets 401, and not 500.
    """
    headers = {
        "webhook-id": "a",
        "webhook-timestamp": str(int(clock.now().timestamp())),
        "webhook-signature": signature,
    }
    with Receiver([SECRET]) as receiver:
        response = httpx.post(receiver.url, content=event(), headers=headers, trust_env=False)

    assert response.status_code == 401


def test_either_of_two_secrets_verifies() -> None:
    """
    While a secret is rotated, events that one of the two signed are accepted.
    """
    with Receiver([SECRET, OTHER]) as receiver:
        assert send(receiver.url, event(), secret=SECRET) == 204
        assert send(receiver.url, event(), secret=OTHER) == 204


def test_without_a_secret_nothing_is_called_verified() -> None:
    """
    Any event is accepted then, and its line says that it is unverified.
    """
    shown: list[Received] = []
    with Receiver(show=shown.append) as receiver:
        assert send(receiver.url, event(), secret=OTHER) == 204

    assert "  unverified: no secret was given  new  204" in str(shown[0])


def test_events_follow_each_other_on_one_connection() -> None:
    """
    A response without a body leaves nothing on the connection that the next one would begin with.
    """
    with Receiver() as receiver, httpx.Client(trust_env=False) as client:
        statuses = [client.post(receiver.url, content=event()).status_code for _ in range(3)]

    assert statuses == [204, 204, 204]


def test_it_fails_as_it_is_told_to() -> None:
    """
    Every request gets the given status, and the line still says if it was verified.
    """
    shown: list[Received] = []
    with Receiver([SECRET], shown.append, status=500) as receiver:
        assert [send(receiver.url, event()) for _ in range(2)] == [500, 500]

    assert [(each.is_verified, each.is_repeated, each.status) for each in shown] == [
        (True, False, 500),
        (True, True, 500),
    ]


@pytest.mark.parametrize(
    ("body", "kind", "about"),
    [
        (event("run.published", account="acme", run_id=7), "run.published", "acme run 7"),
        (event("test", endpoint="ops"), "test", "endpoint ops"),
        ("[]", "", ""),
        ("{", "", ""),
        ('{"data": 1, "type": null}', "", ""),
    ],
    ids=["run", "test", "list", "broken", "empty"],
)
def test_a_line_says_what_an_event_is_about(body: str, kind: str, about: str) -> None:
    """
    It has the run of an event about one, and whatever else is sent does no harm.
    """
    shown: list[Received] = []
    with Receiver([SECRET], shown.append) as receiver:
        assert send(receiver.url, body) == 204

    assert (shown[0].type, shown[0].about) == (kind, about)


def test_a_line_has_no_control_characters() -> None:
    """
    What anybody sends can't move the cursor of the terminal, or begin another line.
    """
    shown: list[Received] = []
    with Receiver(show=shown.append) as receiver:
        send(receiver.url, event("a\x1b[2J\nb"), secret=None)

    assert "  a�[2J�b  " in str(shown[0])


def test_it_is_no_page() -> None:
    """
    Only POST is accepted; nothing else is shown.
    """
    shown: list[Received] = []
    with Receiver(show=shown.append) as receiver:
        response = httpx.get(receiver.url, trust_env=False)

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert shown == []


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_a"])
def test_a_secret_that_is_none_is_an_error(secret: str) -> None:
    """
    It is refused before anything is served.
    """
    with pytest.raises(ValueError, match="a secret is whsec_ and base64"):
        Receiver([secret])


def test_the_command_prints_what_it_gets(
    tmp_path: Path,
) -> None:
    """
    `syncsvc sandbox --receiver` serves both, verifies by the file, and responds as it should.
    """
    (tmp_path / "secret").write_text(f"{SECRET}\n{OTHER}\n")
    flags = ("--receiver", "--receiver-port", "0", "--receiver-secret-file", "secret")
    with _sandbox(*flags, where=tmp_path) as (url, lines):
        assert send(url, event()) == 204
        assert "  evt_1  number.cancelled  acme 441245123456  verified  new  204" in next(lines)
        assert send(url, event(), secret=None) == 401
        assert "  NOT VERIFIED: Missing required headers  repeated  401" in next(lines)


def test_the_command_takes_the_secret_from_stdin(
    tmp_path: Path,
) -> None:
    """
    With `-` the secret needs no file; with a status the receiver fails.
    """
    flags = ("--receiver", "--receiver-port", "0", "--receiver-secret-file", "-")
    with _sandbox(
        *flags,
        "--receiver-status",
        "503",
        where=tmp_path,
        stdin=SECRET,
    ) as (url, lines):
        assert send(url, event()) == 503
        assert "  verified  new  503" in next(lines)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "can't be read (No such file or directory)"),
        (b"", "has something else than the secrets"),
        (b"hunter2", "has something else than the secrets"),
        (SECRET.encode() + b" hunter2", "has something else than the secrets"),
        (b"\xff", "is not text"),
    ],
)
def test_a_file_without_a_secret_is_named_and_not_quoted(
    cli: Callable[..., Result], tmp_path: Path, content: bytes | None, problem: str
) -> None:
    """
    Nothing is served without the secret that was to be used.
    """
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)

    result = cli("sandbox", "--port", "0", "--receiver", "--receiver-secret-file", str(path))

    assert result.code == 2
    assert result.err.startswith(f"syncsvc: --receiver-secret-file: the file {path} {problem}")
    assert "hunter2" not in result.err


def test_a_port_of_the_receiver_that_is_taken_is_named(cli: Callable[..., Result]) -> None:
    """
    A busy port is one line that says which option to change.
    """
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        result = cli("sandbox", "--port", "0", "--receiver", "--receiver-port", port)

    assert result.code == 2
    assert result.err.startswith(f"syncsvc: --receiver-port {port}: the sandbox can't listen there")


def test_an_option_of_no_receiver_is_refused(cli: Callable[..., Result]) -> None:
    """
    A status for a receiver that is not served is an error.
    """
    result = cli("sandbox", "--port", "0", "--receiver-status", "500")

    assert result.code == 2
    assert "The options of the receiver need --receiver." in result.err


@contextmanager
def _sandbox(*flags: str, where: Path, stdin: str = "") -> Iterator[tuple[str, Iterator[str]]]:
    """
    The real command; the URL of its receiver, and what it prints after that.
    """
    command = [sys.executable, "-m", "syncsvc", "sandbox", "--port", "0", *flags]
    with subprocess.Popen(
        command,
        cwd=where,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(stdin)
        process.stdin.close()
        lines = iter(process.stdout.readline, "")
        told = next(line for line in lines if line.startswith("Webhooks to "))
        try:
            yield told.split()[2], lines
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=10) == 130
