"""
Signatures are those of Standard Webhooks, also while a secret is rotated, and no secret gets out.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook, WebhookVerificationError

from support.build import NEW_YEAR
from support.receivers import KEY, Hooks
from syncsvc import clock
from syncsvc.errors import ConfigurationError
from syncsvc.notify import events, secrets_and_signatures
from syncsvc.notify.cursors import Position
from syncsvc.notify.endpoint_rows import Endpoint
from syncsvc.settings.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

OLD, NEW, OTHER = (
    "whsec_" + base64.b64encode(word * 8).decode() for word in (b"old_", b"new_", b"else")
)
SETTINGS = Settings(accounts_key=KEY)  # type: ignore[arg-type]  # pydantic wraps it


def headers(*secrets: str) -> tuple[events.Event, dict[str, str]]:
    """
    An event, and the headers with which it is sent.
    """
    event = events.for_trial("ops", clock.now())
    return event, secrets_and_signatures.headers(event, list(secrets), clock.now())


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_both_secrets_verify_while_one_is_rotated(secret: str) -> None:
    """
    A receiver may change over whenever it likes.
    """
    event, sent = headers(NEW, OLD)

    assert Webhook(secret).verify(event.body, sent)["type"] == "test"


def test_another_secret_verifies_nothing() -> None:
    """
    Nor does a body that was changed on its way.
    """
    event, sent = headers(NEW, OLD)

    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(event.body, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(event.body.replace(b"test", b"best"), sent)


def test_secrets_are_nowhere_in_clear_text(engine: Engine) -> None:
    """
    Not in a table, and not in what is printed of one.
    """
    hooks = Hooks(engine)
    endpoint = hooks.add("https://example.com/hook?token=hidden")
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM notify_endpoints")).all()

    bare = hooks.secrets["ops"].removeprefix("whsec_")
    assert bare not in str(rows)
    assert bare not in repr(endpoint)


def test_a_seal_opens_in_its_own_row_alone() -> None:
    """
    Whoever copies one to another endpoint gets nothing.
    """
    sealed = secrets_and_signatures.seal(SETTINGS, "ops", [OLD])

    assert secrets_and_signatures.secrets_of(
        SETTINGS, Endpoint(name="ops", url="", sealed=sealed)
    ) == [OLD]
    with pytest.raises(ConfigurationError, match="endpoint 'sales'"):
        secrets_and_signatures.secrets_of(SETTINGS, Endpoint(name="sales", url="", sealed=sealed))


def test_without_a_key_nothing_is_sealed() -> None:
    """
    The error says what else there is.
    """
    with pytest.raises(ConfigurationError, match=r"SYNCSVC_ACCOUNTS_KEY.*\[notify\.ops\]"):
        secrets_and_signatures.seal(Settings(), "ops", [OLD])


@pytest.mark.parametrize(
    ("written", "found"), [(f"{NEW}\n", [NEW]), (f"{NEW}\n{OLD}\n", [NEW, OLD])]
)
def test_a_file_has_a_secret_or_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, found: list[str]
) -> None:
    """
    It is read at each delivery, so that rotation needs no signal.
    """
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "notify_ops_secret").write_text(written)

    assert secrets_and_signatures.secrets_of(Settings(), Endpoint(name="ops", url="")) == found


@pytest.mark.parametrize(
    "written", ["", "hunter2", f"{NEW}\n{OLD}\n{OTHER}", "whsec_c2hvcnQ=", "whsec_%%%%"]
)
def test_a_file_with_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """
    The error names file and endpoint, and does not quote it.
    """
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "notify_ops_secret").write_text(written)

    with pytest.raises(ConfigurationError) as caught:
        secrets_and_signatures.secrets_of(Settings(), Endpoint(name="ops", url=""))

    assert "Endpoint 'ops' (file " in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_missing_file_is_told() -> None:
    """
    With its name, and what belongs into it.
    """
    with pytest.raises(ConfigurationError, match="notify_ops_secret"):
        secrets_and_signatures.secrets_of(Settings(), Endpoint(name="ops", url=""))


def test_an_event_made_again_is_the_same() -> None:
    """
    Its id depends on what it tells, and a trial is always another.
    """
    one, other = (events.for_trial("ops", clock.now()) for _ in range(2))

    assert one.id != other.id
    assert _of_run().id == _of_run().id


def _of_run() -> events.Event:
    run: dict[str, Any] = dict.fromkeys([*events.COUNTS, "error"])
    named = {"account": "default", "id": 7, "state": "succeeded"}
    times = {"started_at": NEW_YEAR, "finished_at": NEW_YEAR}
    return events.of_run(events.EventType.RUN_PUBLISHED, {**run, **named, **times}, Position())
