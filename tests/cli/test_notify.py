"""
`syncsvc notify`, as somebody with a terminal meets it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from support.build import number_row, rows_of
from support.receivers import KEY, Answer
from syncsvc.notify import secrets_and_signatures
from syncsvc.sandbox import Inventory
from syncsvc.schema.tables import notify_endpoints

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from support.build import Result
    from support.receivers import Receiver
    from syncsvc.sandbox import Sandbox

COMMANDS = ("add", "list", "test", "pause", "resume", "replay", "rotate", "remove")
CHANGES = ["number.provisioned", "number.changed"]


@pytest.fixture
def syncsvc(
    engine: Engine,
    sandbox: Sandbox,
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Result]:
    """
    Call any command with a migrated database, a key, and the simulated provider.
    """
    sandbox.inventory = Inventory([number_row(1)])
    url = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", url)
    monkeypatch.setenv("SYNCSVC_API_URL", sandbox.url)
    monkeypatch.setenv("SYNCSVC_API_TOKEN", sandbox.token)
    monkeypatch.setenv("SYNCSVC_ACCOUNTS_KEY", KEY)
    return cli


@pytest.fixture
def notify(syncsvc: Callable[..., Result]) -> Callable[..., Result]:
    """
    Call `syncsvc notify`.
    """
    return lambda *words: syncsvc("notify", *words)


def listed(notify: Callable[..., Result]) -> dict[str, Any]:
    """
    What is said of the only endpoint.
    """
    (endpoint,) = json.loads(notify("list", "--json").out)
    assert isinstance(endpoint, dict)
    return endpoint


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(cli: Callable[..., Result], command: str) -> None:
    """
    And exits with 0 if it is asked for help.
    """
    result = cli("notify", command, "--help")

    assert result.code == 0
    assert f"Example: syncsvc notify {command}" in result.out


def test_a_secret_is_shown_once(notify: Callable[..., Result], receiver: Receiver) -> None:
    """
    Alone on stdout, so that it can be kept in a file, and nowhere afterwards.
    """
    added = notify("add", "ops", "--url", receiver.url)

    assert added.code == 0
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=\n", added.out)
    bare = added.out.strip().removeprefix("whsec_")
    for words in (("list",), ("list", "--json"), ("test", "ops")):
        result = notify(*words)
        assert bare not in result.out + result.err
        assert "hidden" not in result.out + result.err  # the query of its address


def test_a_sync_delivers_once(
    syncsvc: Callable[..., Result],
    notify: Callable[..., Result],
    sandbox: Sandbox,
    receiver: Receiver,
) -> None:
    """
    What a run finds is told when it has ended, and verifies with the secret that was printed.
    """
    assert syncsvc("sync").code == 0
    secret = notify("add", "ops", "--url", receiver.url).out.strip()
    sandbox.inventory = Inventory([number_row(1, monthly_charge="7"), number_row(2)])
    result = syncsvc("sync")

    assert result.code == 0
    assert sorted(receiver.types) == sorted(CHANGES)
    assert all(each.verified_by(secret) for each in receiver.received)
    assert listed(notify)["pending"] == 0
    assert listed(notify)["delivered_at"] is not None


def test_a_receiver_that_fails_leaves_the_exit_code_alone(
    syncsvc: Callable[..., Result],
    notify: Callable[..., Result],
    sandbox: Sandbox,
    receiver: Receiver,
) -> None:
    """
    The code is the run's. What waits is shown, and delivered by a later run.
    """
    syncsvc("sync")
    notify("add", "ops", "--url", receiver.url)
    sandbox.inventory = Inventory([number_row(1, monthly_charge="7")])
    receiver.answers.append(Answer(500))
    result = syncsvc("sync")
    waits = listed(notify)
    notify("resume", "ops")
    syncsvc("sync")

    assert result.code == 0
    assert (waits["pending"], waits["last_error"]) == (1, "It responded 500.")
    assert waits["next_attempt_at"] is not None
    assert receiver.types == ["number.changed"] * 2
    assert listed(notify)["pending"] == 0


def test_a_trial_shows_the_whole_exchange(
    notify: Callable[..., Result], receiver: Receiver
) -> None:
    """
    What was sent, and what came back, also of a receiver that refuses.
    """
    notify("add", "ops", "--url", receiver.url)
    receiver.answers.append(Answer(200, body="schön\x1b[31m".encode()))
    well = notify("test", "ops")
    receiver.answers.append(Answer(403, body=b"who are you?"))
    badly = notify("test", "ops")

    sent = receiver.received[0]
    assert well.code == 0
    assert f"> POST http://127.0.0.1:{receiver.port}/hook?…\n" in well.out
    assert f"> webhook-id: {sent.id}\n" in well.out
    assert f"> webhook-signature: {sent.headers['webhook-signature']}\n" in well.out
    assert f"> {sent.body.decode()}\n" in well.out
    assert "< 200\n< schön�[31m\n" in well.out
    assert badly.code == 1
    assert "< 403\n< who are you?\n" in badly.out
    assert "It responded 403." in badly.err


def test_a_rotation_goes_in_two_steps(notify: Callable[..., Result], receiver: Receiver) -> None:
    """
    Both secrets verify until it is finished, then the new one alone.
    """
    old = notify("add", "ops", "--url", receiver.url).out.strip()
    new = notify("rotate", "ops").out.strip()
    notify("test", "ops")
    finished = notify("rotate", "ops", "--finish")
    notify("test", "ops")

    both, alone = receiver.received
    assert both.verified_by(old)
    assert both.verified_by(new)
    assert alone.verified_by(new)
    assert len(alone.headers["webhook-signature"].split()) == 1
    assert finished.out == "Endpoint 'ops' signs with its newest secret alone.\n"


def test_a_replay_is_delivered_by_the_next_run(
    syncsvc: Callable[..., Result],
    notify: Callable[..., Result],
    sandbox: Sandbox,
    receiver: Receiver,
) -> None:
    """
    Everything since then, under the same ids.
    """
    notify("add", "ops", "--url", receiver.url)
    syncsvc("sync")
    sandbox.inventory = Inventory([number_row(1, monthly_charge="7")])
    syncsvc("sync")
    told = list(receiver.ids)
    result = notify("replay", "ops", "--since", "2020-01-01")
    syncsvc("sync")

    assert result.out == (
        "Endpoint 'ops' gets the events of 1 account since 2020-01-01 00:00:00 UTC again.\n"
    )
    assert receiver.ids == told * 2


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("pause", "opps"), 1, "There is no endpoint 'opps'. There are: ops."),
        (("replay", "ops", "--since", "yesterday"), 2, "--since: give"),
        (("replay", "ops", "--since", "2020-01-01"), 2, "No account that endpoint 'ops' covers"),
        (("add", "ops", "--url", "https://example.com"), 2, "There is an endpoint 'ops' already."),
        (("add", "a b", "--url", "https://example.com"), 2, "the name is not accepted"),
        (("add", "x", "--url", "http://example.com"), 2, "url is plain http to another host"),
        (("add", "x", "--url", "https://10.0.0.8/"), 2, "url is a private address"),
        (("add", "x", "--url", "https://[fe80::1]/"), 2, "url is a private address"),
        (("add", "x", "--url", "https://me:word@example.com/"), 2, "url has a user name"),
        (("add", "x", "--url", "ftp://example.com/"), 2, "url is not an http or https address"),
        (
            ("add", "x", "--url", "https://example.com", "--events", "nmber.*"),
            2,
            "events has 'nmber.*', which matches no type of event",
        ),
        (("add", "x", "--url", "https://example.com", "--accounts", " "), 2, "accounts has an"),
    ],
)
def test_what_is_wrong_is_named(
    notify: Callable[..., Result],
    receiver: Receiver,
    words: tuple[str, ...],
    code: int,
    problem: str,
) -> None:
    """
    In one line on stderr, without the address, which may have a secret.
    """
    notify("add", "ops", "--url", receiver.url)
    result = notify(*words)

    assert result.code == code
    assert problem in " ".join(result.err.split())
    assert "word@" not in result.err
    assert result.out == ""


def test_private_addresses_are_for_those_who_ask(notify: Callable[..., Result]) -> None:
    """
    The flags are kept with the endpoint.
    """
    url = "http://10.0.0.8/hook"
    added = notify("add", "ops", "--url", url, "--allow-http", "--allow-private")

    assert added.code == 0
    assert (listed(notify)["allow_http"], listed(notify)["allow_private"]) == (True, True)


def test_a_removed_endpoint_is_gone(
    notify: Callable[..., Result], receiver: Receiver, engine: Engine
) -> None:
    """
    With all that was kept of it.
    """
    notify("add", "ops", "--url", receiver.url)

    assert notify("remove", "ops").out == "Endpoint 'ops' was removed.\n"
    assert rows_of(engine, notify_endpoints) == []
    assert notify("remove", "ops").code == 1


def test_a_pause_is_shown(notify: Callable[..., Result], receiver: Receiver) -> None:
    """
    And so is its end.
    """
    notify("add", "ops", "--url", receiver.url)
    notify("pause", "ops")
    paused = listed(notify)["state"]
    notify("resume", "ops")

    assert (paused, listed(notify)["state"]) == ("paused", "enabled")


def test_an_endpoint_of_the_settings_needs_no_key(
    syncsvc: Callable[..., Result],
    notify: Callable[..., Result],
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    It is a table of the TOML file, with its secret in a credential file.
    """
    secret = secrets_and_signatures.new_secret()
    (tmp_path / "notify_ops_secret").write_text(secret)
    (tmp_path / "syncsvc.toml").write_text(f'[notify.ops]\nurl = "{receiver.url}"\n')
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("SYNCSVC_CONFIG", str(tmp_path / "syncsvc.toml"))
    monkeypatch.delenv("SYNCSVC_ACCOUNTS_KEY")
    result = syncsvc("sync")

    assert result.code == 0
    assert receiver.types == ["run.published"]
    assert receiver.received[0].verified_by(secret)
    assert (listed(notify)["secret"], listed(notify)["in_settings"]) == ("file", True)
    assert "into it, above the present one" in notify("rotate", "ops").err


def test_metrics_of_a_run_have_its_endpoints(
    syncsvc: Callable[..., Result],
    notify: Callable[..., Result],
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    """
    In the file for node_exporter, too.
    """
    notify("add", "ops", "--url", receiver.url)
    syncsvc("sync", "--metrics-file", str(tmp_path / "metrics.prom"))

    written = (tmp_path / "metrics.prom").read_text()
    assert 'syncsvc_notify_delivered_total{endpoint="ops"} 1.0' in written
    assert 'syncsvc_notify_pending{endpoint="ops"} 0.0' in written


def test_no_endpoints_are_told_as_such(notify: Callable[..., Result]) -> None:
    """
    With how to add one, and nothing on stdout.
    """
    result = notify("list")

    assert (result.code, result.out) == (0, "")
    assert result.err == "There are no endpoints yet. `syncsvc notify add` adds one.\n"
    assert json.loads(notify("list", "--json").out) == []
