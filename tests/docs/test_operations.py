from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from support.build import number_row, rows_of
from support.fleets import Fleet
from support.processes import eventually
from syncsvc import __version__
from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate
from syncsvc.sandbox import Inventory
from syncsvc.schema.tables import numbers
from syncsvc.settings.loading import load_settings
from syncsvc.settings.settings import Settings
from syncsvc.sync.run import run_once
from syncsvc.sync.run_inputs import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Engine

    from support.build import Watch
    from syncsvc.provider.client import NumberApi
    from syncsvc.sandbox import Sandbox

TREE = Path(__file__).parents[2]
OPERATIONS = (TREE / "docs" / "operations.md").read_text()
PAGES = (OPERATIONS, (TREE / "README.md").read_text())
ROLES = ("syncsvc", "syncsvc_reader", "syncsvc_worker")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.+?)^```", OPERATIONS, re.MULTILINE | re.DOTALL)


MAKE, GRANT, WORKER, MAINTAIN, EVIDENCE, VACUUM = _blocks("sql")


def _python(containing: str) -> list[str]:
    """
    The one command of the page that calls Python with this in it, for the Python at hand.
    """
    (line,) = (
        line
        for block in _blocks("sh")
        for line in block.splitlines()
        if line.startswith("python -c") and containing in line
    )
    return [sys.executable, *shlex.split(line)[1:]]


@pytest.fixture
def inventory(postgresql_server: URL) -> Iterator[URL]:
    """
    The database and roles that the page has a superuser make.
    """
    _execute(postgresql_server, MAKE)
    _execute(postgresql_server.set(database="inventory"), WORKER)
    yield postgresql_server.set(database="inventory")
    _execute(postgresql_server, "DROP DATABASE inventory WITH (FORCE)")
    _execute(postgresql_server, "".join(f"DROP ROLE {role};\n" for role in ROLES))


def test_the_roles_can_do_their_work(inventory: URL, sandbox: Sandbox, api: NumberApi) -> None:
    """
    The owner migrates and syncs, and the reader sees all that it wrote and can write nothing.
    """
    owner, reader, _worker_role = (inventory.set(username=role) for role in ROLES)
    engine = open_engine(owner)
    sandbox.inventory = Inventory.seeded(5)
    _execute(owner, GRANT)
    migrate.upgrade(engine)

    run_once(Job(engine=engine, api=api, account="a", deadline=timedelta(minutes=5)))

    _execute(owner, VACUUM)
    with open_engine(reader).connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM live_numbers")).scalar_one() == 5
        assert connection.execute(text(EVIDENCE)).all() == []
    with pytest.raises(ProgrammingError, match="permission denied"):
        _execute(reader, "DELETE FROM numbers")


def test_a_worker_needs_no_ddl_rights(inventory: URL, sandbox: Sandbox, api: NumberApi) -> None:
    """
    The second role syncs with what the page grants it, and can't change the schema.
    """
    owner, _reader, worker = (inventory.set(username=role) for role in ROLES)
    engine = open_engine(worker)
    sandbox.inventory = Inventory.seeded(5)
    migrate.upgrade(open_engine(owner))
    _execute(owner, MAINTAIN)

    run_once(Job(engine=engine, api=api, account="a", deadline=timedelta(minutes=5)))

    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM live_numbers")).scalar_one() == 5
    with pytest.raises(ProgrammingError, match="must be owner"):
        _execute(worker, "DROP TABLE numbers CASCADE")


def test_a_fleet_needs_no_ddl_rights(inventory: URL, sandbox: Sandbox, tmp_path: Path) -> None:
    """
    With the same grants, a fleet's worker hands out an account, syncs it, and finds nothing denied.
    """
    owner, _reader, worker = (inventory.set(username=role) for role in ROLES)
    sandbox.inventory = Inventory.seeded(5)
    migrate.upgrade(open_engine(owner))
    _execute(owner, MAINTAIN)
    fleet = Fleet(open_engine(owner), tmp_path)
    fleet.add(["one"], sandbox)
    try:
        fleet.start(SYNCSVC_DATABASE_URL=worker.render_as_string(hide_password=False))
        eventually(lambda: fleet.succeeded() == {"one"} and fleet.jobs() == 0)
    finally:
        fleet.stop()

    assert "fleet.started" in fleet.log()
    assert "permission denied" not in fleet.log()
    assert "fleet.engine_lost" not in fleet.log()


def test_the_schema_can_be_taken_back(empty_url: URL, tmp_path: Path) -> None:
    """
    The command for a roll-back leaves the schema of the version before, from which one can upgrade.
    """
    engine = open_engine(empty_url)
    migrate.upgrade(engine)

    _call(_python("downgrade"), tmp_path, empty_url.render_as_string(hide_password=False))

    with engine.connect() as connection:
        assert migrate.current(connection) == "0001"
    migrate.upgrade(engine)


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_sqlite_file_can_be_copied(watch: Watch, engine: Engine, tmp_path: Path) -> None:
    """
    The command for a backup makes a file that has all the numbers, while the first is open.
    """
    watch.see(number_row(1), number_row(2))
    with engine.connect() as reader:
        reader.execute(text("SELECT * FROM numbers"))
        _call(_python("VACUUM"), tmp_path)

    backup = open_engine(engine.url.set(database=str(tmp_path / "backup.db")))
    assert rows_of(engine, numbers) == rows_of(backup, numbers)


def test_the_settings_shown_are_accepted(tmp_path: Path) -> None:
    """
    The TOML of the page is a file of settings.
    """
    (shown,) = _blocks("toml")
    (tmp_path / "syncsvc.toml").write_text(shown)

    settings = load_settings(environ={"SYNCSVC_CONFIG": str(tmp_path / "syncsvc.toml")})

    assert tomllib.loads(shown) == {
        name: getattr(settings, name) for name in ("schedule", "api_timezone")
    }


def test_the_shell_understands_every_command() -> None:
    """
    What is to be typed is sound for a shell, and names the version of the tree.
    """
    for block in _blocks("sh"):
        told = subprocess.run(
            ["/bin/sh", "-n"], input=block.encode(), check=False, capture_output=True
        )
        assert told.stderr == b""

    for name in (f"/opt/syncsvc-{__version__}\n", f"syncsvc:{__version__} .\n"):
        assert name in OPERATIONS


def test_every_setting_named_is_one() -> None:
    """
    The page names no variable that the service does not know.
    """
    named = set(re.findall(r"SYNCSVC_([A-Z_]+[A-Z])", OPERATIONS))

    assert named <= {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("page", PAGES, ids=["operations", "readme"])
def test_every_file_named_is_there(page: str) -> None:
    """
    What the pages name of deploy/ is in the tree.
    """
    for name in re.findall(r"deploy/[\w/.-]*\w", page):
        assert (TREE / name).exists() or list(TREE.glob(f"{name}*")), name


def test_every_link_leads_somewhere() -> None:
    """
    Links of the page go to headings that it has, and to files of the tree.
    """
    headings = re.findall(r"^#+ (.+)$", OPERATIONS, re.MULTILINE)
    places = {"#" + heading.lower().replace(" ", "-") for heading in headings}

    for link in re.findall(r"\]\(([^)]+)\)", OPERATIONS):
        path, _, _place = link.partition("#")
        assert (TREE / "docs" / path).exists() if path else link in places, link


def _execute(url: URL, statements: str) -> None:
    """
    Execute statements one by one, as psql does.
    """
    with open_engine(url).connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in statements.rstrip(";\n").split(";\n"):
            connection.execute(text(statement))


def _call(command: list[str], where: Path, database: str = "") -> None:
    environment = {**os.environ, "SYNCSVC_DATABASE_URL": database}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=where, env=environment
    )
    assert done.returncode == 0, done.stderr
