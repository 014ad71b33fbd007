from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from syncsvc.settings.effective_settings import MEANINGS
from syncsvc.settings.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.build import Result

SECRET = "s3cret-token-value"


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A setting from each source: the environment, a credential file and a TOML file.
    """
    (tmp_path / "api_token").write_text(SECRET)
    (tmp_path / "syncsvc.toml").write_text('schedule = "6h"\naccount = "london"\n')
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("SYNCSVC_CONFIG", str(tmp_path / "syncsvc.toml"))
    monkeypatch.setenv("SYNCSVC_PAGE_SIZE", "50")
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", f"postgresql://me:{SECRET}@db.example/inventory")


@pytest.mark.usefixtures("sources")
def test_every_setting_is_explained(cli: Callable[..., Result], tmp_path: Path) -> None:
    """
    Each setting has its value, its source, its default and its meaning.
    """
    result = cli("config", "--json", "--account", "paris")

    rows = {row["setting"]: row for row in json.loads(result.out)}
    assert result.code == 0
    assert list(rows) == [f"SYNCSVC_{name.upper()}" for name in Settings.model_fields]
    assert all(row["meaning"] for row in rows.values())
    wanted = {
        "SYNCSVC_ACCOUNT": ("paris", "--account"),
        "SYNCSVC_PAGE_SIZE": ("50", "environment"),
        "SYNCSVC_SCHEDULE": ("6h", f"schedule in {tmp_path / 'syncsvc.toml'}"),
        "SYNCSVC_API_TOKEN": ("set", f"file {tmp_path / 'api_token'}"),
        "SYNCSVC_API_CLIENT_ID": (None, "default"),
        "SYNCSVC_HTTP_PORT": ("9464", "default"),
    }
    assert wanted == {name: (rows[name]["value"], rows[name]["source"]) for name in wanted}
    assert rows["SYNCSVC_SCHEDULE"]["default"] == "15m"
    assert rows["SYNCSVC_DATABASE_URL"]["value"].endswith("://me:***@db.example/inventory")


@pytest.mark.usefixtures("sources")
def test_no_secret_is_printed(cli: Callable[..., Result]) -> None:
    """
    Neither form shows a secret, but that it is set.
    """
    table, as_json = cli("config"), cli("config", "--json")

    assert SECRET not in table.out + table.err + as_json.out + as_json.err
    assert ["value", "set"] in [line.split() for line in table.out.splitlines()]


def test_a_wrong_setting_is_named(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What can't be used is an error, as in every command.
    """
    monkeypatch.setenv("SYNCSVC_PAGE_SIZE", "many")

    result = cli("config")

    assert result.code == 2
    assert "SYNCSVC_PAGE_SIZE: 'many'" in result.err


def test_no_setting_lacks_a_meaning() -> None:
    """
    There is a meaning for each setting, and for nothing else.
    """
    assert set(MEANINGS) == set(Settings.model_fields)
