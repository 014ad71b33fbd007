"""
The exit code is the run's, whatever becomes of its output; signals end every command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url, select

from syncsvc.database.engine import open_engine
from syncsvc.sandbox import Inventory
from syncsvc.schema.tables import sync_runs

if TYPE_CHECKING:
    from pathlib import Path

    from syncsvc.sandbox import Sandbox

SYNCSVC = f"{sys.executable} -m syncsvc"


@pytest.fixture
def environment(sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """
    The settings of a process that syncs the simulated provider into a SQLite file.
    """
    sandbox.reset(Inventory.seeded(20))
    return {
        **os.environ,
        "SYNCSVC_API_URL": sandbox.url,
        "SYNCSVC_API_TOKEN": sandbox.token,
        "SYNCSVC_DATABASE_URL": f"sqlite:///{tmp_path}/syncsvc.db",
    }


def states(tmp_path: Path) -> list[str]:
    """
    The states of the runs on record.
    """
    if not (tmp_path / "syncsvc.db").exists():
        return []
    with open_engine(make_url(f"sqlite:///{tmp_path}/syncsvc.db")).connect() as connection:
        return list(connection.execute(select(sync_runs.c.state)).scalars())


def shell(command: str, environment: dict[str, str], directory: Path) -> tuple[int, str]:
    """
    Run a command line, and return its first command's exit code and what it wrote to stderr.
    """
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],  # noqa: S607 - of the system
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("sync", 0),
        ("sync --json >/dev/full", 0),
        ("sync --json --metrics-file /dev/full", 0),
        ("run --no-such-option", 2),
        ("--log-level loud runs", 2),
        ("--config /nowhere sync", 2),
        ("history +441", 1),
    ],
)
@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-", "2> >(true)"])
def test_a_stderr_that_takes_nothing_changes_no_code(
    environment: dict[str, str], tmp_path: Path, words: str, expected: int, stderr: str
) -> None:
    """
    Logs and errors that can't be written are dropped.
    """
    shell(f"{SYNCSVC} migrate", environment, tmp_path)

    code, _told = shell(f"{SYNCSVC} {words} {stderr}", environment, tmp_path)

    assert code == expected
    assert states(tmp_path) == (["succeeded"] if expected == 0 else [])


@pytest.mark.parametrize("words", ["sync", "sync --json", "sync --json --metrics-file /dev/full"])
@pytest.mark.parametrize("stdout", [">/dev/full", "| true", ">&-", ">/dev/null"])
def test_a_run_that_published_ends_with_0(
    environment: dict[str, str], tmp_path: Path, words: str, stdout: str
) -> None:
    """
    Output that can't be written is reported on stderr and leaves the code.
    """
    reader_gone = "" if stdout != "| true" else "exec 3> >(true); sleep 0.2; "
    target = ">&3" if reader_gone else stdout
    code, told = shell(f"{reader_gone}{SYNCSVC} {words} {target}", environment, tmp_path)

    assert code == 0, told
    assert states(tmp_path) == ["succeeded"]
    assert ("can't be written to stdout" in told) == (stdout != ">/dev/null")
    assert ("--metrics-file: /dev/full can't be written" in told) == ("metrics" in words)
    assert "Traceback" not in told


@pytest.mark.parametrize("words", ["report trust --format csv", "runs", "history x --json"])
def test_an_answer_that_can_not_be_written_ends_with_1(
    environment: dict[str, str], tmp_path: Path, words: str
) -> None:
    """
    A command whose result is its output fails in one line.
    """
    shell(f"{SYNCSVC} sync", environment, tmp_path)
    code, told = shell(f"{SYNCSVC} {words} >/dev/full", environment, tmp_path)

    assert code == 1
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "words", ["sync --metrics-file none/x.prom", "report trust --output none/x", "report --html /"]
)
def test_a_directory_that_is_not_there_is_found_before_the_work(
    environment: dict[str, str], tmp_path: Path, words: str
) -> None:
    """
    It is a usage error that names the option; nothing is read or published.
    """
    code, told = shell(f"{SYNCSVC} {words}", environment, tmp_path)

    assert code == 2
    assert f"{words.split()[-2]}: " in told
    assert states(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("words", ["migrate", "check", "report trust", "demo", "sandbox --port 0"])
def test_a_signal_ends_every_command_with_130(
    environment: dict[str, str], tmp_path: Path, words: str, number: signal.Signals
) -> None:
    """
    It ends while it imports, waits or works, and within seconds.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "syncsvc", *words.split()],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for_handlers(process.pid)
    process.send_signal(number)
    _, told = process.communicate(timeout=20)

    assert process.returncode == 130, told
    assert b"Traceback" not in told


def test_an_interrupt_within_exec_ends_with_130(tmp_path: Path) -> None:
    """
    Python remembers an interrupt that passed through `exec` of a string, such as dataclasses use.
    """
    (tmp_path / "interrupted.py").write_text(
        "import syncsvc.__main__, syncsvc.cli.app\n"
        "syncsvc.cli.app.main = lambda: exec('raise KeyboardInterrupt')\n"
        "syncsvc.__main__.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"], cwd=tmp_path, check=False, capture_output=True
    )

    assert done.returncode == 130, done.stderr


def test_an_interrupt_that_python_drops_is_repeated(tmp_path: Path) -> None:
    """
    One that comes within the callback of a weak reference, as imports have, ends the command too.
    """
    (tmp_path / "interrupted.py").write_text(
        "import os, signal, time, weakref, syncsvc.__main__, syncsvc.cli.app\n"
        "def called_back(_):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(0.1)\n"
        "def command():\n"
        "    thing = set()\n"
        "    reference = weakref.ref(thing, called_back)\n"
        "    del thing\n"
        "    time.sleep(4)\n"  # less than it takes to end a process by force
        "syncsvc.cli.app.main = command\n"
        "syncsvc.__main__.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"], cwd=tmp_path, check=False, capture_output=True
    )

    assert (done.returncode, done.stderr) == (130, b"")


def wait_for_handlers(process: int) -> None:
    """
    Wait until the process catches SIGTERM, which is the first thing that it does.
    """
    bit = 1 << (signal.SIGTERM - 1)
    for _ in range(1000):
        with open(f"/proc/{process}/status") as status:  # noqa: PTH123 - of the kernel
            caught = next(line for line in status if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) & bit:
            return
        time.sleep(0.005)
    pytest.fail("the process never caught the signal")
