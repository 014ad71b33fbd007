from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import make_url, select

from support.build import Result
from syncsvc import __version__
from syncsvc.cli.app import app
from syncsvc.database import locks, runs
from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate
from syncsvc.sandbox import Behaviour, Fault, Inventory, Sandbox
from syncsvc.schema.tables import numbers, sync_runs
from syncsvc.vocabulary import Event, Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Engine

KEYS = [
    "run_id",
    "account",
    "state",
    "walks",
    "pages",
    "num_results",
    "listed",
    "added",
    "provisioned",
    "cancelled",
    "reinstated",
    "changed",
    "unchanged",
    "address_changes",
    "rejected",
    "withheld",
    "duration_seconds",
    "error",
]
COMMANDS = (
    "sync",
    "run",
    "migrate",
    "check",
    "config",
    "runs",
    "history",
    "report",
    "prune",
    "sandbox",
    "demo",
)


@pytest.fixture
def provider(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """
    A simulated provider that the settings lead to.
    """
    sandbox.reset(Inventory.seeded(450), Behaviour())
    monkeypatch.setenv("SYNCSVC_API_URL", sandbox.url)
    monkeypatch.setenv("SYNCSVC_API_TOKEN", sandbox.token)
    return sandbox


@pytest.fixture
def process_environment(provider: Sandbox, tmp_path: Path) -> dict[str, str]:
    """
    The environment of a real process that syncs the simulated provider.
    """
    return {
        **os.environ,
        "SYNCSVC_API_URL": provider.url,
        "SYNCSVC_API_TOKEN": provider.token,
        "SYNCSVC_DATABASE_URL": f"sqlite:///{tmp_path}/process.db",
    }


def test_version_is_printed(cli: Callable[..., Result]) -> None:
    """
    `--version` prints name and version.
    """
    assert Result(0, f"syncsvc {__version__}\n", "") == cli("--version")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(cli: Callable[..., Result], command: str) -> None:
    """
    `--help` of each command shows an example of that very command.
    """
    result = cli(command, "--help")

    assert result.code == 0
    assert f"Example: syncsvc {command}" in result.out


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", ["80", "120"])
def test_help_flows_and_shows_no_type_of_a_flag(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, command: str, width: str
) -> None:
    """
    A paragraph of `--help` breaks only where the next word does not fit; flags take no `<bool>`.
    """
    monkeypatch.setenv("COLUMNS", width)

    told = cli(command, "--help").out

    text = told.partition("Usage:")[2].partition("╭")[0].splitlines()[1:]
    pairs = [(line, below) for line, below in pairwise(text) if line.strip() and below.strip()]
    assert [
        line for line, below in pairs if len(f" {line.strip()} {below.split()[0]}") < int(width)
    ] == []
    assert "<bool>" not in told


def test_the_help_has_exit_codes_and_where_the_documentation_is(cli: Callable[..., Result]) -> None:
    """
    `syncsvc --help` lists each exit code on a line of its own.
    """
    told = cli("--help").out

    codes = [line.split()[0] for line in told.splitlines() if line[3:4].isdigit()]
    assert codes == ["0", "1", "2", "3", "4", "130"]
    assert "Documentation: README.md" in told
    assert "<bool>" not in told


def test_the_list_of_commands_is_the_one_that_is_tested() -> None:
    """
    No command is left out of the tests above.
    """
    names = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback
    }

    assert set(COMMANDS) == names


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["report", "trust", "--format", "pdf"], "'--format': 'pdf' is not one of"),
        (["runs", "--limit", "abc"], "'--limit': not a whole number"),
        (["runs", "--limit", "0"], "'--limit': it must be at least 1"),
        (["sandbox", "--change-every", "x"], "'--change-every': not a number"),
        (["sandbox", "--port", "99999"], "'--port': it must be at most 65535"),
        (["prune", "--keep-history", "0d"], "'0d' is too short: it must be at least 1d."),
        (["prune", "--keep-runs", "6m"], "--keep-runs: '6m' is not a length of time."),
    ],
)
def test_a_wrong_value_is_named_in_plain_words(
    cli: Callable[..., Result], words: list[str], complaint: str
) -> None:
    """
    The message has the option and what it takes, and nothing of the library that read it.
    """
    result = cli(*words)

    assert result.code == 2
    assert complaint in " ".join(result.err.replace("│", " ").split())


