"""
Secrets stay secret, and a provider that means harm is held off through a whole run.
"""

from __future__ import annotations

import gzip
import shutil
import ssl
import subprocess
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from support.build import api_for, number_row, published
from syncsvc import build_from_settings
from syncsvc.provider.http.response import BODY_LIMIT
from syncsvc.sandbox import Behaviour, Fault, Inventory, Sandbox
from syncsvc.schema.tables import sync_rejects, sync_runs
from syncsvc.settings.loading import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from support.build import Result, Watch

TOKEN = "tok-5ecret-aaaaaaaa"
CLIENT = "cli-5ecret-bbbbbbbb"
CLIENT_SECRET = "sec-5ecret-cccccccc"
PASSWORD = "pwd-5ecret-dddddddd"
MARK = "5ecret"
FAULTS = {
    "refused token": Fault(kind="status", status=401, times=100),
    "forbidden": Fault(kind="status", status=403, times=100),
    "unavailable": Fault(kind="status", status=503, times=100),
    "proxy page": Fault(kind="html", status=200, times=100),
    "reset": Fault(kind="reset", times=100),
    "cut": Fault(kind="cut", times=100),
    "redirect": Fault(
        kind="status", status=302, location=f"https://h.example/?t={TOKEN}{PASSWORD}", times=100
    ),
    "late refusal": Fault(kind="status", status=401, skip=2, times=100),
    "echo": Fault(kind="body", status=400, body=f"{TOKEN} {CLIENT_SECRET}".encode(), times=100),
    "failing search": Fault(kind="status", endpoint="search", status=403, times=100),
}


