"""
Upgrade the schema, and check that it is current.

The migrations are at the top of the source tree and inside the wheel.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from syncsvc import __version__
from syncsvc.database import sqlite_file
from syncsvc.database.maintenance import monthly_view
from syncsvc.database.transactions import translated, translation
from syncsvc.errors import SchemaNotCurrent
from syncsvc.schema.tables import metadata, sync_runs
from syncsvc.schema.views import view_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import URL, Connection, Engine


RUNS = sync_runs.name  # the table that shows whose database it is: others are called numbers, too
UNDEFINED_TABLE, NO_TABLE = "42P01", "no such table"  # PostgreSQL's SQLSTATE, SQLite's words
NAMED_REVISIONS = "SELECT version_num FROM alembic_version"
MISMATCH = re.compile(
    r"already exists|duplicate column|does not exist|no such (table|column|index)"
)


def _config() -> Config:
    """
    Configure Alembic without alembic.ini, which it would read in the locale's encoding.
    """
    config = Config(stdout=StringIO())
    config.set_main_option("script_location", _script_location().replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _script_location() -> str:
    package = Path(__file__).absolute().parents[2]
    home = package if (package / "migrations").is_dir() else package.parent
    return str(home / "migrations")


@lru_cache(maxsize=1)
def _head(_location: str) -> str | None:
    """
    Read the migrations once: to import them all takes longer than a small run.
    """
    return ScriptDirectory.from_config(_config()).get_current_head()


def newest() -> str:
    """
    Return the revision that this version of the service needs.
    """
    head = _head(_script_location())
    if head is None:
        raise SchemaNotCurrent(
            "The migrations are missing from this installation. Install syncsvc again."
        )
    return head


def current(connection: Connection) -> str | None:
    """
    Return the database's revision; None if it was never migrated.

    Raises:
        SchemaNotCurrent: There are tables, but `alembic_version` does not name one revision.
    """
    heads = MigrationContext.configure(connection).get_current_heads()
    found = sorted(head for head in heads if head.strip())
    if len(found) > 1:
        _require_known(connection, *found)
    if len(found) > 1 or (not found and inspect(connection).has_table(RUNS)):
        raise SchemaNotCurrent(
            "The database has tables of syncsvc, but the table alembic_version names "
            f"{' and '.join(found) or 'no revision'}, so that their schema is not known. Restore "
            "the database from a backup, or leave there the one revision of the migration that "
            f"ran last; this version's is {newest()}."
        )
    return found[0] if found else None


def is_empty(connection: Connection) -> bool:
    """
    Return whether the database has no table at all.
    """
    return not inspect(connection).get_table_names()


def is_new_file(engine: Engine) -> bool:
    """
    Return whether the database is a SQLite file that does not exist yet, or has no tables.
    """
    if engine.dialect.name != "sqlite":
        return False
    if sqlite_file.is_missing(engine.url):
        return True
    with translated(), engine.connect() as connection:
        return is_empty(connection)


def upgrade(engine: Engine, revision: str = "head") -> None:
    """
    Bring the database to a revision, in one transaction.

    Raises:
        SchemaNotCurrent: A newer version has migrated it, or `alembic_version` is wrong.
    """
    config = _config()
    alone = engine.execution_options(publishing=True)  # on SQLite, another one is waited for
    with alone.begin() as connection:
        is_empty(connection)  # SQLite's PRAGMAs alone don't see what was created since connecting
        with _room_for_changes(connection):
            require_known(connection)
            config.attributes["connection"] = connection
            with _mismatch_told(current(connection)):
                command.upgrade(config, revision)


@contextmanager
def _mismatch_told(revision: str | None) -> Iterator[None]:
    """
    Say so if a migration meets tables that are not those of the revision it begins at.
    """
    try:
        yield
    except DBAPIError as exc:
        said = str(translation(exc))
        if not MISMATCH.search(said):
            raise
        raise SchemaNotCurrent(
            f"The tables are not those of revision {revision or 'none'}, which alembic_version "
            f"has; nothing was changed. {said.rstrip('.')}. Restore the database from a backup, "
            "or set the revision of the migration that ran last."
        ) from exc


def downgrade(engine: Engine, revision: str) -> None:
    """
    Take the database back to a revision, in one transaction.
    """
    config = _config()
    with engine.begin() as connection, monthly_view.dropped_during(connection):
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def _room_for_changes(connection: Connection) -> AbstractContextManager[None]:
    """
    Drop the materialised view while there is something to change beneath it.
    """
    is_there = current(connection) == newest()
    return nullcontext() if is_there else monthly_view.dropped_during(connection)


def ddl(url: URL) -> str:
    """
    Return the statements that build the newest schema, without executing them.
    """
    config = _config()
    config.output_buffer = buffer = StringIO()
    config.attributes["url"] = url.render_as_string(hide_password=False)
    command.upgrade(config, "head", sql=True)
    return buffer.getvalue()


def require_known(connection: Connection) -> None:
    """
    Refuse a database whose schema this version does not know: a newer one made it.

    Raises:
        SchemaNotCurrent: It says which version to run.
    """
    found = current(connection)
    if found is not None:
        _require_known(connection, found)


def _require_known(connection: Connection, *revisions: str) -> None:
    unknown = ", ".join(found for found in revisions if not _is_known(found))
    if not unknown:
        return
    if not inspect(connection).has_table(RUNS):
        raise SchemaNotCurrent(
            f"The table alembic_version ({unknown}) is another program's: there are no tables of "
            "syncsvc beside it. Give syncsvc a database or a schema of its own."
        )
    raise SchemaNotCurrent(
        f"The database's schema ({unknown}) is newer than this version of syncsvc, "
        f"{__version__}, which needs {newest()}. Run the newer version that made it."
    )


def _is_known(revision: str) -> bool:
    """
    Return whether this is the whole name of a revision; Alembic also takes parts and symbols.
    """
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return revision in {script.revision for script in scripts}


def require_whole(connection: Connection) -> None:
    """
    Refuse a database of the newest schema that lacks a table or a view of it.

    Raises:
        SchemaNotCurrent: It names them.
    """
    inspector = inspect(connection)
    names = [*metadata.tables, *view_metadata.tables]
    missing = [name for name in names if not inspector.has_table(name)]
    if missing:
        raise SchemaNotCurrent(
            f"The schema is at {newest()}, but lacks {', '.join(missing)}: something removed it. "
            "Restore the database from a backup, or create it as `syncsvc migrate --sql` prints it."
        )


def require_current(connection: Connection) -> None:
    """
    Refuse a database whose schema is not the newest that this version knows.

    Raises:
        SchemaNotCurrent: It says which command to run.
    """
    needed = newest()
    if _is_named_alone(connection, needed) or (found := current(connection)) == needed:
        return
    require_known(connection)
    problem = (
        f"The database's schema is at {found}, this version needs {needed}."
        if found
        else "The database has no syncsvc tables yet."
    )
    raise SchemaNotCurrent(f"{problem} Run `syncsvc migrate` with the same settings.")


def _is_named_alone(connection: Connection, revision: str) -> bool:
    """
    Return whether `alembic_version` names this revision and no other.

    Every run asks that. `current` tells more, but takes another query and reads the catalogue.
    """
    try:
        named = connection.exec_driver_sql(NAMED_REVISIONS).scalars().all()
    except DBAPIError as exc:
        if getattr(exc.orig, "sqlstate", None) != UNDEFINED_TABLE and NO_TABLE not in str(exc.orig):
            raise
        connection.rollback()
        return False
    return named == [revision]
