"""
`syncsvc accounts`, as somebody with a terminal meets it.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import func, inspect, select, text

from support.processes import MAIN
from syncsvc import clock as clocks
from syncsvc.accounts import rows
from syncsvc.cli import accounts as accounts_cli
from syncsvc.database import locks
from syncsvc.sandbox import Behaviour, Fault, Inventory, Sandbox
from syncsvc.schema.internal_tables import internal_metadata
from syncsvc.schema.tables import account_status, accounts, metadata, number_history

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from support.build import Result

KEY, NEW_KEY = (Fernet.generate_key().decode() for _ in range(2))
SECRET = "hunter2-never-show-this"
COMMANDS = (
    *("add", "import", "export", "list", "show", "set", "pause", "resume", "due", "remove"),
    "reseal",
)
HOSTILE = (
    *("..", "../../etc/passwd", "/", "a b", "'; DROP TABLE accounts; --", 'quote"s', "[x]", "a.b"),
    *("#", "Zürich ☎", "\N{RIGHT-TO-LEFT MARK}"[:0] + "שלום", "$(reboot)", "-", "%00", "\\"),
)


@pytest.fixture
def call(
    engine: Engine,
    sandbox: Sandbox,
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[..., Result]:
    """
    Call `syncsvc accounts` with a migrated database, a key, and the simulated provider.
    """
    sandbox.reset(Inventory.seeded(7), Behaviour())
    url = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", url)
    monkeypatch.setenv("SYNCSVC_API_URL", sandbox.url)
    monkeypatch.setenv("SYNCSVC_ACCOUNTS_KEY", KEY)
    monkeypatch.setenv("SYNCSVC_ACCOUNTS_DIR", str(tmp_path / "accounts"))
    return lambda *words: cli("accounts", *words)


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    """
    A file with a token that the provider does not know.
    """
    file = tmp_path / "secret.toml"
    file.write_text(f'api_token = "{SECRET}"\n')
    return str(file)


@pytest.fixture
def good_file(tmp_path: Path, sandbox: Sandbox) -> str:
    """
    A file with the simulated provider's token.
    """
    file = tmp_path / "good.toml"
    file.write_text(f'api_token = "{sandbox.token}"\n')
    return str(file)


@pytest.fixture
def berlin(call: Callable[..., Result], good_file: str) -> str:
    """
    An account whose credentials the provider takes.
    """
    assert call("add", "berlin", "--credentials", good_file).code == 0
    return "berlin"


def stored(engine: Engine) -> dict[str, dict[str, Any]]:
    """
    The rows of accounts, by name.
    """
    with engine.connect() as connection:
        found = connection.execute(select(accounts)).mappings()
        return {row["account"]: dict(row) for row in found}


def everything(engine: Engine) -> str:
    """
    All that is in the database, and in the bytes of its file.
    """
    with engine.connect() as connection:
        dump = [
            str(row)
            for table in inspect(engine).get_table_names()
            for row in connection.execute(text(f"SELECT * FROM {table}"))  # noqa: S608 - our names
        ]
    if engine.dialect.name == "sqlite":
        folder = Path(engine.url.database or "").parent
        dump += [file.read_bytes().decode("latin-1") for file in folder.glob("syncsvc.db*")]
    return "\n".join(dump)


def status(engine: Engine, account: str, **values: Any) -> None:
    """
    Write how an account stands, as a run of it would have.
    """
    now = clocks.now()
    usual = {"last_finished_at": now, "last_success_at": now, "next_run_at": now}
    with engine.begin() as connection:
        connection.execute(account_status.insert().values(account=account, **{**usual, **values}))


# Every command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(cli: Callable[..., Result], command: str) -> None:
    """
    `--help` of each command shows an example of that very command, within 80 columns.
    """
    result = cli("accounts", command, "--help")

    assert result.code == 0
    assert f"Example: syncsvc accounts {command}" in result.out
    assert max(map(len, result.out.splitlines())) <= 80


def test_no_command_is_untested() -> None:
    """
    The commands of this test are those that there are.
    """
    commands = accounts_cli.app.registered_commands
    names = {command.name or getattr(command.callback, "__name__", "") for command in commands}

    assert names == {*COMMANDS}


@pytest.mark.parametrize(
    "words",
    [
        ("show", "x"),
        ("set", "x", "page_size=1"),
        ("pause", "x"),
        ("resume", "x"),
        ("due", "x"),
        ("remove", "x", "--yes"),
    ],
)
@pytest.mark.usefixtures("berlin")
def test_an_unknown_account_is_named(call: Callable[..., Result], words: tuple[str, ...]) -> None:
    """
    A name that there is not ends a command with 1, and the known ones are named.
    """
    result = call(*words)

    assert (result.code, result.out) == (1, "")
    assert "There is no account 'x'. There are: berlin." in result.err


# add


def test_an_account_is_added_after_a_look_at_its_listing(
    call: Callable[..., Result], engine: Engine, good_file: str
) -> None:
    """
    The provider is asked with the credentials given; they are sealed, settings and labels stored.
    """
    result = call(
        *("add", "berlin", "--set", "page_size=50", "--set", "schedule=1h"),
        *("--label", "tier=gold", "--credentials", good_file),
    )

    assert (result.code, result.err) == (0, "")
    assert result.out == "Account 'berlin' was added. The provider counts 7 numbers.\n"
    row = stored(engine)["berlin"]
    assert row["settings"] == {"page_size": 50, "schedule": "1h"}
    assert row["labels"] == {"tier": "gold"}
    assert row["enabled"] is True


def test_credentials_come_from_stdin(
    call: Callable[..., Result], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    `--credentials -` reads them from stdin.
    """
    written = b'api_client_id = "sandbox"\napi_client_secret = "sandbox-secret"\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(written)))

    result = call("add", "berlin", "--credentials", "-")

    assert (result.code, result.err) == (0, "")
    assert stored(engine)["berlin"]["credentials"]


