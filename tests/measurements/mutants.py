"""
Print the mutants of a module that its tests do not detect.

mutmut generates the mutants; it is not a dependency and has to be installed for this. The tests of
each module are in `[tool.mutants]` of pyproject.toml. They run on SQLite, with `--without sqlite`
on PostgreSQL. A first run, without a mutant, records which tests call each function and how long
they take. Then each mutant meets, in a process of its own, the tests that call its function, until
the first one fails. Every outcome is added to a file; a mutant that is in it is not tried again, so
that an interrupted measurement goes on where it ended.

    .venv/bin/pip install mutmut==3.8.1
    make mutants MODULE=reconcile/withhold_cancellations
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shutil
import sys
import tempfile
import tomllib
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from mutant_forks import ALIVE, HUNG, UNREACHED, Forks

HERE = Path(__file__).resolve().parents[2]
COPIED = ("syncsvc", "tests", "migrations", "alembic.ini", "pyproject.toml", "README.md")
CONFIGURATION = "[mutmut]\nsource_paths=syncsvc\n"
PYTEST = [
    *("-q", "-n", "0", "-p", "no:cacheprovider", "--timeout", "0"),
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


def copy_project(home: Path) -> None:
    """
    Copy what the tests need, and go there.
    """
    for name in COPIED:
        source = HERE / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, home / name)
    (home / "setup.cfg").write_text(CONFIGURATION)
    os.chdir(home)
    sys.path.insert(0, str(home))


def mutate(module: str, home: Path) -> Any:
    """
    Replace a module of the copy by one with all of its mutants.
    """
    path = home / "syncsvc" / f"{module}.py"
    made = import_module("mutmut.mutation.file_mutation").mutate_file_contents(
        f"syncsvc/{module}.py", path.read_text()
    )
    path.write_text(made.code)
    return made


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


class Results:
    """
    The outcomes of a module's mutants, in a file with a JSON object a line.
    """

    def __init__(self, path: Path, module: str, made: Any) -> None:
        self._path = path
        self._module = module
        self._made = made
        self._dotted = "syncsvc." + module.replace("/", ".")

    def waiting(self, only: list[str], again: str | None) -> list[str]:
        """
        The mutants without an outcome, or with this one, whose names contain one of `only`.
        """
        known = self.outcomes()
        names = [name for name in self._made.mutant_names if any(each in name for each in only)]
        return [f"{self._dotted}.{name}" for name in names if known.get(name) in {None, again}]

    def outcomes(self) -> dict[str, str]:
        """
        The last outcome of each mutant, unless the module has changed since.
        """
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        found = [json.loads(line) for line in lines]
        return {
            each["mutant"]: each["outcome"]
            for each in found
            if each["module"] == self._module
            and each["mutant"] in self._made.mutant_names
            and each["diff"] == difference(self._made, each["mutant"])
        }

    def add(self, mutant: str, outcome: str) -> bool:
        """
        Keep an outcome, if the mutant is one of this module.
        """
        module, _, name = mutant.rpartition(".")
        if module != self._dotted:
            return False
        line = {"module": self._module, "mutant": name, "outcome": outcome}
        with self._path.open("a") as file:
            file.write(json.dumps({**line, "diff": difference(self._made, name)}) + "\n")
        return True

    def summary(self) -> str:
        """
        Each mutant that was not detected, and the number with each outcome.
        """
        outcomes = self.outcomes()
        missed = [name for name, outcome in outcomes.items() if outcome in {ALIVE, UNREACHED}]
        told = [f"{name} ({outcomes[name]})\n{difference(self._made, name)}\n" for name in missed]
        counts = dict(Counter(outcomes.values()))
        return "\n".join([*told, f"{self._module}: {len(outcomes)} mutants, {counts}"])


def main() -> None:
    """
    Test the mutants of a module that were not tried yet, and print those that survive.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", nargs="+", help="such as reconcile/withhold_cancellations")
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the mutants' names")
    parser.add_argument("--again", choices=(ALIVE, HUNG, UNREACHED), help="try these again")
    parser.add_argument("--most", type=int, default=None, help="tests to run for a mutant")
    parser.add_argument("--tests", default="", help="only those whose names match, as pytest's -k")
    parser.add_argument("--without", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", default="mutants.jsonl", help="file of outcomes, added to")
    options = parser.parse_args()
    output = Path(options.output).resolve()
    tests = dict.fromkeys(test for module in options.modules for test in tests_of(module))
    os.environ.setdefault("HYPOTHESIS_PROFILE", "quick")
    with tempfile.TemporaryDirectory() as directory:
        copy_project(Path(directory))
        results = [
            Results(output, module, mutate(module, Path(directory))) for module in options.modules
        ]
        waiting = [name for each in results for name in each.waiting(options.only, options.again)]

        def report(mutant: str, outcome: str) -> None:
            sys.stderr.write(f"{outcome} {mutant}\n")
            any(each.add(mutant, outcome) for each in results)

        base = f"--basetemp={directory}/tests-files"
        named = f"not {options.without}" + (f" and ({options.tests})" if options.tests else "")
        pytest.main(
            [*PYTEST, base, "-k", named, *tests],
            [Forks(waiting, options.most, options.workers, report)],
        )
        for each in results:
            sys.stdout.write(f"{each.summary()}\n")


if __name__ == "__main__":
    main()
