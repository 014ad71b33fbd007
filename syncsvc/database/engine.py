"""
Create the engine of a SQLite or PostgreSQL database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import URL, NullPool, create_engine, event

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection

BUSY_TIMEOUT = 30_000  # ms that SQLite waits for another writer
CONNECTING = {  # to PostgreSQL, unless its URL says otherwise
    "application_name": "syncsvc",
    "connect_timeout": 10,  # seconds, for each of its addresses
    "keepalives_idle": 30,  # seconds, then every 10, until a vanished server is taken for lost
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # ms that what was sent may stay without an answer
}


def open_engine(url: URL) -> Engine:
    """
    An engine that opens a connection for each use, and closes it after.

    Nothing is opened yet. Values never stand in its error messages.
    """
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    given = {key: value for key, value in CONNECTING.items() if key not in url.query}
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=given)
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_postgresql(connection: DBAPIConnection, _record: object) -> None:
    """
    Have times come as UTC; a start-up option would not get past every pooler.

    A session whose machine has vanished ends within a minute, and with it its locks. No
    statement is compiled: that takes longer than a run's statements gain by it.
    """
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(
        "SET TIME ZONE 'UTC'; SET jit = off; SET tcp_keepalives_idle = 30; "
        "SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; "
        "SET tcp_user_timeout = 60000"
    )
    cursor.close()
    connection.autocommit = False


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """
    Leave transactions to SQLAlchemy, and readers undisturbed by the writer.
    """
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_TIMEOUT}", "journal_mode=WAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """
    A transaction that will publish takes SQLite's write lock at its start.
    """
    publishing = connection.get_execution_options().get("publishing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if publishing else "BEGIN")
