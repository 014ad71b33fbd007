from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.accounts import credential_files
from syncsvc.errors import ConfigurationError
from syncsvc.settings import sources
from syncsvc.settings.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "hunter2-never-show-this"
HOSTILE = ("..", ".", "../berlin", "/etc", "a/../../b", "%2E%2E", ".hidden", "Zürich 1", "~", "-x")
PRINTABLE = st.text(st.characters(codec="utf-8"), min_size=1, max_size=100).filter(str.isprintable)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """
    Settings with a directory for the files of accounts.
    """
    (tmp_path / "accounts").mkdir()
    return Settings(accounts_dir=str(tmp_path / "accounts"))


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    """
    Make the folder of an account.
    """

    def make(account: str) -> Path:
        path = tmp_path / "accounts" / credential_files.folder_name(account)
        path.mkdir()
        return path

    return make


def values(settings: Settings, account: str) -> dict[str, object]:
    """
    The credentials that are found, in clear text.
    """
    found = credential_files.read(settings, account)
    return {name: item.value for name, item in found.items()}


def test_files_are_read_at_each_call(settings: Settings, folder: Callable[[str], Path]) -> None:
    """
    A rotated file counts at once, without the newlines at its end.
    """
    file = folder("berlin") / "api_token"
    file.write_text("first\r\n\n")
    before = values(settings, "berlin")

    file.write_text("second")

    assert [before, values(settings, "berlin")] == [{"api_token": "first"}, {"api_token": "second"}]


@pytest.mark.parametrize("account", HOSTILE)
def test_no_name_leads_out_of_the_directory(
    account: str, settings: Settings, folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """
    Names of files and paths are names of folders within the directory, each of its own.
    """
    (tmp_path / "api_token").write_text("outside")
    (tmp_path / "accounts" / "api_token").write_text("outside")
    without = values(settings, account)

    (folder(account) / "api_token").write_text("inside")

    assert [without, values(settings, account)] == [{}, {"api_token": "inside"}]


@given(names=st.lists(PRINTABLE, min_size=2, max_size=2, unique=True))
def test_two_accounts_never_share_a_folder(names: list[str]) -> None:
    """
    Different names have different folders, and none is a path.
    """
    first, second = map(credential_files.folder_name, names)

    assert first != second
    assert "/" not in first
    assert first not in {".", ".."}


def test_a_name_that_no_file_can_have_has_no_files(settings: Settings) -> None:
    """
    An account with a name of 300 bytes has no credential files; that is no error.
    """
    assert values(settings, "電" * 100) == {}


def test_the_usual_directories_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without SYNCSVC_ACCOUNTS_DIR, $CREDENTIALS_DIRECTORY/accounts comes before /run/secrets.
    """
    monkeypatch.setattr(sources, "SECRETS_DIRECTORY", tmp_path / "run")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "systemd"))
    for place, accounts in {"run": ("berlin", "paris"), "systemd": ("berlin",)}.items():
        for account in accounts:
            (tmp_path / place / "accounts" / account).mkdir(parents=True)
            (tmp_path / place / "accounts" / account / "api_token").write_text(place)

    found = {name: values(Settings(), name) for name in ("berlin", "paris", "rome")}

    assert found == {"berlin": {"api_token": "systemd"}, "paris": {"api_token": "run"}, "rome": {}}


def test_a_directory_that_is_set_is_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With SYNCSVC_ACCOUNTS_DIR, the usual directories are not read.
    """
    monkeypatch.setattr(sources, "SECRETS_DIRECTORY", tmp_path)
    (tmp_path / "accounts" / "berlin").mkdir(parents=True)
    (tmp_path / "accounts" / "berlin" / "api_token").write_text("usual")

    assert values(Settings(), "berlin") == {"api_token": "usual"}
    assert values(Settings(accounts_dir=str(tmp_path / "none")), "berlin") == {}


def test_a_file_that_can_not_be_opened_is_named(
    settings: Settings, folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file without the right to read it is an error that names account, setting and file.
    """
    file = folder("berlin") / "api_client_secret"
    file.write_text(SECRET)
    real = Path.open

    def refuse(self: Path, mode: str) -> IO[Any]:
        if self == file:
            raise PermissionError(13, "Permission denied")
        return real(self, mode)

    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(ConfigurationError) as caught:
        credential_files.read(settings, "berlin")

    assert str(caught.value) == (
        f"Account 'berlin': SYNCSVC_API_CLIENT_SECRET (file {file}): the file can't be read "
        "(Permission denied). Let the user who runs syncsvc read it, or remove it."
    )


@pytest.mark.parametrize("content", [SECRET.encode() + b"\xff", SECRET.encode() * 2**16])
def test_a_file_that_is_none_of_text_is_not_shown(
    content: bytes, settings: Settings, folder: Callable[[str], Path]
) -> None:
    """
    A file that is not UTF-8, or far too large, is refused without its content.
    """
    (folder("berlin") / "api_token").write_bytes(content)

    with pytest.raises(ConfigurationError) as caught:
        credential_files.read(settings, "berlin")

    assert "Account 'berlin': SYNCSVC_API_TOKEN (file " in str(caught.value)
    assert SECRET not in str(caught.value)
