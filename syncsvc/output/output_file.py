"""
Output files and stdout: regular files are replaced atomically, all else is written through.
"""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
import shutil
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

import typer

from syncsvc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

STDOUT = Path("-")
OPEN_FILES = re.compile(r"/proc/\d+(/task/\d+)?/fd|/dev/fd")
NOT_REPLACEABLE = {errno.EACCES, errno.EPERM, errno.EBUSY, errno.EROFS, errno.EXDEV}


@contextmanager
def open_output(path: Path) -> Iterator[TextIO]:
    """
    Open stdout for `-`, else a file that has all that is written or, if the block fails, nothing.

    It is UTF-8, whatever the locale is.

    Raises:
        ConfigurationError: It can't be written.
    """
    with open_binary(path) as raw:
        stream = io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True)
        try:
            yield stream
            stream.flush()
        finally:
            with suppress(OSError, ValueError):
                stream.detach()


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """
    Open stdout for `-`, else a file, as `open_output` does, for bytes.

    Raises:
        ConfigurationError: It can't be written.
    """
    try:
        with _opened(path) as stream:
            yield stream
    except OSError as exc:
        if path == STDOUT:
            raise
        raise _unwritable(path, exc) from exc


def require_writable(path: Path, option: str) -> None:
    """
    Refuse a file that can't be written, before the work whose result it is to get.

    Raises:
        ConfigurationError: With the reason.
    """
    if path == STDOUT:
        return
    try:
        found = _existing(path)
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        target = path if found is not None else Path(os.path.realpath(path)).parent
        target.stat()
        if not os.access(target, os.W_OK) and not _replaceable(path, found):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as exc:
        raise ConfigurationError(f"{option}: {_unwritable(path, exc)}") from exc


@contextmanager
def printing() -> Iterator[None]:
    """
    Print to stdout what has been done already: if that fails, say so on stderr and go on.

    The exit code is that of the work, which can't be undone because nobody reads about it.
    """
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as exc:
        give_up_stdout()
        _warn(f"The result can't be written to stdout: {_reason(exc)}.")


def give_up_stdout() -> None:
    """
    Send what stdout has buffered to /dev/null, so that the interpreter's last flush succeeds.
    """
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


@contextmanager
def after_the_work(option: str) -> Iterator[None]:
    """
    Write a file about work that is done already: if that fails, say so on stderr and go on.
    """
    try:
        yield
    except (ConfigurationError, OSError) as exc:
        _warn(f"{option}: {exc}")


def _warn(message: str) -> None:
    with suppress(OSError, ValueError):
        typer.echo(message, err=True)


def _reason(exc: Exception) -> str:
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc)


def _unwritable(path: Path, exc: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path} can't be written: {_reason(exc)}. Give another file.")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path == STDOUT:
        with _stdout() as stream:
            yield stream
        return
    descriptor = _open_descriptor(path)
    found = _existing(path)
    if descriptor is not None:
        with open(os.dup(descriptor), "ab") as stream:  # noqa: PTH123 - a descriptor
            yield stream
    elif found is not None and not stat.S_ISREG(found.st_mode):
        with path.open("wb") as stream:
            yield stream
    else:
        with _replacing(Path(os.path.realpath(path)), found) as stream:  # a link stays a link
            yield stream


@contextmanager
def _stdout() -> Iterator[BinaryIO]:
    if sys.stdout is None:  # closed by whoever started the process
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def _existing(path: Path) -> os.stat_result | None:
    """
    Return the status of what is at a path, links followed; None if there is nothing.
    """
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _open_descriptor(path: Path) -> int | None:
    """
    Return the open file that a path such as /dev/stdout or /proc/self/fd/3 leads to.

    Opening the path would truncate the file that a shell has opened to append to it.
    """
    place = Path(os.path.realpath(path.parent)) / path.name
    for _ in range(40):  # links, as many as Linux follows
        if OPEN_FILES.fullmatch(str(place.parent)) and place.name.isdecimal():
            return int(place.name) if _is_ours(place.parent) else None
        if not place.is_symlink():
            return None
        target = place.parent / place.readlink()
        place = Path(os.path.realpath(target.parent)) / target.name
    return None


def _is_ours(directory: Path) -> bool:
    return directory == Path("/dev/fd") or directory.samefile("/proc/self/fd")


def _replaceable(path: Path, found: os.stat_result | None) -> bool:
    """
    Return whether a read-only file of ours can be replaced by another.
    """
    is_file = found is not None and stat.S_ISREG(found.st_mode)
    return is_file and os.access(Path(os.path.realpath(path)).parent, os.W_OK)


@contextmanager
def _replacing(path: Path, found: os.stat_result | None) -> Iterator[BinaryIO]:
    """
    Open a new file beside the path, and rename it to the path when the block ends.

    Args:
        path: The file, not a link to it.
        found: The status of the file that is replaced.
    """
    new, descriptor = _create_beside(path, found)
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor
            yield stream
        _take_the_place(new, path, found)
    finally:
        new.unlink(missing_ok=True)


def _create_beside(path: Path, found: os.stat_result | None) -> tuple[Path, int]:
    """
    Create an empty file, where possible in the same directory.

    A new file gets the permissions that the umask leaves. What replaces a file can be read by
    nobody else until it has that file's permissions.
    """
    flags, mode = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if found else 0o666
    name = f".syncsvc-{secrets.token_hex(8)}"
    try:
        return path.with_name(name), os.open(path.with_name(name), flags, mode)
    except OSError as exc:
        if found is None or exc.errno not in NOT_REPLACEABLE:
            raise
    elsewhere = Path(os.environ.get("TMPDIR") or "/tmp") / name  # noqa: S108 - created exclusively
    return elsewhere, os.open(elsewhere, flags, mode)


def _take_the_place(new: Path, path: Path, found: os.stat_result | None) -> None:
    """
    Rename the new file to the path, with mode and owner of the replaced one.

    If that is not allowed, as for a file of somebody else's or a mount point, the file stays
    and its content is replaced.
    """
    try:
        if found is not None:
            _keep_owner_and_mode(new, found)
        new.replace(path)
    except OSError as exc:
        if found is None or exc.errno not in NOT_REPLACEABLE:
            raise
        with new.open("rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)


def _keep_owner_and_mode(new: Path, found: os.stat_result) -> None:
    made = new.stat()
    if (made.st_uid, made.st_gid) != (found.st_uid, found.st_gid):
        os.chown(new, found.st_uid, found.st_gid)
    new.chmod(stat.S_IMODE(found.st_mode))
