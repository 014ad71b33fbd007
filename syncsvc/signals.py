"""
SIGTERM and SIGINT: both end any command, from its first moment and also as process 1.

The kernel ignores a signal without a handler for process 1, such as that of a container. This
module is imported before everything else, and imports little.
"""

from __future__ import annotations

import os
import signal
import sys

GRACE = 5  # seconds that a command has to end after a signal
AGAIN_AFTER = 0.01  # seconds, until Python has left what dropped the interrupt
INTERRUPTED = 130


class EndingSignals:
    """
    Handlers that interrupt the main thread, and a watchdog in case it is deep in a C library.

    SQLite, for example, waits half a minute for a lock without letting Python's handlers run.
    """

    def __init__(self) -> None:
        self._watched = False

    def install(self) -> None:
        """
        Raise a KeyboardInterrupt at the first signal, and end the process soon after.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)
        sys.unraisablehook = self._interrupt_again
        self._watched = True
        self._start_watchdog()

    def leave_to_command(self) -> None:
        """
        Never end the process by force, because the command has to record how its run ended.
        """
        self._watched = False

    @staticmethod
    def _interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    @staticmethod
    def _interrupt_again(lost: sys.UnraisableHookArgs) -> None:
        """
        Repeat an interrupt that Python dropped, as it does in the callback of a weak reference.

        Imports have such callbacks.
        """
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            sys.__unraisablehook__(lost)
            return
        import threading  # noqa: PLC0415 - only a signal needs it

        threading.Timer(AGAIN_AFTER, os.kill, (os.getpid(), signal.SIGINT)).start()

    def _start_watchdog(self) -> None:
        import threading  # noqa: PLC0415 - only a command needs it

        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reading,), daemon=True).start()

    def _watch(self, reading: int) -> None:
        import time  # noqa: PLC0415 - only a signal needs it

        while os.read(reading, 1)[0] not in (signal.SIGTERM, signal.SIGINT):
            continue
        if self._watched:
            time.sleep(GRACE)
            os._exit(INTERRUPTED)


ending_signals = EndingSignals()
