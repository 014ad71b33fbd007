"""
A fleet's database with accounts, and sweeps over these with what they cost.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench_rig import run_task
from sqlalchemy import make_url, text

from support.fleets import Fleet
from syncsvc.database.engine import open_engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench_rig import Figures, Postgresql

PARTITION = Path(__file__).parents[2] / "deploy" / "postgresql" / "partition.sql"
EVENTS = "added + provisioned + cancelled + reinstated + changed"
OVERLAPS = """
SELECT count(*) FROM sync_runs AS one JOIN sync_runs AS other USING (account)
WHERE one.id < other.id AND other.started_at < coalesce(one.finished_at, 'infinity')"""
TABLES = (
    *("numbers", "number_history", "addresses", "address_history", "listing_fingerprints"),
    "listing_pages",
    *("sync_runs", "account_status"),
)
SIZE = """
SELECT coalesce(sum(pg_total_relation_size(relid)), pg_total_relation_size('{0}'))
FROM pg_partition_tree('{0}')"""


class Served(NamedTuple):
    """
    A provider of prepared pages, which accepts any token.
    """

    url: str
    token: str = "benchmark"


class Sweep(NamedTuple):
    """
    One run of each of some accounts.

    Attributes:
        batches: The figures of each batch of runs.
        events: Rows of history for each run.
    """

    batches: list[Figures]
    events: float

    def mean(self, name: str) -> float:
        """
        A figure for one run.
        """
        runs = sum(batch["runs"] for batch in self.batches)
        return float(sum(batch[name] for batch in self.batches) / runs)


class Accounts:
    """
    A new database with the accounts of one provider.
    """

    def __init__(self, server: Postgresql, home: Path, *, divided: bool = False) -> None:
        """
        Migrate it, and divide its large tables by account if so wanted.
        """
        self.server = server
        self.url = server.new()
        self.engine = open_engine(make_url(self.url))
        directory = home / (make_url(self.url).database or "")
        directory.mkdir()
        self.fleet = Fleet(self.engine, directory)
        if divided:
            with self.engine.begin() as connection:
                connection.exec_driver_sql(PARTITION.read_text().replace("%", "%%"))

    def add(self, count: int, api: str, prefix: str = "account") -> list[str]:
        """
        Add accounts; their names.
        """
        names = [f"{prefix}-{number:05}" for number in range(count)]
        self.fleet.add(names, Served(api))
        return names

    def point_at(self, api: str) -> None:
        """
        Let all accounts be at another address, which lists something else.
        """
        with self.engine.begin() as connection:
            own = "jsonb_build_object('api_url', CAST(:url AS text))"
            connection.execute(
                text(f"UPDATE accounts SET settings = settings || {own}"), {"url": api}
            )

    def sweep(self, names: Sequence[str], batch: int = 10, threads: int = 1) -> Sweep:
        """
        Let one process run each account once; the first ones, one for each thread, don't count.

        Raises:
            RuntimeError: Not every run published.
        """
        before = self.ask("SELECT coalesce(max(id), 0) FROM sync_runs")
        found = run_task(
            str(self.server.data),
            *map(str, (threads, batch)),
            script="fleet_tasks.py",
            environ=self.fleet.environ | {"PYTHONPATH": ":".join(sys.path)},
            stdin="\n".join(names),
        )
        published, events = self.row(
            f"SELECT count(*) FILTER (WHERE state = 'succeeded'), sum({EVENTS}) "
            f"FROM sync_runs WHERE id > {before}"
        )
        if published != len(names):
            raise RuntimeError(f"Of {len(names)} runs {published} published.")
        return Sweep(found["batches"], float(events) / len(names))

    def settle(self) -> None:
        """
        Get over with what the server would do sooner or later, then a checkpoint.
        """
        self.server.settle(self.url)

    def sizes(self) -> dict[str, int]:
        """
        Bytes of each table, with its indexes.
        """
        return {table: int(self.ask(SIZE.format(table))) for table in TABLES}

    def ask(self, query: str) -> Any:
        """
        The one value that a query returns.
        """
        return self.row(query)[0]

    def row(self, query: str) -> Any:
        """
        The one row that a query returns.
        """
        with self.engine.connect() as connection:
            return connection.execute(text(query)).one()

    def drop(self) -> None:
        """
        End the workers, and remove the database.
        """
        self.fleet.stop()
        self.engine.dispose()
        self.server.drop(self.url)


@contextmanager
def new_accounts(server: Postgresql, home: Path, *, divided: bool = False) -> Iterator[Accounts]:
    """
    A database that is gone in the end.

    Args:
        divided: Its large tables have partitions by account.
    """
    accounts = Accounts(server, home, divided=divided)
    try:
        yield accounts
    finally:
        accounts.drop()


def say(words: str) -> None:
    """
    Print how far the benchmark is.
    """
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {words}\n")
    sys.stderr.flush()
