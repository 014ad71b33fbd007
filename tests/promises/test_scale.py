"""
An account of the size that large ones have.
"""

from __future__ import annotations

import json
from datetime import UTC, timedelta
from functools import cache
from typing import TYPE_CHECKING, cast

import msgspec
from sqlalchemy import func, select

from support.build import address, number_row
from syncsvc.payloads.decode_page import read_page
from syncsvc.schema.tables import metadata, sync_runs
from syncsvc.sync.run import run_once
from syncsvc.sync.run_inputs import Job

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from syncsvc.payloads.fingerprint import Known
    from syncsvc.payloads.records import Page
    from syncsvc.provider.client import NumberApi

SIZE = 100_000
PAGE_SIZE = 200


class LargeListing:
    """
    A listing of 100,000 numbers.
    """

    concurrency = 2
    page_size = PAGE_SIZE
    clock_ahead = None

    def page(self, index: int, known: Known | None = None) -> Page:
        """
        Give a page as the provider's client does.
        """
        return read_page(body(index), UTC, known)

    def cancelled_page(self, index: int) -> Page:  # noqa: ARG002 - as the client has it
        """
        Give a page of the cancelled listing, which is empty.
        """
        return read_page(b'{"numbers": [], "num_results": 0}', UTC)


class SingleNumber(LargeListing):
    """
    A listing of one.
    """

    def page(self, index: int, known: Known | None = None) -> Page:
        """
        Give the number, and nothing past it.
        """
        rows = [number_row(number_address=address())] if index == 1 else []
        envelope = {"numbers": rows, "num_results": 1, "paginates": False}
        return read_page(json.dumps(envelope).encode(), UTC, known)


@cache
def body(index: int) -> bytes:
    """
    One page of the listing, made once.
    """
    places = range((index - 1) * PAGE_SIZE, min(index * PAGE_SIZE, SIZE))
    rows = [
        number_row(place, number_address=address(place // 100), label=place) for place in places
    ]
    envelope = {"numbers": rows, "num_results": SIZE, "paginates": index * PAGE_SIZE < SIZE}
    return json.dumps(envelope).encode()


def sizes(engine: Engine) -> dict[str, int]:
    """
    How many rows each table has.
    """
    with engine.connect() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


def test_a_second_run_over_many_numbers_adds_one_row(engine: Engine) -> None:
    """
    A hundred thousand numbers are carried over once, and the run after that adds only its own row.

    The statistics that PostgreSQL has are those of another account's single number.
    """
    job = Job(
        engine=engine,
        api=cast("NumberApi", LargeListing()),
        account="default",
        deadline=timedelta(minutes=4),
    )
    single = cast("NumberApi", SingleNumber())
    run_once(msgspec.structs.replace(job, account="other", api=single))
    if engine.dialect.name == "postgresql":  # SQLite makes none by itself
        with engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")

    first = run_once(job)
    after_first = sizes(engine)
    second = run_once(job)
    after_second = sizes(engine)

    assert (first.state, first.provisioned, first.pages) == ("succeeded", SIZE, SIZE // PAGE_SIZE)
    assert after_first == {
        "sync_runs": 1 + 1,
        "addresses": SIZE // 100 + 1,
        "address_history": SIZE // 100 + 1,
        "numbers": SIZE + 1,
        "number_history": SIZE + 1,
        "sync_rejects": 0,
        "withheld_cancellations": 0,
        "account_status": 1 + 1,
        "accounts": 0,
        "notify_endpoints": 0,
        "notify_cursors": 0,
    }
    assert (second.state, second.unchanged) == ("succeeded", SIZE)
    assert after_second == after_first | {sync_runs.name: 3}
