"""
The process: `syncsvc`, or `python -m syncsvc`.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from typing import TYPE_CHECKING

from syncsvc.signals import INTERRUPTED, ending_signals

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

STDERR = 2
YOUNG_OBJECTS = 5_000  # after which the garbage collector looks at them; Python's own value is 700


def main() -> None:
    """
    Handle signals first, then import and run the command.
    """
    try:
        collect_garbage_less_often()
        _keep_standard_descriptors()
        _tolerate_stderr()
        ending_signals.install()  # it opens a pipe, which must not become a standard stream
        from syncsvc.cli import app  # noqa: PLC0415 - after the handlers, as it takes a while

        app.main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        _forget_interrupt()


def collect_garbage_less_often() -> None:
    """
    Leave the rows of a few pages to end without the garbage collector; they have no cycles.
    """
    gc.set_threshold(YOUNG_OBJECTS)


def _forget_interrupt() -> None:
    """
    Keep Python from ending by SIGINT instead of our exit code.

    It does so after an interrupt that passed through `exec` of a string, by which modules make
    dataclasses, even if the interrupt was handled. The next `exec` of a string resets that.
    """
    exec("")  # noqa: S102 - nothing is executed


def _keep_standard_descriptors() -> None:
    """
    Fill in closed standard streams, so that no database or socket becomes stdout.

    A closed stdout stays one that can't be written, and is reported as such.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - 2 may be taken


class _TolerantFile(io.FileIO):
    """
    A file whose failures to write are ignored.
    """

    def write(self, data: Buffer, /) -> int:
        """
        Write the data, or drop it if that fails.
        """
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


def _tolerate_stderr() -> None:
    """
    Drop logs and messages that stderr can't take, such as on a full disk.

    Otherwise an error would become another one, and Python would end with 120 after its last flush
    failed, although the run has published.
    """
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr.fileno() == STDERR:
        raw = _TolerantFile(STDERR, "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=True
        )


if __name__ == "__main__":
    main()
