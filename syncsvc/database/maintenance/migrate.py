"""
Upgrade the schema, and check that it is current.

The migrations are at the top of the source tree and inside the wheel.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import inspect

from syncsvc import __version__
from syncsvc.database import sqlite_file
from syncsvc.database.maintenance import monthly_view
from syncsvc.database.transactions import translated
from syncsvc.errors import SchemaNotCurrent

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import URL, Connection, Engine


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
    """
    return MigrationContext.configure(connection).get_current_revision()


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
        SchemaNotCurrent: A newer version has migrated it.
    """
    config = _config()
    with engine.begin() as connection, _room_for_changes(connection):
        require_known(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


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
    if found is not None and not _is_known(found):
        raise SchemaNotCurrent(
            f"The database's schema ({found}) is newer than this version of syncsvc, "
            f"{__version__}, which needs {newest()}. Run the newer version that made it."
        )


def _is_known(revision: str) -> bool:
    try:
        return ScriptDirectory.from_config(_config()).get_revision(revision) is not None
    except CommandError:
        return False


def require_current(connection: Connection) -> None:
    """
    Refuse a database whose schema is not the newest that this version knows.

    Raises:
        SchemaNotCurrent: It says which command to run.
    """
    found, needed = current(connection), newest()
    if found == needed:
        return
    require_known(connection)
    problem = (
        f"The database's schema is at {found}, this version needs {needed}."
        if found
        else "The database has no syncsvc tables yet."
    )
    raise SchemaNotCurrent(f"{problem} Run `syncsvc migrate` with the same settings.")