def test_a_refused_account_is_not_added(
    call: Callable[..., Result], engine: Engine, secret_file: str
) -> None:
    """
    If the provider refuses the credentials, nothing is stored, and --no-check stores them anyway.
    """
    refused = call("add", "berlin", "--credentials", secret_file)
    before = stored(engine)

    added = call("add", "berlin", "--credentials", secret_file, "--no-check")

    assert (refused.code, before) == (1, {})
    assert "Account 'berlin' was not added. " in refused.err
    assert "--no-check adds it without asking" in " ".join(refused.err.split())
    assert (added.code, [*stored(engine)]) == (0, ["berlin"])
    assert SECRET not in refused.err + added.out


def test_an_unreachable_provider_is_told(
    call: Callable[..., Result], engine: Engine, sandbox: Sandbox, good_file: str
) -> None:
    """
    If the provider does not answer, the account is not added.
    """
    sandbox.inject(Fault(kind="status", status=503, times=9))

    result = call("add", "berlin", "--credentials", good_file)

    assert (result.code, stored(engine)) == (1, {})
    assert "503" in result.err


def test_credential_files_are_enough(
    call: Callable[..., Result], engine: Engine, sandbox: Sandbox, tmp_path: Path
) -> None:
    """
    With files in SYNCSVC_ACCOUNTS_DIR nothing is sealed, and no key is needed.
    """
    (tmp_path / "accounts" / "berlin").mkdir(parents=True)
    (tmp_path / "accounts" / "berlin" / "api_token").write_text(sandbox.token)
    os.environ.pop("SYNCSVC_ACCOUNTS_KEY")

    result = call("add", "berlin")

    assert (result.code, result.err) == (0, "")
    assert stored(engine)["berlin"]["credentials"] is None


def test_an_account_without_credentials_is_refused(
    call: Callable[..., Result], engine: Engine
) -> None:
    """
    Without files and without --credentials, the message has both ways; nothing is added.
    """
    result = call("add", "berlin")

    assert (result.code, stored(engine)) == (2, {})
    assert "Account 'berlin' has no credentials." in result.err
    assert "syncsvc accounts add berlin --credentials FILE" in result.err


def test_an_account_may_get_its_credentials_later(
    call: Callable[..., Result], engine: Engine, sandbox: Sandbox, good_file: str, tmp_path: Path
) -> None:
    """
    With --no-check an account may have no credentials yet, which is said; so are both kinds.
    """
    without = call("add", "berlin", "--no-check")
    (tmp_path / "accounts" / "berlin").mkdir(parents=True)
    (tmp_path / "accounts" / "berlin" / "api_token").write_text(sandbox.token)

    both = call("add", "berlin", "--credentials", good_file)

    assert (without.code, [*stored(engine)]) == (0, ["berlin"])
    assert without.err == "It has no credentials yet. `syncsvc accounts show` says how.\n"
    assert (both.code, both.out[:37]) == (0, "Account 'berlin' has new credentials.")
    assert both.err == "Its credential files win over the sealed ones: remove them.\n"


def test_nothing_is_stored_in_clear_text_for_want_of_a_key(
    call: Callable[..., Result], engine: Engine, secret_file: str
) -> None:
    """
    Without SYNCSVC_ACCOUNTS_KEY, credentials are refused with how to make a key.
    """
    os.environ.pop("SYNCSVC_ACCOUNTS_KEY")

    result = call("add", "berlin", "--credentials", secret_file, "--no-check")

    assert (result.code, stored(engine)) == (2, {})
    assert "SYNCSVC_ACCOUNTS_KEY is not set" in result.err
    assert "openssl rand -base64 32" in result.err


