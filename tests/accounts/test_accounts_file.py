from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from syncsvc.accounts import accounts_file
from syncsvc.accounts.account_settings import as_stored
from syncsvc.accounts.rows import Account
from syncsvc.settings.settings import Settings

PROCESS = Settings()
PRINTABLE = st.text(st.characters(codec="utf-8"), max_size=100).filter(str.isprintable)
NAMES = PRINTABLE.filter(lambda name: name and name == name.strip())
LABEL = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,20}[A-Za-z0-9])?", fullmatch=True)
FIELDS = st.text(st.characters(codec="utf-8", exclude_characters=","), min_size=1, max_size=20)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "page_size": st.integers(1, 200),
        "api_timeout": st.floats(0, 3600, exclude_min=True),
        "api_allow_http": st.booleans(),
        "api_url": st.sampled_from(["https://a.example/x'y", "http://localhost:1"]),
        "schedule": st.sampled_from(["1s", "365d", "*/5 6-20 * * mon-fri"]),
        "run_deadline": st.integers(1, 10**6).map("{}s".format),
        "ignored_fields": st.lists(
            FIELDS.filter(lambda text: text.isprintable() and text == text.strip()), min_size=1
        ),
        "currency": st.sampled_from(["EUR", "usd"]),
    },
)


@st.composite
def accounts(draw: st.DrawFn) -> list[Account]:
    """
    Accounts as their rows have them, with hostile names, labels and values.
    """
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    found = []
    for name in names:
        written = Account(name=name, settings=draw(SETTINGS))
        found.append(
            Account(
                name=name,
                enabled=draw(st.booleans()),
                settings=as_stored(written, PROCESS),
                labels=dict(sorted(draw(st.dictionaries(LABEL, PRINTABLE, max_size=3)).items())),
                sealed=draw(st.none() | st.just("gAAAAA-sealed")),
            )
        )
    return found


@given(present=accounts())
def test_an_import_of_an_export_changes_nothing(present: list[Account]) -> None:
    """
    Whatever accounts there are, their export is TOML that has no seals and changes nothing.
    """
    text = accounts_file.text_of(present)

    wanted = accounts_file.read(text, "export.toml", PROCESS)

    assert list(accounts_file.changes(present, wanted, prune=True)) == []
    assert [account.name for account in wanted] == [account.name for account in present]
    assert "gAAAAA" not in text


@given(present=accounts(), wanted=accounts())
def test_after_an_import_there_is_nothing_to_change(
    present: list[Account], wanted: list[Account]
) -> None:
    """
    Applying the changes once leaves none, and no account loses its credentials.
    """
    after = {account.name: account for account in present}
    for change in accounts_file.changes(present, wanted, prune=True):
        after[change.account.name] = change.account

    assert list(accounts_file.changes(after.values(), wanted, prune=True)) == []
    assert {account.name: account.sealed for account in present} == {
        account.name: after[account.name].sealed for account in present
    }


def test_an_export_reads_like_a_file_of_settings() -> None:
    """
    Numbers, flags and lists have TOML's own types; what is usual is left out.
    """
    settings: dict[str, Any] = {
        "page_size": 50,
        "api_allow_http": True,
        "api_timeout": 2.5,
        "ignored_fields": ["a", "b"],
        "schedule": "6h",
    }
    text = accounts_file.text_of(
        [
            Account(name="berlin", settings=settings, labels={"tier": "gold"}),
            Account(name="Zürich 1", enabled=False),
        ]
    )

    assert text == (
        "[accounts.berlin]\n"
        'labels = {tier = "gold"}\n'
        "api_allow_http = true\n"
        "api_timeout = 2.5\n"
        'ignored_fields = ["a", "b"]\n'
        "page_size = 50\n"
        'schedule = "6h"\n'
        "\n"
        '[accounts."Zürich 1"]\n'
        "enabled = false\n"
    )
    assert tomllib.loads(text)["accounts"]["berlin"]["api_timeout"] == 2.5
