"""
PgBouncer between the service and PostgreSQL: in session mode it works, by transaction it is found.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from psycopg import OperationalError, connect

from support.build import needs, number_row
from support.processes import eventually, free_port
from syncsvc.sandbox import Inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Engine

    from support.build import Result
    from syncsvc.sandbox import Sandbox

CONFIGURATION = """
[databases]
* = host={socket} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""


@pytest.fixture
def kind() -> str:
    """
    The only kind of database that PgBouncer is for.
    """
    return "postgresql"


@contextmanager
def pgbouncer(url: URL, mode: str, home: Path) -> Iterator[str]:
    """
    PgBouncer before a database: the URL that goes through it.
    """
    port, socket = free_port(), str(url.query["host"])
    configuration = home / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(socket=socket, user=url.username, port=port, mode=mode)
    )
    # It refuses to run as root, and only the server's user gets at the server's socket.
    user = ["--user", Path(socket).owner()] if os.getuid() == 0 else []
    with subprocess.Popen(
        [needs("pgbouncer"), "--quiet", *user, str(configuration)], cwd="/"
    ) as process:
        through = f"postgresql://{url.username}@127.0.0.1:{port}/{url.database}"
        eventually(lambda: _answers(through))
        try:
            yield through
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        connect(url).close()
    except OperationalError:
        return False
    return True


@pytest.fixture
def provider(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """
    The provider that the command's settings name.
    """
    sandbox.reset(Inventory([number_row(place) for place in range(1, 6)]))
    monkeypatch.setenv("SYNCSVC_API_URL", sandbox.url)
    monkeypatch.setenv("SYNCSVC_API_TOKEN", sandbox.token)
    return sandbox


@pytest.mark.usefixtures("provider")
def test_a_pooler_in_session_mode_changes_nothing(
    engine: Engine, cli: Callable[..., Result], tmp_path: Path
) -> None:
    """
    Through PgBouncer in session mode `check` is content, and a run and a second one succeed.
    """
    with pgbouncer(engine.url, "session", tmp_path) as url:
        codes = [
            cli(command, "--database-url", url).code
            for command in ("check", "sync", "sync", "runs")
        ]

    assert codes == [0, 0, 0, 0]


@pytest.mark.usefixtures("provider")
def test_a_pooler_by_transaction_is_found(
    engine: Engine, cli: Callable[..., Result], tmp_path: Path
) -> None:
    """
    Through PgBouncer in transaction mode `check` fails and says what to set.
    """
    with pgbouncer(engine.url, "transaction", tmp_path) as url:
        result = cli("check", "--database-url", url)

    assert result.code == 1
    assert "Set pool_mode = session (PgBouncer)" in result.out
