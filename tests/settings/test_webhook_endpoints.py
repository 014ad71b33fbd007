"""
Endpoints of webhooks in the TOML file are judged as settings are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from syncsvc.errors import ConfigurationError
from syncsvc.settings.loading import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from syncsvc.settings.settings import Settings


def loaded(tmp_path: Path, text: str) -> Settings:
    """
    The settings of a process with this TOML file.
    """
    (tmp_path / "syncsvc.toml").write_text(text)
    return load_settings(environ={"SYNCSVC_CONFIG": str(tmp_path / "syncsvc.toml")})


def test_tables_are_read(tmp_path: Path) -> None:
    """
    With their defaults, beside other settings.
    """
    settings = loaded(
        tmp_path,
        """
        page_size = 50
        [notify.ops]
        url = "https://example.com/hook/?token=1"
        [notify.sales]
        url = "http://relay.example/"
        allow_http = true
        events = ["number.*", "run.withheld"]
        accounts = "berlin"
        """,
    )

    ops, sales = settings.webhooks["ops"], settings.webhooks["sales"]
    assert settings.page_size == 50
    assert (ops.url, ops.events, ops.accounts) == (
        "https://example.com/hook/?token=1",
        ("*",),
        ("*",),
    )
    assert (sales.events, sales.accounts) == (("number.*", "run.withheld"), ("berlin",))
    assert not ops.bulk


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("[notify.ops]", "[notify.ops] in FILE: url is missing; give an https address"),
        ("notify = 3", "notify in FILE: is not a table; write [notify.NAME]"),
        ("[notify]\nops = 3", "[notify.ops] in FILE: 3 is not a table"),
        ('[notify."a b"]\nurl="https://e.com"', "[notify.a b] in FILE: the name is not accepted"),
        ('[notify.ops]\nurl="https://e.com"\nulr="x"', "[notify.ops] in FILE: ulr is unknown"),
        ('[notify.ops]\nurl="https://e.com"\nbulk="maybe"', "bulk is not accepted; give true"),
        ('[notify.ops]\nurl="https://e.com"\nevents=[]', "events is not accepted; give a list"),
        ('[notify.ops]\nurl="https://e.com"\nevents=["x"]', "which matches no type of event"),
        ('[notify.ops]\nurl="http://e.com"', "is plain http to another host; allow_http allows it"),
        ('[notify.ops]\nurl="https://192.168.0.1"', "is a private address; allow_private"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, table: str, problem: str) -> None:
    """
    With the table, the file, the field, and what is accepted.
    """
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, table)

    told = str(caught.value)
    assert problem.replace("FILE", str(tmp_path / "syncsvc.toml")) in told
    assert "\n" not in told


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    """
    Those of settings and those of endpoints.
    """
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, 'page_size = 0\n[notify.a]\n[notify.b]\nurl = "x"')

    assert len(str(caught.value).splitlines()) == 3
