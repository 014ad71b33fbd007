from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncsvc.database.maintenance.migrate import newest

if TYPE_CHECKING:
    from collections.abc import Callable

TREE = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The wheel built from the tree, unpacked where nothing else of the tree is.
    """
    home = tmp_path_factory.mktemp("wheel")
    build = ["-m", "hatchling", "build", "--target", "wheel", "--directory", str(home)]
    subprocess.run([sys.executable, *build], cwd=TREE, check=True, capture_output=True)
    (wheel,) = home.glob("*.whl")
    install = [
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        "--disable-pip-version-check",
    ]
    target = ["--target", str(home / "site"), str(wheel)]
    subprocess.run([sys.executable, *install, *target], check=True, capture_output=True)
    return home / "site"


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Callable[..., str]:
    """
    Run the installed package, in an empty directory.
    """

    def call(*arguments: str) -> str:
        process = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"},
            check=True,
            capture_output=True,
            text=True,
        )
        return process.stdout

    return call


def test_the_wheel_is_what_runs(run: Callable[..., str], installed: Path) -> None:
    """
    The tests below use the wheel's modules, not the tree's.
    """
    where = run("-c", "import syncsvc; print(syncsvc.__file__)")

    assert installed == Path(where.strip()).parent.parent


def test_the_migrations_travel_inside_the_wheel(run: Callable[..., str]) -> None:
    """
    An installed package migrates a database and finds it current.
    """
    assert f"is at {newest()}" in run("-m", "syncsvc", "migrate")
    assert f"is at {newest()}" in run("-m", "syncsvc", "migrate", "--check")


def test_the_demo_runs_from_the_wheel(run: Callable[..., str]) -> None:
    """
    An installed package shows the main job with nothing configured.
    """
    assert "Run 6 succeeded" in run("-m", "syncsvc", "demo")


def test_the_package_says_that_it_is_typed(installed: Path) -> None:
    """
    Type checkers of those who import it find its annotations.
    """
    assert (installed / "syncsvc" / "py.typed").exists()
