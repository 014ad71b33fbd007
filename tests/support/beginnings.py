"""
What many tests begin with, which comes about once and is copied for the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, select, text

from syncsvc.schema.internal_tables import internal_metadata
from syncsvc.schema.tables import metadata, sync_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

TABLES = [table.name for table in (*metadata.sorted_tables, *internal_metadata.sorted_tables)]
SEQUENCES = """SELECT quote_ident(sequencename), last_value FROM pg_sequences
WHERE schemaname = current_schema() AND last_value IS NOT NULL"""


class Beginnings:
    """
    What databases contained after something had come about in them.
    """

    def __init__(self) -> None:
        """
        Know nothing yet.
        """
        self._kept: dict[tuple[str, str], _Contents] = {}

    def bring_about(self, engine: Engine, what: str, how: Callable[[], object]) -> None:
        """
        Let it come about in the first database of its kind, and copy it to the next ones.

        Args:
            what: It tells apart what begins otherwise.
        """
        key = (engine.dialect.name, what)
        if key in self._kept:
            self._kept[key].put_into(engine)
            return
        how()
        self._kept[key] = _Contents(engine)


class _Contents:
    """
    All that a database contains now: the file of SQLite, the rows and sequences of PostgreSQL.
    """

    def __init__(self, engine: Engine) -> None:
        """
        Read it, while nobody else has the database open.
        """
        self._file = b""
        self._rows: dict[str, bytes] = {}
        self._sequences: list[Any] = []
        if engine.dialect.name == "sqlite":
            self._file = _file_of(engine).read_bytes()
            return
        with engine.connect() as connection:
            self._rows = {table: _copied(connection, table) for table in TABLES}
            self._sequences = [*connection.execute(text(SEQUENCES)).mappings()]

    def put_into(self, engine: Engine) -> None:
        """
        Replace what a database contains by the same, while nobody else has it open.
        """
        if engine.dialect.name == "sqlite":
            _file_of(engine).write_bytes(self._file)
            return
        with engine.begin() as connection:
            if connection.execute(select(exists(sync_runs.select()))).scalar_one():
                connection.execute(text(f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY"))
            for table, rows in self._rows.items():
                with _cursor(connection).copy(f"COPY {table} FROM STDIN") as copy:
                    copy.write(rows)
            for sequence in self._sequences:
                connection.execute(text("SELECT setval(:quote_ident, :last_value)"), sequence)


def _file_of(engine: Engine) -> Path:
    path = Path(str(engine.url.database))
    assert not path.with_name(f"{path.name}-wal").exists(), "Somebody has the database open."
    return path


def _copied(connection: Connection, table: str) -> bytes:
    with _cursor(connection).copy(f"COPY {table} TO STDOUT") as copy:
        return b"".join(bytes(part) for part in copy)


def _cursor(connection: Connection) -> Any:
    driver = connection.connection.driver_connection
    assert driver is not None
    return driver.cursor()
