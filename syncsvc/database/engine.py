"""
Create the engine of a SQLite or PostgreSQL database.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, NullPool, create_engine, event, func, select

from syncsvc.database import sqlite_file
from syncsvc.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

YUGABYTE = "-YB-"  # in its version(), such as "PostgreSQL 15.2-YB-2025.1.0.0-b0 on …"
BUSY_TIMEOUT = 30_000  # ms that SQLite waits for another writer
BUSY_PAUSE = 0.01  # seconds between two attempts to turn WAL on
CONNECTING = {  # to PostgreSQL, unless its URL says otherwise
    "application_name": "syncsvc",
    "connect_timeout": 10,  # seconds, for each of its addresses
    "keepalives_idle": 30,  # seconds, then every 10, until a vanished server is taken for lost
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # ms that what was sent may stay without an answer
}


# How times, bytes and text are read and written, and what psycopg can parse. No statement is
# compiled (jit): that takes longer than a run's statements gain by it. Read-only stays as it was
# set: somebody who freezes a database means everyone.
SESSION_SETTINGS = """
SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;
SET TIME ZONE 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres';
SET bytea_output = 'hex'; SET extra_float_digits = 1; SET standard_conforming_strings = on;
SET client_encoding = 'UTF8'; SET transform_null_equals = off; SET array_nulls = on;
SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off;
SET jit = off; SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10;
SET tcp_keepalives_count = 3; SET tcp_user_timeout = 60000"""
# A run waits for a slow provider with its session idle, and has a deadline of its own.
# PostgreSQL 14 and 17 added these two time-outs.
NEWER_TIMEOUTS = """
SELECT set_config(name, '0', false) FROM pg_settings
WHERE name IN ('transaction_timeout', 'idle_session_timeout') AND setting <> '0'"""


def open_engine(url: URL, *, kept_sessions: int = 0) -> Engine:
    """
    Create an engine that opens a connection for each use and closes it afterwards.

    Nothing is opened yet. Its error messages never contain values.

    Args:
        kept_sessions: As many sessions of PostgreSQL stay open between uses. Each is tried before
            it is used again, and replaced if the server has ended it.
    """
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
        event.listen(engine, "do_connect", sqlite_file.connect)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    given = {key: value for key, value in CONNECTING.items() if key not in url.query}
    pool = _pool(kept_sessions)
    engine = create_engine(url, hide_parameters=True, connect_args=given, **pool)
    event.listen(
        engine, "connect", _prepare_postgresql, insert=True
    )  # before SQLAlchemy asks anything
    return engine


def _pool(kept_sessions: int) -> dict[str, Any]:
    if not kept_sessions:
        return {"poolclass": NullPool}
    return {"pool_size": kept_sessions, "max_overflow": -1, "pool_pre_ping": True}


def _prepare_postgresql(connection: DBAPIConnection, _record: object) -> None:
    """
    Make the session independent of what the server, database or role sets.

    Start-up options would do the same, but not every pooler passes them on. A session
    whose machine has vanished ends within a minute, and its locks with it.

    Raises:
        ConfigurationError: The server is CockroachDB, the database's encoding is not UTF8, or no
            schema is in use.
    """
    _require_session_locks(connection.info.parameter_status("crdb_version") or "")
    _require_utf8(connection)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(SESSION_SETTINGS)
    cursor.execute(NEWER_TIMEOUTS)
    cursor.execute("SELECT current_schema(), current_setting('search_path'), version()")
    schema, search_path, version = cursor.fetchone() or (None, "", "")
    _require_session_locks(version)
    _require_schema(schema, search_path)
    cursor.close()
    connection.autocommit = False


def _require_session_locks(version: str) -> None:
    if version.startswith("CockroachDB"):
        raise ConfigurationError(
            "The database server (SYNCSVC_DATABASE_URL) is CockroachDB. Its advisory locks lock "
            "nothing, so two runs of an account could write at once. Use PostgreSQL."
        )


def untested_server(connection: Connection) -> str | None:
    """
    Return the name of a server that speaks PostgreSQL's protocol and is not tested, or None.
    """
    if connection.dialect.name != "postgresql":
        return None
    version, citus = connection.execute(
        select(func.version(), func.to_regproc("citus_version").is_not(None))
    ).one()
    if YUGABYTE in version:
        return "YugabyteDB"
    return "Citus" if citus else None


def _require_schema(schema: str | None, search_path: str) -> None:
    if schema is None or schema.startswith("pg_"):
        raise ConfigurationError(
            f"The search_path of the PostgreSQL session ({search_path!r}) begins with no schema "
            "that tables can be created in. Create the schema, grant USAGE on it, or set the "
            "search_path of the role in SYNCSVC_DATABASE_URL."
        )


def _require_utf8(connection: DBAPIConnection) -> None:
    info = connection.info
    encoding = info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(
            f"The encoding of the database {info.dbname} (SYNCSVC_DATABASE_URL) is {encoding}; "
            "syncsvc needs UTF8. Create a database with ENCODING 'UTF8' TEMPLATE template0."
        )


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """
    Leave transactions to SQLAlchemy, and let readers read while one writes.
    """
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_TIMEOUT}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    connection.text_factory = bytes  # no directory's name has to be UTF-8
    path = cursor.execute("PRAGMA database_list").fetchone()[2]
    connection.text_factory = str
    if not (path and sqlite_file.is_read_only(Path(os.fsdecode(path)))):
        _use_wal(cursor)
    cursor.close()


def _use_wal(cursor: DBAPICursor) -> None:
    """
    Turn WAL on. SQLite does not wait by itself while another process does the same to a new file.
    """
    ends_at = time.monotonic() + BUSY_TIMEOUT / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends_at:
                raise
            time.sleep(BUSY_PAUSE)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    """
    Begin a transaction; one that will publish takes SQLite's write lock at once.
    """
    publishing = connection.get_execution_options().get("publishing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if publishing else "BEGIN")
