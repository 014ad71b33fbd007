"""
What is measured, one task in one process, so that its memory is its own.

    python tests/benchmarks/bench_tasks.py TASK API_URL [DATABASE_URL]

prints a JSON object of figures on its last line.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE_SIZE = 200
HEADERS = {"Accept": "application/vnd.cloudlx.v1+json", "Authorization": "Bearer benchmark"}
COLUMNS = (
    "uuid, number_e164, number, range_code, range_name, country_code, country_name, country_iso, "
    "monthly_charge, setup_charge, status, provisioned, details_status, details_provisioned, "
    "number_address_id, emergency_number_address_id"
)


class Country(msgspec.Struct):
    """
    The country of an address.
    """

    name: str
    iso: str


class Address(msgspec.Struct, rename="camel"):
    """
    An address, as far as the limit reads it.
    """

    id: int
    name: str
    use_for_proof_of_address: bool
    use_for_emergency_address: bool
    address_line1: str
    address_line2: str
    address_city: str
    address_region: str
    address_postal_code: str
    address_country: Country


class Details(msgspec.Struct):
    """
    A number's details.
    """

    status: str
    provisioned: str
    cancelled: str
    number_address: Address
    emergency_number_address: Address


class Row(msgspec.Struct):
    """
    A number.
    """

    uuid: str
    number_e164: str
    number: str
    range_code: str
    range_name: str
    country_code: str
    country_name: str
    country_iso: str
    monthly_charge: float
    setup_charge: float
    status: str
    details: Details
    provisioned: str


class Listing(msgspec.Struct):
    """
    A page.
    """

    numbers: list[Row]
    num_results: int
    paginates: bool


def fetch(url: str) -> Iterator[bytes]:
    """
    Every page's body, one after the other.
    """
    with httpx.Client(base_url=url, headers=HEADERS) as client:
        page = 0
        more = True
        while more:
            page += 1
            params = {"max_per_page": PAGE_SIZE, "page": page}
            body = client.get("/api/numbers", params=params).raise_for_status().content
            more = body.endswith(b'"paginates":true}')
            yield body


def decode(url: str) -> Iterator[list[Row]]:
    """
    Every page's rows.
    """
    read = msgspec.json.Decoder(Listing).decode
    for body in fetch(url):
        yield read(body).numbers


def flat(row: Row) -> tuple[Any, ...]:
    """
    A row as a table has it.
    """
    details = row.details
    return (
        row.uuid,
        row.number_e164,
        row.number,
        row.range_code,
        row.range_name,
        row.country_code,
        row.country_name,
        row.country_iso,
        row.monthly_charge,
        row.setup_charge,
        row.status,
        row.provisioned,
        details.status,
        details.provisioned,
        details.number_address.id,
        details.emergency_number_address.id,
    )


def load_postgresql(url: str, database: str) -> int:
    """
    Load every row into an unlogged table without keys.
    """
    count = 0
    types = COLUMNS.replace(",", " text,").replace("_charge text", "_charge numeric")
    types = types.replace("provisioned text", "provisioned timestamp") + " text"
    with psycopg.connect(database.replace("+psycopg", "")) as connection:
        connection.execute("DROP TABLE IF EXISTS bare")
        connection.execute(f"CREATE UNLOGGED TABLE bare ({types})")
        with connection.cursor().copy(f"COPY bare ({COLUMNS}) FROM STDIN") as copy:
            for rows in decode(url):
                for row in rows:
                    copy.write_row(flat(row))
                count += len(rows)
    return count


def load_sqlite(url: str, database: str) -> int:
    """
    Insert every row into a table without keys.
    """
    count = 0
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("DROP TABLE IF EXISTS bare")
        connection.execute(f"CREATE TABLE bare ({COLUMNS})")
        places = ", ".join("?" * len(COLUMNS.split(",")))
        with connection:
            for rows in decode(url):
                connection.executemany(f"INSERT INTO bare VALUES ({places})", map(flat, rows))
                count += len(rows)
    return count


def sync(url: str, database: str, runs: str = "1") -> dict[str, Any]:
    """
    One run, as `syncsvc sync` does it, or several in one process, as the worker does them.
    """
    from syncsvc import build_from_settings  # noqa: PLC0415 - the limit's tasks have no use for it
    from syncsvc.__main__ import collect_garbage_less_often  # noqa: PLC0415
    from syncsvc.logs import set_up_logging  # noqa: PLC0415
    from syncsvc.settings.loading import load_settings  # noqa: PLC0415
    from syncsvc.sync.run import run_once  # noqa: PLC0415

    collect_garbage_less_often()
    given = {"api_url": url, "api_token": "benchmark", "database_url": database}
    settings = load_settings(flags=given, environ={})
    set_up_logging("warning", "console")
    engine = build_from_settings.engine_from(settings)
    job = build_from_settings.job_from(settings, engine, build_from_settings.api_from(settings))
    return measured(lambda: [msgspec.to_builtins(run_once(job)) for _ in range(int(runs))][-1])


def measured(work: Callable[[], Any]) -> dict[str, Any]:
    """
    Wall and CPU seconds of some work, and the most memory that the process had till then.
    """
    began_at, before = time.perf_counter(), cpu_seconds()
    result = work()
    wall = time.perf_counter() - began_at
    return {
        "wall": wall,
        "cpu": cpu_seconds() - before,
        "peak_mib": peak_memory(),
        "result": result,
    }


def cpu_seconds() -> float:
    """
    CPU seconds of this process, and of those that it started and waited for.
    """
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def peak_memory() -> float:
    """
    MiB that this process held at most; what `getrusage` tells begins with its parent's.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "fetch": lambda url: measured(lambda: sum(1 for _ in fetch(url))),
    "decode": lambda url: measured(lambda: sum(map(len, decode(url)))),
    "load_postgresql": lambda url, to: measured(lambda: load_postgresql(url, to)),
    "load_sqlite": lambda url, to: measured(lambda: load_sqlite(url, to)),
    "sync": sync,
}

if __name__ == "__main__":
    task, *arguments = sys.argv[1:]
    sys.stdout.write(json.dumps(TASKS[task](*arguments)) + "\n")