def test_an_account_is_added_once(call: Callable[..., Result], engine: Engine, berlin: str) -> None:
    """
    A second `add` without credentials is refused and changes nothing.
    """
    before = stored(engine)

    result = call("add", berlin, "--set", "page_size=1", "--no-check")

    assert (result.code, stored(engine)) == (2, before)
    assert (
        "There is an account 'berlin' already. Change it with `syncsvc accounts set`" in result.err
    )


def test_new_credentials_are_sealed_anew(
    call: Callable[..., Result], engine: Engine, berlin: str, secret_file: str
) -> None:
    """
    `add --credentials` gives an account that is there new ones, and keeps what else it has.
    """
    call("set", berlin, "page_size=50", "--label", "tier=gold")
    before = stored(engine)[berlin]

    result = call("add", berlin, "--credentials", secret_file, "--no-check")

    after = stored(engine)[berlin]
    assert result.out == "Account 'berlin' has new credentials.\n"
    assert before["credentials"] != after["credentials"]
    for column in ("settings", "labels", "enabled", "added_at"):
        assert before[column] == after[column]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "has no credentials. Write api_token"),
        (SECRET.encode(), "is not valid TOML"),
        (f'api_token = "{SECRET}'.encode(), "is not valid TOML at end of document"),
        (f'api_tokn = "{SECRET}"'.encode(), "has api_tokn, which is not a credential"),
        (f'api_token = ["{SECRET}"]'.encode(), "api_token in the file {file} is not text"),
        (f'api_token = "{SECRET} x"'.encode(), "SYNCSVC_API_TOKEN (--credentials): the value"),
        (f'api_token = "a\\n{SECRET}"'.encode(), "SYNCSVC_API_TOKEN (--credentials): the value"),
        (b'api_token = ""', "SYNCSVC_API_TOKEN (--credentials): the value (not shown) is empty"),
        (f'api_client_id = "{SECRET}"'.encode(), "SYNCSVC_API_CLIENT_SECRET: is not set but"),
        (f'api_token = "{SECRET}"'.encode() + b"\xff", "is not UTF-8 text"),
        (None, "can't be read (No such file or directory)"),
    ],
)
def test_a_wrong_file_of_credentials_is_not_shown(
    call: Callable[..., Result], engine: Engine, tmp_path: Path, content: bytes | None, says: str
) -> None:
    """
    Each mistake in the file is told without its content, and nothing is added.
    """
    file = tmp_path / "credentials.toml"
    if content is not None:
        file.write_bytes(content)

    result = call("add", "berlin", "--credentials", str(file), "--no-check")

    assert (result.code, result.out, stored(engine)) == (2, "", {})
    assert says.format(file=file) in result.err
    assert SECRET not in result.err


def test_newlines_around_a_credential_do_not_count(
    call: Callable[..., Result], sandbox: Sandbox, tmp_path: Path
) -> None:
    """
    A token in TOML's text of several lines, as editors leave it, is taken.
    """
    file = tmp_path / "credentials.toml"
    file.write_text(f'api_token = """\n{sandbox.token}\r\n"""\n')

    assert call("add", "berlin", "--credentials", str(file)).code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("--set", "pagesize=5"),
            "Account 'x': pagesize: unknown setting; did you mean page_size?",
        ),
        (("--set", "page_size"), "--set: 'page_size' is not KEY=VALUE."),
        (("--set", "page_size=500"), "Account 'x': SYNCSVC_PAGE_SIZE: '500' is out of range"),
        (("--set", f"api_token={SECRET}"), "Account 'x': api_token: a secret is never stored"),
        (("--set", "database_url=sqlite:///y"), "set SYNCSVC_DATABASE_URL for the process"),
        (("--label", "=gold"), "--label: '=gold' is not KEY=VALUE."),
        (("--label", "a b=gold"), "the label 'a b' is not a name"),
        (("--label", "tier=\x1b[2J"), "the label tier has a value that is not printable"),
    ],
)
def test_what_an_account_can_not_have_is_refused(
    call: Callable[..., Result], engine: Engine, secret_file: str, words: tuple[str, ...], says: str
) -> None:
    """
    Wrong settings and labels end with 2, are named, and nothing is added.
    """
    result = call("add", "x", "--credentials", secret_file, "--no-check", *words)

    assert (result.code, stored(engine)) == (2, {})
    assert says in result.err
    assert SECRET not in result.err
    assert "\x1b" not in result.err


