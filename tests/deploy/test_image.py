from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncsvc import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

TREE = Path(__file__).parents[2]
DOCKER = TREE / "deploy" / "docker"
DOCKERFILE = re.sub(r"^#.*\n|\\\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
STEPS = [(word, rest) for word, _, rest in (line.partition(" ") for line in DOCKERFILE.split("\n"))]
FINAL = STEPS[max(place for place, (word, _) in enumerate(STEPS) if word == "FROM") :]
ALLOWED = re.findall(r"^!(.+)$", (DOCKER / "Dockerfile.dockerignore").read_text(), re.MULTILINE)


def test_bases_are_pinned() -> None:
    """
    Both stages begin with the same base, a tag that names Python and Debian, or what a build names.
    """
    (argument,) = (rest for word, rest in STEPS if word == "ARG")
    bases = [rest.split()[0] for word, rest in STEPS if word == "FROM"]

    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", argument)
    assert bases == ["${BASE}", "${BASE}"]


def test_the_image_needs_no_shell() -> None:
    """
    Whatever is started, while it is built or later, is started without a shell.
    """
    (healthcheck,) = (rest for word, rest in STEPS if word == "HEALTHCHECK")
    commands = [rest for word, rest in STEPS if word in {"RUN", "ENTRYPOINT", "CMD"}]

    for command in [*commands, re.sub(r"^.*?CMD ", "", healthcheck)]:
        assert isinstance(json.loads(command), list)
    assert "RUN" not in dict(FINAL)


def test_the_image_runs_as_nobody_in_particular() -> None:
    """
    The user is a number, so that Kubernetes can see that it is not root.
    """
    (user,) = (rest for word, rest in FINAL if word == "USER")

    assert [int(number) for number in user.split(":")] == [65532, 65532]


def test_the_image_bears_the_version() -> None:
    """
    Its label, and the tag in the instructions, are the version of the tree.
    """
    assert f'org.opencontainers.image.version="{__version__}"' in dict(FINAL)["LABEL"]
    assert f"--tag syncsvc:{__version__} ." in (DOCKER / "Dockerfile").read_text()


def test_the_build_has_all_that_it_needs(tmp_path: Path) -> None:
    """
    What Docker is shown of the tree is enough to build the wheel, migrations included.
    """
    for name in ALLOWED:
        source = TREE / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(source, tmp_path / name)

    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "out"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)

    (wheel,) = (tmp_path / "out").iterdir()
    assert any(
        "syncsvc/migrations/versions/0001" in name for name in zipfile.ZipFile(wheel).namelist()
    )
    assert {"requirements.lock", "requirements-dev.lock", "deploy/assemble.sh"} <= set(ALLOWED)


@pytest.mark.parametrize(("command", "healthy"), [("sync", True), ("run", False)])
def test_only_the_worker_has_to_answer(command: str, healthy: bool) -> None:
    """
    A container of a single run is healthy while it lasts; a worker that does not answer is not.
    """
    with _process_called(command) as process:
        told = subprocess.run(
            [sys.executable, str(DOCKER / "healthcheck.py"), str(process)],
            check=False,
            capture_output=True,
            text=True,
            env={"SYNCSVC_HTTP_PORT": "1"},
        )

    assert healthy == (told.returncode == 0)
    assert ("" if healthy else "/livez: [Errno 111] Connection refused\n") == told.stderr


@contextmanager
def _process_called(command: str) -> Iterator[int]:
    """
    A process that was started with this word, and does nothing.
    """
    idle = [sys.executable, "-c", "input()", command]
    with subprocess.Popen(idle, stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()
