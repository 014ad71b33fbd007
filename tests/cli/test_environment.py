"""
What a process inherits changes no result: locale, encoding, directory, home, streams, python -OO.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from syncsvc.cli.app import app
from syncsvc.errors import ConfigurationError, SchemaNotCurrent
from syncsvc.sandbox import Behaviour, Inventory, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = "Zürich ☎"
ENVIRONMENTS = {
    "LC_ALL=C": {"LC_ALL": "C"},
    "an unknown locale": {"LC_ALL": "xx_YY.ISO-8859-1", "LANG": "xx_YY.ISO-8859-1"},
    "ASCII without UTF-8 mode": {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    },
    "latin-1 streams": {"PYTHONIOENCODING": "latin-1"},
    "no docstrings, another time zone, no home": {
        "PYTHONOPTIMIZE": "2",
        "TZ": "Asia/Kathmandu",
        "HOME": "/nonexistent",
    },
}
COMMANDS = (
    ("sync",),
    ("check",),
    ("report", "spend-by-range"),
    ("report", "--html", "-"),
    ("migrate", "--check"),
    ("sync", "--help"),
)


@pytest.fixture
def inherited(sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """
    An environment with nothing but the settings.
    """
    sandbox.reset(Inventory.example(), Behaviour())
    return {
        "SYNCSVC_ACCOUNT": ACCOUNT,
        "SYNCSVC_API_TOKEN": sandbox.token,
        "SYNCSVC_API_URL": sandbox.url,
        "SYNCSVC_DATABASE_URL": f"sqlite:///{tmp_path}/Zürich.db",
    }


def syncsvc(
    *words: str, env: dict[str, str], cwd: Path, script: str = 'exec "$@"'
) -> subprocess.CompletedProcess[str]:
    """
    Run a command in a process of its own, started by a shell script.
    """
    command = ["/bin/sh", "-c", script, "sh", sys.executable, "-m", "syncsvc", *words]
    encoded = {os.fsencode(name): value.encode() for name, value in env.items()}
    return subprocess.run(
        command, env=encoded, cwd=cwd, capture_output=True, encoding="utf-8", check=False
    )


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_environment_of_a_process_changes_nothing(
    name: str, inherited: dict[str, str], tmp_path: Path
) -> None:
    """
    Each command works in each environment, and names the account in UTF-8.
    """
    env = inherited | ENVIRONMENTS[name]

    done = {words: syncsvc(*words, env=env, cwd=tmp_path) for words in COMMANDS}

    assert {words: each.returncode for words, each in done.items()} == dict.fromkeys(COMMANDS, 0)
    assert "Traceback" not in "".join(each.stderr for each in done.values())
    assert ACCOUNT in done["check",].stdout
    assert ACCOUNT in done["report", "--html", "-"].stdout
    assert "Example" in done["sync", "--help"].stdout
    assert (tmp_path / "Zürich.db").exists()


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_directory_may_have_a_name_that_is_not_utf8(
    inherited: dict[str, str], tmp_path: Path, locale: str
) -> None:
    """
    A relative database is created and read in a directory of any name.
    """
    directory = tmp_path / os.fsdecode(b"caf\xe9")
    directory.mkdir()
    env = inherited | {"SYNCSVC_DATABASE_URL": "sqlite:///a.db", "LC_ALL": locale}

    done = [syncsvc(word, env=env, cwd=directory) for word in ("sync", "runs", "check")]

    assert [each.returncode for each in done] == [0, 0, 0], done
    assert (directory / "a.db").exists()


def test_a_removed_directory_disturbs_no_absolute_path(
    inherited: dict[str, str], tmp_path: Path
) -> None:
    """
    A process whose directory was removed works, unless the database's file is relative to it.
    """
    relative = inherited | {"SYNCSVC_DATABASE_URL": "sqlite:///a.db"}

    done = [
        syncsvc("sync", env=env, cwd=tmp_path, script='mkdir -p gone; cd gone; rmdir ../gone; "$@"')
        for env in (inherited, relative)
    ]

    assert [each.returncode for each in done] == [0, 2]
    assert "SYNCSVC_DATABASE_URL: a.db is relative to the current directory" in done[1].stderr


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "0<&-"])
def test_a_closed_stream_changes_no_exit_code(
    closed: str, inherited: dict[str, str], tmp_path: Path
) -> None:
    """
    A run succeeds without stdin, stdout or stderr.
    """
    done = syncsvc("sync", env=inherited, cwd=tmp_path, script=f'exec "$@" {closed}')

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["run", "sync", "runs", "migrate"])
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("missing/a.db", "missing"),
        ("directory", "is a directory"),
        ("text", "is not a SQLite database"),
    ],
)
def test_a_file_that_is_no_database_is_a_configuration_error(
    command: str, name: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Each command ends with 2 and a line that names the setting; the worker does not try again.
    """
    (tmp_path / "directory").mkdir()
    (tmp_path / "text").write_text("This is the text of a letter, and not a database. " * 99)
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", f"sqlite:///{tmp_path / name}")
    monkeypatch.setenv("SYNCSVC_API_TOKEN", "token")
    monkeypatch.setenv("SYNCSVC_HTTP_PORT", "0")

    with pytest.raises((ConfigurationError, SchemaNotCurrent)) as refused:
        CliRunner().invoke(app, [command], catch_exceptions=False)

    message = str(refused.value)
    assert "SYNCSVC_DATABASE_URL" in message
    assert wrong in message


def test_the_longest_account_works_on_sqlite(inherited: dict[str, str], tmp_path: Path) -> None:
    """
    A lock file's name stays within the file system's limit.
    """
    done = syncsvc("sync", env=inherited | {"SYNCSVC_ACCOUNT": "☎" * 100}, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
