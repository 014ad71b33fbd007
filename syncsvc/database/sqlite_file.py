"""
Check the file of a SQLite database, and open it with the rights that this user has.

The checks never open the file: closing it would release SQLite's locks in this process.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncsvc.errors import ConfigurationError, DatabaseUnavailable, SchemaNotCurrent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Dialect
    from sqlalchemy.engine.interfaces import DBAPIConnection


def require_usable(url: URL) -> None:
    """
    Refuse a SQLite file that can't be read, or can't be created because of its directory.

    Raises:
        ConfigurationError: It says what is wrong with the path.
    """
    if url.get_backend_name() != "sqlite":
        return
    directory = _directory(url)
    if not directory.is_dir():
        raise ConfigurationError(
            f"SYNCSVC_DATABASE_URL: the directory {directory} does not exist. Create it first."
        )
    problem = _problem_of_file(Path(url.database or ""))
    if problem:
        raise ConfigurationError(
            f"SYNCSVC_DATABASE_URL: {url.database} {problem}. Name a readable file, or a new one."
        )


def require_exists(url: URL) -> None:
    """
    Refuse a SQLite file that does not exist; connecting would create an empty one.

    Raises:
        SchemaNotCurrent: It does not exist.
    """
    if is_missing(url):
        raise SchemaNotCurrent(
            f"There is no database yet ({url.database}, SYNCSVC_DATABASE_URL). "
            "`syncsvc sync` or `syncsvc migrate` creates it."
        )


def is_missing(url: URL) -> bool:
    """
    Return whether the database is a SQLite file that does not exist.
    """
    if url.get_backend_name() != "sqlite":
        return False
    try:
        Path(url.database or "").stat()
    except FileNotFoundError:
        return True
    except OSError:  # which `require_usable` reports
        return False
    return False


def is_read_only(path: Path) -> bool:
    """
    Return whether a SQLite file exists that this user can't write, or not its directory.

    The directory is that of the file itself: SQLite follows symbolic links.
    """
    found = path.resolve()
    return found.exists() and not (os.access(found, os.W_OK) and os.access(found.parent, os.W_OK))


@contextmanager
def unchanged(url: URL) -> Iterator[None]:
    """
    Check that a file did not change while it was read as one that does not change.

    Raises:
        DatabaseUnavailable: A run published meanwhile; what was read may be half of each state.
    """
    path = Path(url.database or "").resolve()
    if url.get_backend_name() != "sqlite" or not (is_read_only(path) and _is_closed(path)):
        yield
        return
    before = path.stat()
    yield
    after = path.stat()
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise DatabaseUnavailable(
            f"The database {path} changed while it was read without the right to write. "
            "Repeat the command."
        )


def connect(
    _dialect: Dialect, _record: object, arguments: list[str], options: dict[str, Any]
) -> DBAPIConnection | None:
    """
    Create a missing file for its owner alone; open one that can't be written as read-only.

    SQLAlchemy's event `do_connect`; None leaves the connecting to SQLAlchemy.
    """
    path = Path(arguments[0])
    if arguments[0] == ":memory:" or options.get("uri"):
        return None
    if is_read_only(path):
        opened: DBAPIConnection = sqlite3.connect(_read_only_uri(path), uri=True, **options)
        return opened
    with suppress(OSError):  # SQLite says better what is wrong with the path
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode=0o600))
    return None


def _directory(url: URL) -> Path:
    try:
        return Path(url.database or "").absolute().parent
    except FileNotFoundError:
        raise ConfigurationError(
            f"SYNCSVC_DATABASE_URL: {url.database} is relative to the current directory, which "
            "was removed. Change to another directory, or name the file with its whole path."
        ) from None


def _problem_of_file(path: Path) -> str | None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as exc:
        return f"can't be read ({exc.strerror})"
    if stat.S_ISDIR(mode):
        return "is a directory"
    return None if os.access(path, os.R_OK) else "can't be read (Permission denied)"


def _read_only_uri(path: Path) -> str:
    """
    Return a URI that SQLite opens without writing anything.

    A file in WAL mode wants a shared-memory file beside it. If no writer has left one, and
    none can be created, SQLite only reads a file that is said not to change meanwhile; see
    `unchanged`.
    """
    found = path.resolve()
    return f"{found.as_uri()}?mode=ro{'&immutable=1' if _is_closed(found) else ''}"


def _is_closed(path: Path) -> bool:
    return not path.with_name(f"{path.name}-wal").exists()
