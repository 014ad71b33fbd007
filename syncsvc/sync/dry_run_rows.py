"""
All rows that a dry run would write, for `sync --dry-run --json`.

The run rolls them back, and a first run has a row for every number: they wait in temporary files
for the run's end, not in memory.
"""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING

import msgspec

from syncsvc.database import account_and_run_queries
from syncsvc.schema.tables import address_history, number_history, withheld_cancellations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from syncsvc.sync.progress_and_summary import Summary

TABLES = (number_history, address_history, withheld_cancellations)
CHUNK_SIZE = 65_536  # bytes


class PlannedRows:
    """
    The rows of one dry run, as JSON. Close it when they have been read.
    """

    def __init__(self) -> None:
        self._files: dict[str, IO[bytes]] = {}

    def collect(self, connection: Connection, run_id: int) -> None:
        """
        Copy what a run has written, before it is rolled back.
        """
        for table in TABLES:
            file = self._files[table.name] = tempfile.TemporaryFile()  # noqa: SIM115 - see close()
            separator = b"\n"
            for row in account_and_run_queries.rows_of_run(connection, table, run_id):
                file.write(separator + msgspec.json.encode(row))
                separator = b",\n"

    def json_object(self, summary: Summary) -> Iterator[bytes]:
        """
        Yield one JSON object: the summary's keys, then the rows of each table as a list.
        """
        yield msgspec.json.encode(summary).removesuffix(b"}")
        for table in TABLES:
            yield f',\n"{table.name}": ['.encode()
            yield from self._chunks(table.name)
            yield b"]"
        yield b"}\n"

    def _chunks(self, name: str) -> Iterator[bytes]:
        file = self._files.get(name)
        if file is not None:
            file.seek(0)
            while chunk := file.read(CHUNK_SIZE):
                yield chunk

    def close(self) -> None:
        """
        Delete the temporary files.
        """
        for file in self._files.values():
            file.close()
