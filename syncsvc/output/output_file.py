"""
Output files: written atomically, or to stdout.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from syncsvc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def open_output(path: Path) -> Iterator[TextIO]:
    """
    Open stdout for `-`, else a file that is replaced atomically when the block ends.

    Raises:
        ConfigurationError: It can't be written.
    """
    if str(path) == "-":
        with _stdout() as stream:
            yield stream
        return
    try:
        if path.exists() and not path.is_file():  # a pipe or a device can't be replaced
            with path.open("w", encoding="utf-8", newline="") as stream:
                yield stream
        else:
            with _replacing(path.resolve()) as stream:
                yield stream
    except OSError as exc:
        raise ConfigurationError(f"{path} can't be written: {exc.strerror}.") from exc


@contextmanager
def _stdout() -> Iterator[TextIO]:
    """
    Open stdout as UTF-8, whatever the locale is.
    """
    stream = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=True)
    try:
        yield stream
    finally:
        stream.detach()


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """
    Open a new file beside the path, and rename it to the path when the block ends.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:  # noqa: PTH123 - a descriptor
            yield stream
        os.chmod(name, _mode(path))  # noqa: PTH101 - as mkstemp gives it
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _mode(path: Path) -> int:
    """
    Return the permissions of the replaced file, or those the umask leaves to a new one.
    """
    if path.exists():
        return path.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
