"""
Print the mutants of a module that its tests do not detect.

mutmut generates the mutants; it is not a dependency and has to be installed for this. The tests of
each module are in `[tool.mutants]` of pyproject.toml. They run on SQLite, with `--without sqlite`
on PostgreSQL, in a process of their own for each mutant, until the first one fails. Each mutant
that no test fails on is added to a file, as a diff.

    .venv/bin/pip install mutmut==3.8.1
    make mutants MODULE=reconcile/publish
"""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import sys
import tempfile
import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.main import pytest_runtestloop as run_tests

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parents[2]
COPIED = ("syncsvc", "tests", "migrations", "alembic.ini", "pyproject.toml", "README.md")
CONFIGURATION = "[mutmut]\nsource_paths=syncsvc\n"
TIMEOUT = 300  # seconds; a mutant that takes longer hangs, which counts as detected
PYTEST = [
    *("-x", "-q", "-n", "0", "-p", "no:cacheprovider"),
    *("--timeout", "60"),  # a mutant may hang
    # Plugins that were imported already have no asserts to rewrite.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
]


def tests_of(module: str) -> list[str]:
    """
    The test files that should detect a module's mutants.
    """
    with (HERE / "pyproject.toml").open("rb") as file:
        configured: dict[str, list[str]] = tomllib.load(file)["tool"]["mutants"]
    if module not in configured:
        sys.exit(f"MODULE={module} is not in [tool.mutants]; these are: {', '.join(configured)}")
    return [f"tests/{name}" for name in configured[module]]


def mutated(module: str, home: Path) -> Any:
    """
    Copy the project and replace a module by one with all of its mutants.
    """
    for name in COPIED:
        source = HERE / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, home / name)
    (home / "setup.cfg").write_text(CONFIGURATION)
    path = home / "syncsvc" / f"{module}.py"
    os.chdir(home)
    made = import_module("mutmut.mutation.file_mutation").mutate_file_contents(
        f"syncsvc/{module}.py", path.read_text()
    )
    path.write_text(made.code)
    return made


class Forks:
    """
    A pytest plugin that runs the tests once, then again in a fork for each mutant.

    What was imported, collected and cached by then, a mutant's process need not do again.
    """

    def __init__(self, mutants: list[str], workers: int, report: Callable[[str], None]) -> None:
        self._mutants = mutants
        self._workers = workers
        self._report = report  # is given each mutant with which all tests pass

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """
        Run the tests without a mutant, and if they pass, with each.
        """
        run_tests(session)
        if session.testsfailed:
            raise session.Interrupted("The tests fail without a mutant.")
        waiting, running = list(reversed(self._mutants)), dict[int, str]()
        while waiting or running:
            while waiting and len(running) < self._workers:
                mutant = waiting.pop()
                running[_start(session, mutant)] = mutant
            pid, status = os.wait()
            if os.waitstatus_to_exitcode(status) == 0:
                self._report(running[pid])
            del running[pid]
        return True


def _start(session: pytest.Session, mutant: str) -> int:
    """
    Run the tests with this mutant in another process, until the first one fails.
    """
    pid = os.fork()
    if pid:
        return pid
    os.environ["MUTANT_UNDER_TEST"] = mutant
    try:
        run_tests(session)
    except session.Failed:
        pass
    finally:
        os._exit(1 if session.testsfailed else 0)


def difference(made: Any, mutant: str) -> str:
    """
    The change that a mutant makes to its function, as a diff.
    """
    lines = made.code.splitlines()

    def body(name: str) -> list[str]:
        span = made.line_span_by_function_name[name]
        return [line for line in lines[span.start - 1 : span.end] if "def " not in line]

    original = mutant.rpartition("__mutmut_")[0] + "__mutmut_orig"
    diff = difflib.unified_diff(body(original), body(mutant), lineterm="", n=1)
    return "\n".join(list(diff)[2:])


def main() -> None:
    """
    Test every mutant of a module and print those that survive.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("module", help="such as reconcile/publish")
    parser.add_argument("--only", default="", help="mutants whose names contain this")
    parser.add_argument("--without", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", default="mutants.txt", help="file to add those alive to")
    options = parser.parse_args()
    options.output = Path(options.output).resolve()
    tests = tests_of(options.module)
    dotted = "syncsvc." + options.module.replace("/", ".")
    with tempfile.TemporaryDirectory() as directory:
        made = mutated(options.module, Path(directory))
        sys.path.insert(0, directory)
        names = [f"{dotted}.{name}" for name in made.mutant_names if options.only in name]
        alive = []

        def report(mutant: str) -> None:
            name = mutant.removeprefix(f"{dotted}.")
            alive.append(name)
            with Path(options.output).open("a") as file:
                file.write(f"{name}\n{difference(made, name)}\n\n")

        code = pytest.main(
            [*PYTEST, "-k", f"not {options.without}", *tests],
            [Forks(names, options.workers, report)],
        )
    sys.stdout.write(f"{len(names)} mutants, {len(alive)} of them alive ({options.output})\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