def test_an_unknown_option_is_a_usage_error(cli: Callable[..., Result]) -> None:
    """
    What the command does not know ends with 2.
    """
    assert cli("sync", "--bogus").code == 2


def test_without_credentials_sync_says_what_to_set(cli: Callable[..., Result]) -> None:
    """
    Missing credentials are named, and nothing is opened.
    """
    result = cli("sync")

    assert result.code == 2
    assert "SYNCSVC_API_TOKEN" in result.err
    assert list(Path().iterdir()) == []


def test_wrong_settings_are_all_named(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Each wrong setting has its line, an unknown one with the nearest known name.
    """
    monkeypatch.setenv("SYNCSVC_PAGE_SIZ", "100")
    monkeypatch.setenv("SYNCSVC_CONCURRENCY", "none")

    result = cli("sync")

    assert result.code == 2
    assert "SYNCSVC_PAGE_SIZE" in result.err
    assert "SYNCSVC_CONCURRENCY: 'none'" in result.err


def test_the_config_flag_names_the_toml_file(
    cli: Callable[..., Result], provider: Sandbox, tmp_path: Path
) -> None:
    """
    Settings come from the file that `--config` names.
    """
    (tmp_path / "mine.toml").write_text('account = "from-the-file"\n')

    result = cli("--config", "mine.toml", "sync", "--json")

    assert json.loads(result.out)["account"] == "from-the-file"
    assert len(provider.inventory.rows) == 450


def test_sync_fills_an_empty_sqlite_file(cli: Callable[..., Result], provider: Sandbox) -> None:
    """
    The first sync makes the file, its tables and its rows, and sums up in 80 columns.
    """
    result = cli("sync")

    assert result.code == 0
    assert "of 450, on 3 pages in 1 walk" in result.out
    assert max(map(len, result.out.splitlines())) <= 80
    assert len(provider.inventory.rows) == _count(make_url("sqlite:///syncsvc.db"))


def test_sync_json_prints_one_object_with_the_promised_keys(
    cli: Callable[..., Result], provider: Sandbox
) -> None:
    """
    `--json` prints the keys of the contract, in its order, and nothing else.
    """
    summary = json.loads(cli("sync", "--json").out)

    assert list(summary) == KEYS
    assert (
        summary["state"],
        summary["listed"],
        summary["added"] + summary["provisioned"],
    ) == ("succeeded", 450, 450)
    assert _pages_asked_for(provider) == 3


@pytest.mark.parametrize("already", [False, True])
def test_a_dry_run_tells_what_would_change_and_writes_nothing(
    cli: Callable[..., Result], provider: Sandbox, already: bool
) -> None:
    """
    `--dry-run` lists the changes, `--json` all of them; neither a file nor a row is written.
    """
    if already:
        cli("sync")
    provider.inventory.provision(1)
    before = _count(make_url("sqlite:///syncsvc.db")) if already else 0

    result = cli("sync", "--dry-run")
    planned = json.loads(cli("sync", "--dry-run", "--json").out)

    assert result.code == 0
    assert "Dry run, nothing was written" in result.out
    assert "first seen (listing)" in result.out
    assert (planned["state"], planned["run_id"]) == ("planned", None)
    assert (1 if already else 451) == planned["added"] + planned["provisioned"]
    events = Counter(row["event"] for row in planned["number_history"])
    assert events == {name: planned[name] for name in Event if planned[name]}
    assert len(planned["address_history"]) == planned["address_changes"]
    assert already == Path("syncsvc.db").exists()
    assert before == (_count(make_url("sqlite:///syncsvc.db")) if already else 0)


def test_a_failed_run_exits_with_1_and_says_why(
    cli: Callable[..., Result], provider: Sandbox
) -> None:
    """
    A refused token ends the run, and the message says what to check.
    """
    provider.revoke()

    result = cli("sync")
    as_json = json.loads(cli("sync", "--json").out)

    assert result.code == 1
    assert "SYNCSVC_API_TOKEN" in " ".join(result.out.split())
    assert (as_json["state"], as_json["run_id"]) == ("failed", 2)
    assert "401 from" in as_json["error"]


def test_a_database_out_of_reach_fails_the_run(
    cli: Callable[..., Result], provider: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    If not even the run can be recorded, the result still says so, without the password.
    """
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", "postgresql://u:s3cret@127.0.0.1:1/x")

    result = cli("sync", "--json")

    assert (result.code, json.loads(result.out)["run_id"]) == (1, None)
    assert "s3cret" not in result.out + result.err
    assert provider.requests == []


def test_a_missing_directory_is_a_configuration_error(
    cli: Callable[..., Result], provider: Sandbox
) -> None:
    """
    A SQLite file in a directory that is not there is refused by the setting's name.
    """
    result = cli("sync", "--database-url", "sqlite:////nowhere/at/all.db")

    assert result.code == 2
    assert "SYNCSVC_DATABASE_URL" in result.err
    assert provider.requests == []


def test_a_server_database_must_be_migrated_first(
    cli: Callable[..., Result], provider: Sandbox, postgresql_server: URL
) -> None:
    """
    An empty PostgreSQL database is refused with the command to run, then migrated by it.
    """
    url = postgresql_server.set(database="template1").render_as_string(hide_password=False)

    result = cli("sync", "--database-url", url)

    assert result.code == 2
    assert "syncsvc migrate" in result.err
    assert provider.requests == []


def test_the_second_run_of_an_account_is_told_who_holds_the_lock(
    cli: Callable[..., Result], provider: Sandbox
) -> None:
    """
    While one run holds the lock, the next one ends with 4 and names the holder.
    """
    cli("sync")
    engine = open_engine(make_url("sqlite:///syncsvc.db"))

    with engine.connect() as connection, locks.run_lock(connection, "default"):
        with connection.begin():
            runs.begin(connection, "default", Trigger.MANUAL)
        result = cli("sync")

    assert result.code == 4
    assert f"process {os.getpid()}" in result.err
    assert _pages_asked_for(provider) == 3


def test_migrate_builds_the_schema_and_check_tells(
    cli: Callable[..., Result], empty_url: URL
) -> None:
    """
    `migrate` brings the database to the newest schema; `--check` only tells.
    """
    url = ["--database-url", empty_url.render_as_string(hide_password=False)]

    codes = [
        cli("migrate", "--check", *url).code if "sqlite" not in str(empty_url) else 1,
        cli("migrate", *url).code,
        cli("migrate", "--check", *url).code,
    ]

    assert codes == [1, 0, 0]


def test_migrate_sql_prints_ddl_only(cli: Callable[..., Result]) -> None:
    """
    `--sql` prints the statements and opens nothing.
    """
    result = cli("migrate", "--sql", "--database-url", "postgresql://u@127.0.0.1:1/x")

    assert result.code == 0
    assert "CREATE TABLE numbers" in result.out
    assert "COMMENT ON COLUMN numbers.uuid" in result.out


def test_looking_at_a_file_that_is_not_there_does_not_make_it(cli: Callable[..., Result]) -> None:
    """
    `runs`, `history` and `migrate --check` leave no empty file behind.
    """
    codes = [cli("runs").code, cli("history", "+441245123456").code, cli("migrate", "--check").code]

    assert codes == [2, 2, 2]
    assert list(Path().iterdir()) == []


def test_check_goes_through_all_that_a_run_needs(
    cli: Callable[..., Result], provider: Sandbox
) -> None:
    """
    The doctor has a line for each thing, before the first sync and after it.
    """
    before = cli("check")
    cli("sync")
    after = cli("check")

    provider_subjects = ["connection", "credentials", "listing", "clock"]
    subjects = ["settings", "database", "files", "schema", *provider_subjects]
    assert (before.code, after.code) == (0, 0)
    assert subjects == [line.split()[1] for line in before.out.splitlines()]
    subjects[4:4] = ["triggers", "rehearsal"]
    assert subjects == [line.split()[1] for line in after.out.splitlines()]
    assert "200 of 450 numbers on the first page" in after.out
    assert provider.token not in before.out + after.out


def test_check_buys_a_token_with_client_credentials(
    cli: Callable[..., Result], provider: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Client credentials are tried out, not only looked at.
    """
    monkeypatch.delenv("SYNCSVC_API_TOKEN")
    monkeypatch.setenv("SYNCSVC_API_CLIENT_ID", provider.client_id)
    monkeypatch.setenv("SYNCSVC_API_CLIENT_SECRET", provider.client_secret)
    good = cli("check")
    monkeypatch.setenv("SYNCSVC_API_CLIENT_SECRET", "wrong")

    bad = cli("check")

    assert (good.code, bad.code) == (0, 1)
    assert "SYNCSVC_API_CLIENT_SECRET" in bad.out
    assert "listing" not in bad.out


def test_check_says_what_is_wrong(cli: Callable[..., Result], provider: Sandbox) -> None:
    """
    Each failed line says what to do, and the exit code is 1.
    """
    provider.inject(Fault(kind="status", status=403))

    result = cli("check", "--database-url", "postgresql://u@127.0.0.1:1/x")

    assert result.code == 1
    lines = [line.split()[:2] for line in result.out.splitlines()]
    assert ["FAILED", "database"] in lines
    assert ["FAILED", "listing"] in lines
    assert "permission" in result.out


def test_runs_lists_the_newest_first(cli: Callable[..., Result], provider: Sandbox) -> None:
    """
    The last runs fit into 80 columns, failed ones with their reason.
    """
    cli("sync")
    provider.revoke()
    cli("sync")

    table = cli("runs")
    rows = json.loads(cli("runs", "--json").out)
    newest = json.loads(cli("runs", "--json", "--limit", "1").out)

    assert max(map(len, table.out.splitlines())) <= 80
    assert "Run 2: The provider rejected the request" in table.out
    assert [(row["id"], row["state"]) for row in rows] == [(2, "failed"), (1, "succeeded")]
    assert [row["id"] for row in newest] == [2]


def test_history_shows_the_timeline_of_a_number(
    cli: Callable[..., Result], provider: Sandbox
) -> None:
    """
    A number is found by E.164, with or without its plus, and by uuid.
    """
    provider.reset(Inventory.example())
    cli("sync")
    provider.inventory.cancel(1)
    cli("sync")

    table = cli("history", "+441245123456")
    by_digits = json.loads(cli("history", "44 1245 123456", "--json").out)
    by_uuid = json.loads(cli("history", "7C327E0F-6BCE-4B2F-9D5D-9C86E7FA065F", "--json").out)

    assert max(map(len, table.out.splitlines())) <= 80
    assert "2016-01-03 17:48:59" in table.out
    assert by_digits == by_uuid
    assert [row["event"] for row in by_uuid[0]["history"]] == ["provisioned", "cancelled"]


def test_an_unknown_number_exits_with_1(cli: Callable[..., Result], provider: Sandbox) -> None:
    """
    A number that was never seen is named in the error.
    """
    cli("sync")

    result = cli("history", "+000")

    assert result.code == 1
    assert "'+000'" in result.err
    assert _pages_asked_for(provider) == 3


def test_the_demo_needs_nothing_and_shows_the_job(cli: Callable[..., Result]) -> None:
    """
    The demo syncs a changing provider and prints changes and queries.
    """
    result = cli("demo")

    assert result.code == 0
    for word in ("provisioned", "cancelled", "reinstated", "SELECT", "syncsvc history +"):
        assert word in result.out
    assert "Run 5 succeeded" in result.out


def test_the_demo_takes_no_settings(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Real settings are left alone by the demo.
    """
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", "postgresql://u@127.0.0.1:1/x")

    assert cli("demo").code == 0


@pytest.fixture
def started(process_environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """
    Start the real command; what still runs at the end is ended.
    """
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "syncsvc", *arguments],
            env=process_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sync_stops_at_once_and_is_recorded(
    provider: Sandbox,
    started: Callable[..., subprocess.Popen[str]],
    process_environment: dict[str, str],
    number: signal.Signals,
) -> None:
    """
    A signal ends a run that waits for the provider, long before it would answer, with 130.
    """
    provider.inject(Fault(kind="timeout", seconds=30, skip=1, times=10))
    process = started("sync")
    _wait_until(lambda: len(provider.requests) > 1)

    process.send_signal(number)
    _, told = process.communicate(timeout=25)

    assert process.returncode == 130
    assert told.splitlines()[-1] == "Stopped; nothing was published."
    engine = open_engine(make_url(process_environment["SYNCSVC_DATABASE_URL"]))
    assert _states(engine) == [("failed", "Interrupted.")]


def test_the_sandbox_serves_until_it_is_interrupted(
    cli: Callable[..., Result],
    started: Callable[..., subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    `syncsvc sandbox` says how to reach it, and `syncsvc sync` does.
    """
    process = started("sandbox", "--port", "0", "--example", "--fault", '{"kind": "status"}')
    assert process.stdout is not None
    first_line = process.stdout.readline()
    monkeypatch.setenv("SYNCSVC_API_URL", first_line.split(" at ")[1].split(",")[0])
    monkeypatch.setenv("SYNCSVC_API_TOKEN", "sandbox-token")

    summary = json.loads(cli("sync", "--json").out)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=10)

    assert told.splitlines()[-1] == "Stopped."
    assert (summary["state"], summary["listed"]) == ("succeeded", 1)
    assert process.returncode == 130


def test_a_port_that_is_taken_is_named(cli: Callable[..., Result]) -> None:
    """
    A busy port of the sandbox is one line that says what to do.
    """
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = cli("sandbox", "--port", str(port))

    assert result.code == 2
    assert result.err == (
        f"syncsvc: --port {port}: the sandbox can't listen there (Address already in use). "
        "Choose another port; 0 takes a free one.\n"
    )


@pytest.mark.parametrize("fault", ["bogus", '{"kind": "status", "colour": 1}', "{"])
def test_a_fault_that_there_is_not_is_refused(cli: Callable[..., Result], fault: str) -> None:
    """
    `--fault` is checked before anything is served.
    """
    result = cli("sandbox", "--port", "0", "--fault", fault)

    assert result.code == 2
    assert "--fault" in result.err


def _pages_asked_for(provider: Sandbox) -> int:
    return sum(request.path == "/api/numbers" for request in provider.requests)


def _count(url: URL) -> int:
    with open_engine(url).connect() as connection:
        assert migrate.newest() == migrate.current(connection)
        return len(connection.execute(select(numbers.c.uuid)).all())


def _states(engine: Engine) -> list[tuple[str, str | None]]:
    with engine.connect() as connection:
        rows = connection.execute(select(sync_runs.c.state, sync_runs.c.error))
        return [(row[0], row[1]) for row in rows]


def _wait_until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < ends_at, "it did not happen in time"
        time.sleep(0.02)