@pytest.fixture
def provider(sandbox: Sandbox, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """
    A provider that the settings lead to, with a page for each number.
    """
    sandbox.reset(Inventory([number_row(1), number_row(2), {"uuid": "?"}]))
    monkeypatch.setattr(sandbox, "client_id", CLIENT)
    monkeypatch.setattr(sandbox, "client_secret", CLIENT_SECRET)
    url = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("SYNCSVC_API_URL", sandbox.url)
    monkeypatch.setenv("SYNCSVC_API_RETRIES", "1")
    monkeypatch.setenv("SYNCSVC_PAGE_SIZE", "1")
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", url)
    return sandbox


@pytest.fixture(params=["token", "client"])
def credentials(
    request: pytest.FixtureRequest, provider: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> str:
    """
    Each way to sign in, with secrets that are easy to find.
    """
    if request.param == "token":
        monkeypatch.setattr(provider, "token", TOKEN)
        provider.reset(provider.inventory)
        monkeypatch.setenv("SYNCSVC_API_TOKEN", TOKEN)
    else:
        monkeypatch.setenv("SYNCSVC_API_CLIENT_ID", CLIENT)
        monkeypatch.setenv("SYNCSVC_API_CLIENT_SECRET", CLIENT_SECRET)
    return str(request.param)


def kept(engine: Engine) -> str:
    """
    All that runs have put on record of themselves and of what they could not read.
    """
    with engine.connect() as connection:
        tables = (sync_runs, sync_rejects)
        return repr([connection.execute(select(table)).all() for table in tables])


def assert_no_secret(text: str) -> None:
    """
    Nothing in a text is, or holds, one of the secrets.
    """
    assert MARK not in text


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_failure_tells_a_secret(
    cli: Callable[..., Result], provider: Sandbox, engine: Engine, fault: str, log_format: str
) -> None:
    """
    Whatever goes wrong, no secret is printed, logged at any level or put on record.
    """
    logging = ("--log-level", "debug", "--log-format", log_format)
    provider.inject(FAULTS[fault])
    results = [cli(*logging, "sync"), cli(*logging, "sync", "--json"), cli(*logging, "check")]

    for result in results:
        assert_no_secret(result.out + result.err)
    assert_no_secret(kept(engine))
    if fault != "failing search":
        assert [result.code for result in results[:2]] == [1, 1]
    for token in {each.authorization for each in provider.requests if each.authorization}:
        assert all(token.removeprefix("Bearer ") not in each.out + each.err for each in results)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("kind", ["sqlite"])
def test_no_bug_tells_a_secret(
    cli: Callable[..., Result],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    log_format: str,
) -> None:
    """
    The traceback of a failure that nobody foresaw shows no variables.
    """

    def stumble(*_page: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("syncsvc.provider.client.read_page", stumble)
    result = cli("--log-level", "debug", "--log-format", log_format, "sync")

    assert result.code == 1
    assert "ZeroDivisionError" in result.err
    assert "Traceback" in result.err
    assert_no_secret(result.out + result.err + kept(engine))


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("kind", ["sqlite"])
@pytest.mark.parametrize("command", ["sync", "check", "runs", "migrate"])
@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://user:{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://user@127.0.0.1:1/db?password={PASSWORD}",
        f"postgresql://user:{PASSWORD}@127.0.0.1:none/db",
        f"mysql://user:{PASSWORD}@127.0.0.1/db",
    ],
    ids=["password", "in the query", "no port", "another kind"],
)
def test_no_failure_of_the_database_tells_the_password(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, address: str, command: str
) -> None:
    """
    A database out of reach, or an address that can't be used, is told without its password.
    """
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", address)
    result = cli("--log-level", "debug", "--log-format", "json", command)

    assert result.code in {1, 2}
    assert_no_secret(result.out + result.err)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("kind", ["sqlite"])
def test_no_object_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Settings, and all that is built from them, have no secret in their text.
    """
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", f"postgresql://user:{PASSWORD}@127.0.0.1/db")
    settings = load_settings()
    transport = build_from_settings.transport_from(settings)
    tokens = build_from_settings.tokens_from(settings, transport)
    api = build_from_settings.api_from(settings)
    engine = build_from_settings.engine_from(settings)
    objects: list[Any] = [settings, transport, tokens, api, engine, engine.url, settings.redacted()]

    for each in objects:
        assert_no_secret(f"{each!r} {each}")
    assert_no_secret(repr(settings.model_dump()) + settings.model_dump_json())
    transport.close()
    api.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_redirect_carries_no_token_elsewhere(watch: Watch, status: int) -> None:
    """
    A provider that sends us on to another origin fails the run; the other one hears nothing.
    """
    with Sandbox(Inventory([number_row(9)])) as other:
        fault = Fault(kind="status", status=status, location=f"{other.url}/api/numbers", times=100)
        watch.sandbox.inject(fault)
        summary = watch.see(number_row())

        assert summary.state == "failed"
        assert "redirects are not followed" in str(summary.error)
        assert other.requests == []


@pytest.mark.parametrize("kind", ["sqlite"])
@pytest.mark.usefixtures("credentials")
def test_plain_http_to_another_machine_is_refused(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A token is not sent in the clear, unless that was asked for.
    """
    monkeypatch.setenv("SYNCSVC_API_URL", "http://provider.example")
    result = cli("sync")

    assert result.code == 2
    assert "SYNCSVC_API_URL" in result.err
    assert_no_secret(result.out + result.err)


class Silent(BaseHTTPRequestHandler):
    """
    Answers nothing of use, and notes what it was asked.
    """

    asked: list[str]

    def do_GET(self) -> None:
        """
        Note the request.
        """
        self.asked.append(self.path)
        self.send_error(500)

    def log_message(self, *_words: object) -> None:
        """
        Log nothing.
        """


@pytest.fixture
def self_signed(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """
    The address of a server whose certificate nobody vouches for, and what it was asked.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(key), "-out", str(certificate))
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    subprocess.run(
        [openssl, "req", "-x509", *kind, *files, *subject], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    asked: list[str] = []
    handler = type("Noting", (Silent,), {"asked": asked})
    server = HTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("kind", ["sqlite"])
@pytest.mark.usefixtures("credentials")
def test_a_certificate_that_nobody_vouches_for_is_refused(
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    self_signed: tuple[str, list[str]],
) -> None:
    """
    Nothing is sent to a server that can't show who it is.
    """
    address, asked = self_signed
    monkeypatch.setenv("SYNCSVC_API_URL", address)
    result = cli("sync")

    assert result.code == 1
    assert "certificate" in result.out.lower()
    assert asked == []
    assert_no_secret(result.out + result.err)


def test_a_body_without_end_fails_the_run(watch: Watch, engine: Engine) -> None:
    """
    A page that never ends is given up at its limit, and nothing is published.
    """
    watch.see(number_row(1))
    before = published(engine)
    watch.sandbox.inject(Fault(kind="endless", endpoint="numbers"))
    summary = watch.see(number_row(2))

    assert summary.state == "failed"
    assert f"larger than {BODY_LIMIT // 2**20} MiB" in str(summary.error)
    assert published(engine) == before


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_gzip_bomb_fails_the_run(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A small body that unpacks to a huge one is given up at the limit.
    """
    bomb = gzip.compress(b" " * (BODY_LIMIT + 2**20), compresslevel=1)
    monkeypatch.setattr("syncsvc.sandbox.server.gzip.compress", lambda *_a, **_o: bomb)
    watch.sandbox.behaviour = Behaviour(gzip=True)
    summary = watch.see(number_row())

    assert summary.state == "failed"
    assert "larger than" in str(summary.error)
    assert len(bomb) < 2**20


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_slow_drip_fails_the_run(watch: Watch) -> None:
    """
    A body that comes byte by byte is given up when its time is over.
    """
    watch.sandbox.inject(Fault(kind="drip", endpoint="numbers", seconds=0.05, times=100))
    began = time.monotonic()
    with api_for(watch.sandbox, timeout=0.5, retries=1) as api:
        summary = watch.see(number_row(), api=api)

    assert time.monotonic() - began < 5
    assert summary.state == "failed"
    assert "SYNCSVC_API_TIMEOUT" in str(summary.error)


@pytest.mark.parametrize("endpoint", ["numbers", "cancelled", "search"])
@pytest.mark.parametrize("way", ["timeout", "drip", "delay"])
def test_the_deadline_holds_for_a_provider_that_stalls(
    watch: Watch, engine: Engine, endpoint: Any, way: Any
) -> None:
    """
    Wherever the provider stalls, the run ends at its deadline and publishes nothing.
    """
    watch.see(number_row(1), number_row(2))
    before = published(engine)
    watch.sandbox.inject(Fault(kind=way, endpoint=endpoint, seconds=3.0, times=100))
    began = time.monotonic()
    summary = watch.see(number_row(2), number_row(3), deadline=timedelta(seconds=0.8))

    assert time.monotonic() - began < 2.5
    assert (summary.state, watch.last_run()["state"]) == ("failed", "failed")
    assert "SYNCSVC_RUN_DEADLINE" in str(summary.error)
    assert published(engine) == before