@pytest.mark.parametrize("name", HOSTILE)
def test_any_printable_name_is_only_a_name(
    call: Callable[..., Result], engine: Engine, secret_file: str, tmp_path: Path, name: str
) -> None:
    """
    Names hostile to paths, TOML, SQL and shells are added, shown, exported and imported as such.
    """
    added = call("add", "--credentials", secret_file, "--no-check", "--", name)
    shown = call("show", "--json", "--", name)
    exported = call("export")
    (tmp_path / "export.toml").write_text(exported.out)

    again = call("import", str(tmp_path / "export.toml"))

    assert (added.code, [*stored(engine)]) == (0, [name])
    assert json.loads(shown.out)["account"] == name
    assert [*tomllib.loads(exported.out)["accounts"]] == [name]
    assert (again.code, again.out) == (0, "Nothing to change.\n")


@pytest.mark.parametrize("name", ["", " x", "x\n", "x\x1b[2J", "x" * 101, "\u202ex"])
def test_a_name_that_can_not_be_typed_is_refused(
    call: Callable[..., Result], engine: Engine, secret_file: str, name: str
) -> None:
    """
    Names follow the rules of SYNCSVC_ACCOUNT; the message has no control character.
    """
    result = call("add", name, "--credentials", secret_file, "--no-check")

    assert (result.code, stored(engine)) == (2, {})
    assert "SYNCSVC_ACCOUNT: " in result.err
    assert not {"\x1b", "\u202e"} & {*result.err}


def at_once(*calls: list[str]) -> list[tuple[str, str, int]]:
    """
    The output, errors and exit code of several `syncsvc accounts` that run at the same time.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", f"import sys\nsys.argv = {words!r}\n{MAIN}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in (["syncsvc", "accounts", *call] for call in calls)
    ]
    return [(*process.communicate(timeout=60), process.returncode) for process in processes]


@pytest.mark.usefixtures("call")
def test_two_processes_add_an_account_once(engine: Engine, secret_file: str) -> None:
    """
    Of two that add the same account at once, one adds it; the other is told or seals after it.
    """
    words = ["add", "berlin", "--credentials", secret_file, "--no-check"]

    results = at_once(words, words)

    assert [*stored(engine)] == ["berlin"]
    assert sum(out == "Account 'berlin' was added.\n" for out, _, _ in results) == 1
    for out, err, code in results:
        assert code == 0 or "There is an account 'berlin' already" in err, out


def test_two_processes_that_change_an_account_lose_nothing(engine: Engine, berlin: str) -> None:
    """
    Two changes of different settings at once are both there afterwards.
    """
    settings = {"page_size": 50, "concurrency": 2, "api_retries": 3}

    results = at_once(*(["set", berlin, f"{name}={value}"] for name, value in settings.items()))

    assert [code for _, _, code in results] == [0, 0, 0]
    assert stored(engine)[berlin]["settings"] == settings


# Secrets


def test_no_secret_leaves_the_seal(
    call: Callable[..., Result], engine: Engine, secret_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    No table, file, output or log has a secret or a key in clear text, whatever is called.
    """
    told = [
        call("add", "berlin", "--credentials", secret_file, "--no-check"),
        call("add", "paris", "--credentials", secret_file),
        *(call(*words) for words in (("list",), ("list", "--json"), ("export",), ("reseal",))),
        *(call("show", "berlin", *words) for words in ((), ("--json",))),
        call("set", "berlin", "page_size=5", "--label", "a=b"),
        call("set", "berlin", "page_size=0"),
        call("due", "berlin"),
    ]

    said = "".join(result.out + result.err for result in told) + caplog.text + everything(engine)
    assert "berlin" in everything(engine)
    assert said.count("berlin") > 5
    assert SECRET not in said
    assert KEY not in said
    assert stored(engine)["berlin"]["credentials"] not in "".join(each.out for each in told)


