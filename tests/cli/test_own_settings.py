"""
Commands for one account take its settings and credentials from its row, if it has one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from syncsvc.accounts import rows, sealing
from syncsvc.accounts.rows import Account
from syncsvc.database.maintenance import migrate
from syncsvc.sandbox import Behaviour, Inventory, Sandbox
from syncsvc.schema.tables import accounts
from syncsvc.settings.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from support.build import Result

KEY = Fernet.generate_key().decode()
PROCESS = Settings(accounts_key=SecretStr(KEY))


@pytest.fixture(autouse=True)
def _environment(
    engine: Engine, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    A process whose own token the provider does not know.
    """
    sandbox.reset(Inventory.seeded(7), Behaviour())
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("SYNCSVC_API_URL", sandbox.url)
    monkeypatch.setenv("SYNCSVC_API_TOKEN", "not-of-this-account")
    monkeypatch.setenv("SYNCSVC_API_RETRIES", "0")
    monkeypatch.setenv("SYNCSVC_ACCOUNTS_KEY", KEY)
    monkeypatch.setenv("SYNCSVC_ACCOUNTS_DIR", str(tmp_path / "accounts"))


@pytest.fixture
def add(engine: Engine, sandbox: Sandbox) -> Callable[..., None]:
    """
    Add an account with the provider's token and these settings.
    """

    def adding(name: str, *, enabled: bool = True, **settings: Any) -> None:
        sealed = sealing.seal(PROCESS, name, {"api_token": SecretStr(sandbox.token)})
        account = Account(name=name, enabled=enabled, settings=settings, sealed=sealed)
        with engine.begin() as connection:
            rows.add(connection, account)

    return adding


def failed(result: Result) -> dict[str, str]:
    """
    The failed lines of a check, by subject.
    """
    lines = [line.split(maxsplit=2) for line in result.out.splitlines()]
    return {subject: says for mark, subject, says in lines if mark == "FAILED"}


@pytest.mark.parametrize("enabled", [True, False])
def test_a_sync_takes_settings_and_credentials_from_the_row(
    cli: Callable[..., Result], add: Callable[..., None], enabled: bool
) -> None:
    """
    The row's token and page size are used, not the process's; also while the account is paused.
    """
    add("berlin", enabled=enabled, page_size=3)

    result = cli("sync", "--json", "--account", "berlin")

    summary = json.loads(result.out)
    assert (result.code, summary["account"], summary["listed"]) == (0, "berlin", 7)
    assert summary["pages"] == 3


def test_an_account_named_by_a_variable_has_its_row_too(
    cli: Callable[..., Result], add: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    SYNCSVC_ACCOUNT names an account as --account does, and a dry run is a run.
    """
    add("berlin")
    monkeypatch.setenv("SYNCSVC_ACCOUNT", "berlin")

    assert cli("sync", "--dry-run", "--json").code == 0


def test_an_account_without_a_row_is_synced_as_ever(
    cli: Callable[..., Result], add: Callable[..., None]
) -> None:
    """
    Beside accounts with rows, another one has the process's settings and credentials.
    """
    add("berlin")

    result = cli("sync", "--json", "--account", "paris")

    assert result.code == 1
    assert "401" in json.loads(result.out)["error"]


def test_a_database_of_before_has_no_rows(cli: Callable[..., Result], engine: Engine) -> None:
    """
    Where the table is not there yet, a sync reports the schema, not the table.
    """
    migrate.downgrade(engine, "0007")
    try:
        result = cli("sync")
    finally:
        migrate.upgrade(engine)

    assert result.code == 2
    assert "needs" in result.err
    assert "syncsvc migrate" in result.err


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_first_sync_still_creates_the_tables(
    cli: Callable[..., Result], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    Without a database there is no row to read, and none is created to look for one.
    """
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", f"sqlite:///{tmp_path}/new.db")
    dry = cli("sync", "--dry-run")
    is_there = (tmp_path / "new.db").exists()
    monkeypatch.setenv("SYNCSVC_API_TOKEN", sandbox.token)

    assert (dry.code, is_there) == (1, False)
    assert cli("sync").code == 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"page_size": 0}, "Account 'berlin': SYNCSVC_PAGE_SIZE: 0 is out of range"),
        ({"http_port": 1}, "Account 'berlin': http_port: all accounts of a process share it"),
    ],
)
def test_a_wrong_row_stops_its_account(
    cli: Callable[..., Result],
    add: Callable[..., None],
    engine: Engine,
    settings: dict[str, Any],
    says: str,
) -> None:
    """
    A setting that was written by hand and can't be used is named, and nothing is synced.
    """
    add("berlin")
    with engine.begin() as connection:
        connection.execute(accounts.update().values(settings=settings))

    synced = cli("sync", "--account", "berlin")
    checked = cli("check", "--account", "berlin")

    assert synced.code == 2
    assert says in synced.err
    assert checked.code == 1
    assert says in failed(checked)["account"]


def test_a_check_is_of_the_accounts_own_credentials(
    cli: Callable[..., Result], add: Callable[..., None], tmp_path: Path
) -> None:
    """
    `check` says where the credentials come from, and asks the provider with them.
    """
    add("berlin", page_size=3)
    sealed = cli("check", "--account", "berlin")
    (tmp_path / "accounts" / "berlin").mkdir(parents=True)
    (tmp_path / "accounts" / "berlin" / "api_token").write_text("wrong")
    files = cli("check", "--account", "berlin")
    other = cli("check")

    assert (sealed.code, failed(sealed)) == (0, {})
    assert "its row sets page_size; its credentials are sealed in it" in sealed.out
    assert "3 of 7 numbers on the first page" in sealed.out
    assert (files.code, [*failed(files)]) == (1, ["listing"])
    assert "its credentials are files" in files.out
    assert [*failed(other)] == ["listing"]
    assert "  account  " not in other.out


def test_a_lost_key_is_found_by_the_check(
    cli: Callable[..., Result], add: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without the key, `check` and `sync` name the account and say how to seal new credentials.
    """
    add("berlin")
    monkeypatch.setenv("SYNCSVC_ACCOUNTS_KEY", Fernet.generate_key().decode())

    checked = cli("check", "--account", "berlin")
    synced = cli("sync", "--account", "berlin")

    assert checked.code == 1
    assert "accounts add berlin --credentials FILE" in failed(checked)["account"]
    assert synced.code == 2
    assert "accounts add berlin --credentials FILE" in synced.err


def test_reports_have_the_accounts_currency(
    cli: Callable[..., Result], add: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A report of an account is labelled with its row's currency, and needs no key.
    """
    add("berlin", currency="CHF")
    assert cli("sync", "--account", "berlin").code == 0
    monkeypatch.delenv("SYNCSVC_ACCOUNTS_KEY")
    monkeypatch.setenv("SYNCSVC_CURRENCY", "EUR")

    report = cli("report", "spend-by-country", "--account", "berlin")

    assert report.code == 0
    assert "CHF" in report.out
    assert "EUR" not in report.out


@pytest.mark.neighbour
def test_an_account_that_never_ran_is_known(
    cli: Callable[..., Result], add: Callable[..., None]
) -> None:
    """
    Beside accounts that ran, one with a row but no run has no runs; one without is unknown.
    """
    add("berlin")

    known = cli("runs", "--json", "--account", "berlin")
    unknown = cli("runs", "--account", "paris")

    assert (known.code, json.loads(known.out)) == (0, [])
    assert unknown.code == 1
