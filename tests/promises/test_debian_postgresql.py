"""
The service on the PostgreSQL that Debian ships, which is older than the one of the other tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.build import needs, number_row
from syncsvc.sandbox import Inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.build import Result
    from syncsvc.sandbox import Sandbox

INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
BIN = INSTALLED[0] if INSTALLED else Path("/usr/lib/postgresql/15/bin")
AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
COMMANDS = ("sync", "check", "runs", "migrate --keep-months", "sync", "prune --keep-runs 1d")


def run_as_server(*command: str) -> None:
    """
    Run a command as the user that the server runs as: it refuses to run as root.
    """
    user = AS_POSTGRES if os.getuid() == 0 else []
    quiet = subprocess.DEVNULL  # a pipe would be held open by the server
    subprocess.run([*user, *command], check=True, cwd="/", stdout=quiet, stderr=quiet)


@pytest.fixture
def server() -> Iterator[str]:
    """
    Debian's PostgreSQL with an empty database: its URL.
    """
    needs(f"{BIN}/initdb")
    home = Path(tempfile.mkdtemp(prefix="syncsvc-pg-"))
    home.chmod(0o755)
    if os.getuid() == 0:
        shutil.chown(home, "postgres", "postgres")
    data = home / "data"
    try:
        run_as_server(f"{BIN}/initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", f"-D{data}")
        options = f"-k {home} -c listen_addresses='' -c fsync=off"
        run_as_server(f"{BIN}/pg_ctl", "start", "--wait", f"-D{data}", "-o", options)
        user = "postgres" if os.getuid() == 0 else home.owner()
        yield f"postgresql://{user}@/postgres?host={home}"
    finally:
        if (data / "postmaster.pid").exists():
            run_as_server(f"{BIN}/pg_ctl", "stop", "--mode=immediate", f"-D{data}")
        shutil.rmtree(home, ignore_errors=True)


def test_the_commands_work_on_debians_postgresql(
    server: str, cli: Callable[..., Result], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Migrations, two runs with a cancellation, a report and retention succeed there, too.
    """
    monkeypatch.setenv("SYNCSVC_API_URL", sandbox.url)
    monkeypatch.setenv("SYNCSVC_API_TOKEN", sandbox.token)
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", server)
    rows = [number_row(place) for place in range(1, 6)]

    sandbox.reset(Inventory(rows))
    codes = [cli("migrate").code, cli("sync").code]
    sandbox.reset(Inventory(rows[1:]))
    codes += [cli(*words.split()).code for words in COMMANDS]
    cancelled = cli("report", "cancelled-numbers", "--format", "csv").out.splitlines()

    assert codes == [0] * (2 + len(COMMANDS))
    assert len(cancelled) == 2
    assert rows[0]["number_e164"] in cancelled[1]