def test_keys_are_rotated(
    call: Callable[..., Result],
    engine: Engine,
    berlin: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A new key is put first, everything is sealed with it, and the old one is not needed any more.
    """
    monkeypatch.setenv("SYNCSVC_ACCOUNTS_KEY", f"{NEW_KEY}\n{KEY}")
    before = stored(engine)[berlin]["credentials"]

    resealed = call("reseal")

    monkeypatch.setenv("SYNCSVC_ACCOUNTS_KEY", NEW_KEY)
    assert (resealed.code, resealed.err) == (0, "")
    assert resealed.out == "The credentials of 1 accounts are sealed with the first key.\n"
    assert before != stored(engine)[berlin]["credentials"]
    assert json.loads(call("show", berlin, "--json").out)["problem"] is None


def test_a_lost_key_is_told_for_each_account(
    call: Callable[..., Result],
    engine: Engine,
    berlin: str,
    good_file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    `reseal` names what it can't open and ends with 1; new credentials help that account.
    """
    monkeypatch.setenv("SYNCSVC_ACCOUNTS_KEY", NEW_KEY)
    call("add", "paris", "--credentials", good_file)
    before = stored(engine)[berlin]

    lost = call("reseal")
    shown = json.loads(call("show", berlin, "--json").out)
    repaired = call("add", berlin, "--credentials", good_file)

    assert lost.code == 1
    assert "The credentials of 1 accounts are sealed" in lost.out
    assert "opens the sealed credentials of account 'berlin'. Add the key" in lost.out
    assert "accounts add berlin --credentials FILE" in shown["problem"]
    assert (shown["credentials"], before["credentials"] is None) == ("sealed", False)
    assert (repaired.code, call("reseal").code) == (0, 0)


@pytest.mark.usefixtures("berlin")
def test_reseal_needs_a_key(call: Callable[..., Result]) -> None:
    """
    Without a key there is nothing to seal with.
    """
    os.environ.pop("SYNCSVC_ACCOUNTS_KEY")

    result = call("reseal")

    assert result.code == 2
    assert "SYNCSVC_ACCOUNTS_KEY is not set" in result.err


# import and export

FILE = """
[accounts.berlin]
page_size = 50
labels = { tier = "gold" }

[accounts."Zürich 1"]
enabled = false
schedule = "6h"
"""


def test_a_file_is_imported_once(
    call: Callable[..., Result], engine: Engine, tmp_path: Path
) -> None:
    """
    A dry run prints what the import then does; a second one finds nothing to change.
    """
    file = tmp_path / "accounts.toml"
    file.write_text(FILE)

    planned, nothing = call("import", str(file), "--dry-run"), stored(engine)
    done = call("import", str(file))
    again = call("import", str(file))

    assert nothing == {}
    assert planned.out == (
        "add     'berlin'\nadd     'Zürich 1'\n2 added; nothing was written (--dry-run).\n"
    )
    assert done.out == "add     'berlin'\nadd     'Zürich 1'\n2 added.\n"
    assert (again.code, again.out) == (0, "Nothing to change.\n")
    found = stored(engine)
    assert found["berlin"]["settings"] == {"page_size": 50}
    assert (found["Zürich 1"]["enabled"], found["berlin"]["labels"]) == (False, {"tier": "gold"})


@pytest.mark.usefixtures("berlin")
def test_a_file_is_the_whole_truth_but_for_secrets(
    call: Callable[..., Result], engine: Engine, good_file: str, tmp_path: Path
) -> None:
    """
    An import changes, pauses and resumes what differs, and keeps credentials; --prune pauses more.
    """
    call("add", "paris", "--credentials", good_file)
    call("add", "rome", "--credentials", good_file)
    call("pause", "rome")
    before = stored(engine)
    file = tmp_path / "accounts.toml"
    file.write_text("[accounts.berlin]\npage_size = 5\n[accounts.rome]\n")

    kept = call("import", str(file))
    pruned = call("import", str(file), "--prune")

    after = stored(engine)
    assert kept.out == "change  'berlin'\nresume  'rome'\n1 changed, 1 resumed.\n"
    assert pruned.out == "pause   'paris'\n1 paused.\n"
    assert {name: row["enabled"] for name, row in after.items()} == {
        "berlin": True,
        "paris": False,
        "rome": True,
    }
    for name, row in before.items():
        assert after[name]["credentials"] == row["credentials"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[accounts.x]\npage_size = 0", "Account 'x': SYNCSVC_PAGE_SIZE: 0 is out of range"),
        (f'[accounts.x]\napi_token = "{SECRET}"', "Account 'x': api_token: a secret is never"),
        ("[accounts.x]\npagesize = 1", "Account 'x': pagesize: unknown setting; did you mean"),
        ("[accounts.x]\nenabled = 1", "Account 'x': enabled is neither true nor false"),
        ("[accounts.x]\nlabels = 1", "Account 'x': labels is not a table of texts"),
        ("[accounts.x]\nlabels = { a = 1 }", "Account 'x': the label a has a value that is not"),
        ('[accounts." x"]', "Account ' x': SYNCSVC_ACCOUNT: ' x' has white space"),
        ("[acounts.x]", "has acounts beside its accounts"),
        ("accounts = 1", "accounts is not a table of tables"),
        ("[accounts]\nx = 1", "Account 'x': it is not a table such as [accounts.berlin]"),
        (f'x = "{SECRET}', "is not valid TOML at end of document"),
        (None, "can't be read (No such file or directory)"),
    ],
)
def test_a_wrong_file_changes_nothing(
    call: Callable[..., Result], engine: Engine, tmp_path: Path, content: str | None, says: str
) -> None:
    """
    If one account of the file is wrong, none is imported, and each problem is a line.
    """
    file = tmp_path / "accounts.toml"
    if content is not None:
        more = "[accounts.fine]\n[accounts.y]\nnothing = 1\n"
        file.write_text(f"{content}\n{more}" if "[accounts.x]" in content else content)

    result = call("import", str(file))

    assert (result.code, result.out, stored(engine)) == (2, "", {})
    assert says in result.err
    assert SECRET not in result.err
    assert content is None or "[accounts.x]" not in content or "Account 'y': nothing" in result.err


