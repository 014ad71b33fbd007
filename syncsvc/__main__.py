"""
The process: `syncsvc`, or `python -m syncsvc`.
"""

from __future__ import annotations

import os
import sys

from syncsvc.cli.signals import INTERRUPTED, ending_signals


def main() -> None:
    """
    Handle signals first, then import and run the command.
    """
    try:
        _keep_standard_descriptors()
        ending_signals.install()  # it opens a pipe, which must not become a standard stream
        from syncsvc.cli import app  # noqa: PLC0415 - after the handlers, as it takes a while

        app.main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        _forget_interrupt()


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


if __name__ == "__main__":
    main()
