"""
What several tests build.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import select

from support import standing
from syncsvc.provider.client import NumberApi
from syncsvc.provider.http.transport import HttpTransport
from syncsvc.provider.tokens import FixedToken
from syncsvc.sandbox import Inventory
from syncsvc.schema.columns import RowKey
from syncsvc.schema.tables import address_history, addresses, number_history, numbers, sync_runs
from syncsvc.sync.run import run_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection, Engine, Table

    from syncsvc.sandbox import Sandbox
    from syncsvc.sync.progress_and_summary import Summary
    from syncsvc.sync.run_inputs import Job

Row = dict[str, Any]

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = "2016-01-03 17:48:59"
PUBLISHED = (numbers, addresses, number_history, address_history)
NEIGHBOUR = "neighbour"  # the account of `support.neighbour`

settings.register_profile(
    "usual",
    max_examples=75,
    derandomize=True,  # the soak is where new sequences are looked for
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile(
    "soak",
    settings.get_profile("usual"),
    derandomize=False,
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "5000")),
    print_blob=True,
)
settings.register_profile("quick", settings.get_profile("usual"), max_examples=10)
profile = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))
# Other property tests have Hypothesis's own profile, but may take as long as a busy machine needs.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quick" if profile is settings.get_profile("quick") else "unhurried")


def needs(tool: str) -> str:
    """
    The path of a program that the machine may lack: skips without it, but fails if CI is set.
    """
    found = shutil.which(tool)
    if found is None:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"{tool} is not installed; .ci/run says which of Debian's packages has it")
    return found


class Result(NamedTuple):
    """
    How a command ended.
    """

    code: int
    out: str
    err: str


@contextmanager
def api_for(sandbox: Sandbox, **options: Any) -> Iterator[NumberApi]:
    """
    A client with other options than the usual ones.
    """
    transport = HttpTransport(
        sandbox.url,
        timeout=options.pop("timeout", 5.0),
        concurrency=options.pop("concurrency", 4),
        meter=options.pop("meter", None),
    )
    tokens = options.pop("tokens", None) or FixedToken(sandbox.token)
    usual = {"page_size": 200, "retries": 3, "zone": UTC}
    client = NumberApi(transport, tokens, **{**usual, **options})
    try:
        yield client
    finally:
        client.close()


def uuid_at(place: int) -> str:
    """
    The uuid of the number at this place.
    """
    return f"00000000-0000-4000-8000-{place:012d}"


def number_row(place: int = 1, details: Row | None = None, **fields: Any) -> Row:
    """
    A live number in the provider's wire form, with these fields in place of the usual ones.
    """
    usual_details = {
        "status": "Reserved",
        "provisioned": STAMP,
        "cancelled": "",
        "number_address": None,
        "emergency_number_address": None,
    }
    usual: Row = {
        "uuid": uuid_at(place),
        "number_e164": f"+441245{place:06d}",
        "number": f"{place:06d}",
        "range_code": "1245",
        "range_name": "Chelmsford",
        "country_code": "44",
        "country_name": "United Kingdom",
        "country_iso": "UK",
        "monthly_charge": "0.3",
        "setup_charge": 1,
        "status": "Reserved",
        "provisioned": STAMP,
    }
    return {**usual, "details": {**usual_details, **(details or {})}, **fields}


def address(number: object = 1, **fields: Any) -> Row:
    """
    An address in the provider's wire form.
    """
    return {
        "id": number,
        "name": f"Office {number}",
        "useForProofOfAddress": True,
        "useForEmergencyAddress": False,
        "addressLine1": "7800 Alexander Road",
        "addressLine2": "",
        "addressCity": "London",
        "addressRegion": "London",
        "addressPostalCode": "NW2 1AA",
        "addressCountry": {"name": "United Kingdom", "iso": "GB"},
        **fields,
    }


def rows_of(engine: Engine, table: Table, **wanted: Any) -> list[Row]:
    """
    The rows of a table that have these values, as numbered or by key; none of the neighbour's.
    """
    with engine.connect() as connection:
        return _rows(connection, table, **wanted)


def published(engine: Engine) -> dict[str, list[Row]]:
    """
    All that runs have published: numbers, addresses and both histories.
    """
    with engine.connect() as connection:
        return {table.name: _rows(connection, table) for table in PUBLISHED}


def _rows(connection: Connection, table: Table, **wanted: Any) -> list[Row]:
    """
    Read the rows of a table that have these values, but none of the neighbour's.
    """
    conditions = [table.c[name] == value for name, value in wanted.items()]
    if "account" in table.c:
        conditions.append(table.c.account != NEIGHBOUR)
    key = [table.c.id] if isinstance(table.primary_key, RowKey) else table.primary_key.columns
    query = select(table).where(*conditions).order_by(*key)
    return [dict(row) for row in connection.execute(query).mappings()]


class Lying(Inventory):
    """
    Numbers of which the listing leaves some out, while a search finds them.
    """

    def __init__(
        self, rows: Iterable[Row] = (), cancelled: Iterable[Row] = (), *, unlisted: Iterable[Row]
    ) -> None:
        """
        Hold all rows, those that the listing leaves out last.
        """
        left_out = list(unlisted)
        super().__init__([*rows, *left_out], cancelled)
        self.unlisted = {row["uuid"] for row in left_out}

    def listing(
        self, *, cancelled: bool = False, digits: str | None = None, shuffled: bool = False
    ) -> list[Any]:
        """
        Give the rows as of now, without those left out unless they are searched for.
        """
        rows = super().listing(cancelled=cancelled, digits=digits, shuffled=shuffled)
        if cancelled or digits is not None:
            return rows
        return [row for row in rows if row["uuid"] not in self.unlisted]


class Clock:
    """
    The machine's clock, set by hand.
    """

    def __init__(self) -> None:
        """
        Set it to New Year.
        """
        self.time = NEW_YEAR

    def __call__(self) -> datetime:
        """
        Read the clock.
        """
        return self.time

    def pass_by(self, **duration: float) -> datetime:
        """
        Let some time go by, or go back.
        """
        self.time += timedelta(**duration)
        return self.time


class Watch:
    """
    Runs over listings that a test states, and what becomes of the tables.
    """

    def __init__(self, job: Job, sandbox: Sandbox) -> None:
        """
        Take the job to run, and the provider to list for it.
        """
        self.job = job
        self.sandbox = sandbox
        self.engine = job.engine

    def see(self, *rows: Any, **options: Any) -> Summary:
        """
        Run once over a listing of these rows.
        """
        self.sandbox.inventory = Inventory(rows)
        return self.run(**options)

    def see_paged(self, *rows: Any, page_size: int = 1) -> Summary:
        """
        Run once over a listing of these rows, a few on each page.
        """
        with api_for(self.sandbox, page_size=page_size) as api:
            return self.see(*rows, api=api)

    def run(self, **options: Any) -> Summary:
        """
        Run once over whatever the provider lists now; afterwards the status agrees with the tables.
        """
        summary = run_once(msgspec.structs.replace(self.job, **options))
        kept, counted = standing.kept_and_counted(self.engine, summary.account)
        assert kept == counted
        return summary

    def number(self, place: int = 1) -> Row:
        """
        A number as it stands in the tables.
        """
        (row,) = rows_of(self.engine, numbers, uuid=uuid_at(place))
        return row

    def history(self, place: int = 1) -> list[Row]:
        """
        A number's history, oldest first.
        """
        return rows_of(self.engine, number_history, uuid=uuid_at(place))

    def events(self, place: int = 1) -> list[str]:
        """
        What happened to a number, oldest first.
        """
        return [row["event"] for row in self.history(place)]

    def address_history(self, number: int = 1) -> list[Row]:
        """
        An address's history, oldest first.
        """
        return rows_of(self.engine, address_history, address_id=number)

    def last_run(self) -> Row:
        """
        The newest row of `sync_runs`.
        """
        return rows_of(self.engine, sync_runs)[-1]