def test_the_single_account_is_adopted_with_its_history(
    call: Callable[..., Result],
    cli: Callable[..., Result],
    engine: Engine,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    `import --from-settings` makes a row of the settings and seals their credentials, once.
    """
    monkeypatch.setenv("SYNCSVC_API_TOKEN", sandbox.token)
    monkeypatch.setenv("SYNCSVC_ACCOUNT", "london")
    monkeypatch.setenv("SYNCSVC_PAGE_SIZE", "3")
    first = cli("sync", "--json")
    planned, nothing = call("import", "--from-settings", "--dry-run"), stored(engine)

    done = call("import", "--from-settings")
    again = call("import", "--from-settings")
    monkeypatch.delenv("SYNCSVC_API_TOKEN")
    monkeypatch.delenv("SYNCSVC_PAGE_SIZE")
    monkeypatch.delenv("SYNCSVC_API_URL")
    second = cli("sync", "--json", "--account", "london")

    assert (planned.out, nothing) == (
        "add     'london'\n1 added; nothing was written (--dry-run).\n",
        {},
    )
    assert (done.out, again.out) == ("add     'london'\n1 added.\n", "Nothing to change.\n")
    assert stored(engine)["london"]["settings"] == {"api_url": sandbox.url, "page_size": 3}
    assert sandbox.token not in everything(engine)
    assert json.loads(first.out)["provisioned"] + json.loads(first.out)["added"] > 0
    assert (json.loads(second.out)["unchanged"], json.loads(second.out)["pages"]) == (7, 3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Give a file, or --from-settings."),
        (("x.toml", "--from-settings"), "Give a file, or --from-settings."),
        (("--from-settings", "--prune"), "--prune needs a file."),
        (("--from-settings",), "There are no credentials for the provider"),
    ],
)
def test_an_import_needs_one_source(
    call: Callable[..., Result], words: tuple[str, ...], says: str
) -> None:
    """
    What an import is made from is said, and only once.
    """
    result = call("import", *words)

    assert result.code == 2
    assert says in " ".join(result.err.replace("│", " ").split())


# list and show


def test_accounts_are_listed_by_state_and_label(
    call: Callable[..., Result], engine: Engine, secret_file: str
) -> None:
    """
    Each account is in one state; `--state` and `--label` choose, and both together choose fewer.
    """
    long_ago = clocks.now() - timedelta(hours=1)
    states: dict[str, dict[str, Any] | None] = {
        "failing": {"failures": 3, "withheld": 1},
        "late": {"next_run_at": long_ago},
        "never": None,
        "ok": {"live_numbers": 12},
        "paused": {"failures": 3},
        "withheld": {"withheld": 1, "next_run_at": long_ago},
    }
    for name, values in states.items():
        tier = "gold" if name in {"late", "ok"} else "tin"
        call(
            *("add", f"is {name}", "--label", f"tier={tier}", "--credentials", secret_file),
            "--no-check",
        )
        if values is not None:
            status(engine, f"is {name}", **values)
    call("pause", "is paused")

    listed = json.loads(call("list", "--json").out)

    assert {row["account"]: row["state"] for row in listed} == {
        f"is {name}": name for name in states
    }
    for name in states:
        chosen = json.loads(call("list", "--json", "--state", name).out)
        assert [row["account"] for row in chosen] == [f"is {name}"]
    golden = json.loads(call("list", "--json", "--label", "tier=gold").out)
    assert {row["account"] for row in golden} == {"is late", "is ok"}
    both = call("list", "--json", "--label", "tier=gold", "--state", "never")
    assert json.loads(both.out) == []


def test_the_list_is_a_table_of_80_columns(
    call: Callable[..., Result], engine: Engine, berlin: str
) -> None:
    """
    Without --json the accounts are a table with state, numbers and times.
    """
    status(engine, berlin, live_numbers=1234)

    result = call("list")

    assert result.code == 0
    assert max(map(len, result.out.splitlines())) <= 80
    assert {"berlin", "ok", "1,234"} <= {*result.out.split()}


def test_an_account_is_shown_with_where_its_credentials_are(
    call: Callable[..., Result], engine: Engine, berlin: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    """
    `show` has the row, the state, and `sealed`, `files` or `none`; what is wrong is its problem.
    """
    call("set", berlin, "ignored_fields=a,b", "--label", "tier=gold")
    status(engine, berlin, live_numbers=7)
    sealed = json.loads(call("show", berlin, "--json").out)
    table = call("show", berlin).out
    (tmp_path / "accounts" / berlin).mkdir(parents=True)
    (tmp_path / "accounts" / berlin / "api_token").write_text(sandbox.token)
    files = json.loads(call("show", berlin, "--json").out)
    (tmp_path / "none.toml").write_text("[accounts.paris]\n")
    call("import", str(tmp_path / "none.toml"))
    none = json.loads(call("show", "paris", "--json").out)

    assert (sealed["credentials"], sealed["problem"]) == ("sealed", None)
    assert (sealed["state"], sealed["settings"]) == ("ok", {"ignored_fields": ["a", "b"]})
    assert sealed["status"]["live_numbers"] == 7
    assert "settings.ignored_fields" in table
    assert "labels.tier" in table
    assert (files["credentials"], none["credentials"]) == ("files", "none")
    assert none["problem"].startswith("Account 'paris' has no credentials.")


def test_a_row_that_is_wrong_can_be_shown_and_listed(
    call: Callable[..., Result], engine: Engine, berlin: str
) -> None:
    """
    A wrong setting, written by hand, is told by `show` and keeps nobody from the list.
    """
    with engine.begin() as connection:
        connection.execute(accounts.update().values(settings={"schedule": "often"}))

    shown = call("show", berlin)
    listed = call("list")
    repaired = call("set", berlin, "schedule=")

    assert shown.code == listed.code == repaired.code == 0
    assert "SYNCSVC_SCHEDULE: 'often' is not an interval" in " ".join(shown.out.split())
    assert stored(engine)[berlin]["settings"] == {}


# set, pause, resume


def test_settings_are_set_and_removed(
    call: Callable[..., Result], engine: Engine, berlin: str
) -> None:
    """
    Each change is printed; an empty value removes a setting or a label.
    """
    done = call("set", berlin, "page_size=50", "currency=eur", "--label", "tier=gold")
    again = call("set", berlin, "page_size=50")
    removed = call("set", berlin, "page_size=", "concurrency=", "--label", "tier=")

    assert done.out == "currency is 'EUR' now.\npage_size is 50 now.\nlabel tier is 'gold' now.\n"
    assert again.out == "Account 'berlin' has that already.\n"
    assert removed.out == "page_size was removed.\nlabel tier was removed.\n"
    row = stored(engine)[berlin]
    assert (row["settings"], row["labels"]) == ({"currency": "EUR"}, {})


def test_a_wrong_change_changes_nothing(
    call: Callable[..., Result], engine: Engine, berlin: str
) -> None:
    """
    If one of several values is wrong, none is written.
    """
    before = stored(engine)

    result = call("set", berlin, "concurrency=2", "page_size=many")

    assert (result.code, stored(engine)) == (2, before)
    assert "Account 'berlin': SYNCSVC_PAGE_SIZE: 'many' is not a whole number" in result.err


@pytest.mark.parametrize("word", ["nonsense=", "api_token=", "http_port=1", "account=paris"])
def test_what_can_not_be_set_can_not_be_removed(
    call: Callable[..., Result], berlin: str, word: str
) -> None:
    """
    A name that a row can't have is refused, also with an empty value.
    """
    assert call("set", berlin, word).code == 2


def test_an_account_is_paused_and_resumed(
    call: Callable[..., Result], engine: Engine, berlin: str
) -> None:
    """
    Both say whether they changed anything.
    """
    said = [call(word, berlin).out for word in ("pause", "pause", "resume", "resume")]
    with engine.connect() as connection:
        enabled = rows.enabled(connection)

    assert said == [
        "Account 'berlin' is paused now.\n",
        "Account 'berlin' is paused already.\n",
        "Account 'berlin' is enabled now.\n",
        "Account 'berlin' is enabled already.\n",
    ]
    assert enabled == [berlin]


# due


def due_in(engine: Engine) -> dict[str, bool]:
    """
    Whether each account is due.
    """
    with engine.connect() as connection:
        found = connection.execute(select(account_status.c.account, account_status.c.next_run_at))
        now = clocks.now() + timedelta(seconds=1)
        return {account: next_run_at <= now for account, next_run_at in found}


def test_accounts_are_made_due(
    call: Callable[..., Result], engine: Engine, secret_file: str
) -> None:
    """
    Those named are due now, and with --failing those that are; a paused one is left alone.
    """
    later = clocks.now() + timedelta(hours=6)
    for name in ("berlin", "paris", "rome", "oslo"):
        call("add", name, "--credentials", secret_file, "--no-check")
        status(engine, name, next_run_at=later, failures=2 if name in {"rome", "oslo"} else 0)
    call("pause", "oslo")

    named = call("due", "berlin", "oslo")
    first = due_in(engine)
    failing = call("due", "--failing")
    second = due_in(engine)

    assert named.out == "Account 'berlin' is due now.\nAccount 'oslo' is paused.\n"
    assert first == {"berlin": True, "oslo": False, "paris": False, "rome": False}
    assert failing.out == "Account 'rome' is due now.\n"
    assert second == {"berlin": True, "oslo": False, "paris": False, "rome": True}


def test_an_unknown_name_makes_none_due(
    call: Callable[..., Result], engine: Engine, berlin: str
) -> None:
    """
    If one of the names is not known, no account is made due.
    """
    status(engine, berlin, next_run_at=clocks.now() + timedelta(hours=6))

    result = call("due", berlin, "paris")

    assert (result.code, due_in(engine)) == (1, {berlin: False})


# remove


@pytest.fixture
def synced(cli: Callable[..., Result], berlin: str) -> str:
    """
    An account with numbers and history.
    """
    assert cli("sync", "--account", berlin).code == 0
    return berlin


def sizes(engine: Engine) -> dict[str, int]:
    """
    How many rows each table has.
    """
    tables = [*metadata.sorted_tables, *internal_metadata.sorted_tables]
    with engine.connect() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables
        }


@pytest.mark.neighbour
def test_history_outlives_its_account(
    call: Callable[..., Result], engine: Engine, synced: str
) -> None:
    """
    Without --delete-data, only the account's row is removed.
    """
    before = sizes(engine)

    result = call("remove", synced, "--yes")

    assert result.code == 0
    assert "history are kept" in result.out
    assert sizes(engine) == before | {"accounts": before["accounts"] - 1}


@pytest.mark.neighbour
def test_an_account_is_removed_with_all_of_its_rows(
    call: Callable[..., Result], engine: Engine, synced: str
) -> None:
    """
    With --delete-data, no table has a row of the account, and other accounts keep theirs.
    """
    with engine.connect() as connection:
        had = connection.execute(
            select(func.count())
            .select_from(number_history)
            .where(number_history.c.account == synced)
        ).scalar_one()

    result = call("remove", synced, "--delete-data", "--yes")

    assert result.code == 0
    assert f"number_history: {had} rows were deleted." in result.out
    assert had == 7
    assert synced not in everything_in_rows(engine)


def everything_in_rows(engine: Engine) -> set[str]:
    """
    All accounts that have a row in any table.
    """
    found: set[str] = set()
    with engine.connect() as connection:
        for table in [*metadata.sorted_tables, *internal_metadata.sorted_tables]:
            if "account" in table.c:
                found |= {*connection.execute(select(table.c.account)).scalars()}
    return found


def test_a_removal_waits_for_the_run_in_progress(
    call: Callable[..., Result], engine: Engine, synced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While a run has the account's lock, nothing is removed; afterwards it is.
    """
    seen: list[list[str]] = []
    holder = engine.connect()
    lock = locks.run_lock(holder, synced)
    lock.__enter__()

    def wait(_seconds: float) -> None:
        seen.append([*stored(engine)])
        if len(seen) == 2:
            lock.__exit__(None, None, None)

    monkeypatch.setattr("time.sleep", wait)

    result = call("remove", synced, "--yes")

    holder.close()
    assert (result.code, seen) == (0, [[synced], [synced]])
    assert result.err.count("Waiting for a run to end.") == 1
    assert stored(engine) == {}


def test_a_removal_is_confirmed(
    call: Callable[..., Result], engine: Engine, berlin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without --yes and without a terminal nothing is removed; on a terminal the answer decides.
    """
    refused = call("remove", berlin)
    answers = {}
    for answer in ("n", "y"):
        stdin = io.TextIOWrapper(io.BytesIO(f"{answer}\n".encode()))
        monkeypatch.setattr(stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stdin", stdin)
        answers[answer] = (call("remove", berlin, "--delete-data"), [*stored(engine)])

    assert refused.code == 2
    assert "Add --yes" in refused.err
    assert answers["n"][1] == [berlin]
    assert answers["n"][0].code == 1
    assert "delete all of its numbers and history" in answers["n"][0].err
    assert (answers["y"][0].code, answers["y"][1]) == (0, [])
