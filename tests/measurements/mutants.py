"""
Print the mutants of a module that its tests do not detect.

mutmut generates the mutants; it is not a dependency and has to be installed for this.
The tests run on SQLite, in a process of their own for each mutant, until the first
one fails. Each mutant that no test fails on is printed as a diff.

    .venv/bin/pip install mutmut==3.8.1
    .venv/bin/python tests/measurements/mutants.py reconcile/publish tests/reconcile/test_history.py
"""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]
COPIED = ("syncsvc", "tests", "migrations", "alembic.ini", "pyproject.toml", "README.md")
CONFIGURATION = "[mutmut]\nsource_paths=syncsvc\n"
TIMEOUT = 300  # seconds; a mutant that takes longer hangs, which counts as detected
PYTEST = ("pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", "not postgresql")


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


def passes(mutant: str, home: Path, tests: list[str]) -> bool:
    """
    Whether all tests pass with this mutant; an empty name means without any.
    """
    environ = {**os.environ, "MUTANT_UNDER_TEST": mutant}
    command = [sys.executable, "-m", *PYTEST, *tests]
    try:
        ended = subprocess.run(
            command, cwd=home, env=environ, capture_output=True, check=False, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0


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
    parser.add_argument("tests", nargs="+", help="the test files that should detect mutants")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        made = mutated(options.module, home)
        if not passes("", home, options.tests):
            sys.exit("The tests fail without a mutant.")

        dotted = options.module.replace("/", ".")

        def survives(name: str) -> bool:
            return passes(f"syncsvc.{dotted}.{name}", home, options.tests)

        names = list(made.mutant_names)
        with ThreadPoolExecutor(options.workers) as pool:
            survivors = [
                name
                for name, survived in zip(names, pool.map(survives, names), strict=True)
                if survived
            ]
    printed = [f"{name}\n{difference(made, name)}\n" for name in survivors]
    sys.stdout.write(
        "\n".join([*printed, f"{len(names)} mutants, {len(survivors)} of them survived\n"])
    )


if __name__ == "__main__":
    main()
