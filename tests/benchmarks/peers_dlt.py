"""
One load by dlt, in a process and an environment of its own.

    .venv-peers/bin/python tests/benchmarks/peers_dlt.py SOURCE STRATEGY FORMAT \
        API_URL DATABASE_URL STATE

SOURCE is `pages` (what the provider sends, page by page), `chunks` (10,000 rows
at a time) or `arrow`; STRATEGY one of dlt's for merging; FORMAT that of the
files it loads; STATE the directory that it remembers its loads in.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import dlt
from bench_tasks import fetch, measured
from dlt.common import json as dlt_json
from peers_loopback import stay_here

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES_AT_ONCE = 50


def chunks(url: str, pages: int) -> Iterator[list[dict[str, Any]]]:
    """
    The rows of so many pages at a time, read by dlt's own JSON parser.
    """
    some: list[dict[str, Any]] = []
    for place, body in enumerate(fetch(url), 1):
        some += dlt_json.loadb(body)["numbers"]
        if place % pages == 0:
            yield some
            some = []
    if some:
        yield some


def hints(strategy: str, key: str, *, tuned: bool, hashed: bool) -> dict[str, Any]:
    """
    How a resource is merged.
    """
    disposition = {"disposition": "merge", "strategy": strategy}
    if strategy == "scd2":
        version = {"row_version_column_name": "row_hash"} if hashed else {}
        return {"write_disposition": disposition | version}
    unique = {"deduplicated": True} if tuned and strategy == "delete-insert" else {}
    return {"write_disposition": disposition | unique, "primary_key": key}


def resources(source: str, strategy: str, url: str) -> list[Any]:
    """
    What is extracted: numbers with all that they hold, or numbers and addresses.
    """
    if source == "arrow":
        from peers_arrow import Walk  # noqa: PLC0415 - the others have no use for Arrow

        walk = Walk(url, hashed=strategy == "scd2")
        tables = (("numbers", "uuid", walk.numbers()), ("addresses", "id", walk.addresses()))
        return [
            dlt.resource(rows, name=name, **hints(strategy, key, tuned=True, hashed=True))
            for name, key, rows in tables
        ]
    pages = PAGES_AT_ONCE if source == "chunks" else 1
    merged = hints(strategy, "uuid", tuned=source == "chunks", hashed=False)
    return [dlt.resource(chunks(url, pages), name="numbers", **merged)]


def main(source: str, strategy: str, file_format: str, *to: str) -> dict[str, Any]:
    """
    Extract, normalise and load.
    """
    url, database, state = to
    pipeline = dlt.pipeline(
        "peers",
        destination=dlt.destinations.postgres(database),
        dataset_name="peer",
        pipelines_dir=state,
    )
    extracted = resources(source, strategy, url)
    return measured(lambda: len(pipeline.run(extracted, loader_file_format=file_format).loads_ids))


if __name__ == "__main__":
    sys.addaudithook(stay_here)
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
