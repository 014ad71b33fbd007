"""
Output files: what is replaced, what is written through, and what is refused beforehand.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from syncsvc.errors import ConfigurationError
from syncsvc.output.output_file import open_output, require_writable

if TYPE_CHECKING:
    from pathlib import Path

WRITE = """
import sys
from pathlib import Path
from syncsvc.output.output_file import open_output
with open_output(Path(sys.argv[1])) as stream:
    stream.write("new\\n")
"""


def write(path: Path) -> None:
    """
    Write a line to the file.
    """
    with open_output(path) as stream:
        stream.write("new\n")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_an_open_file_is_appended_to_as_the_shell_opened_it(tmp_path: Path, name: str) -> None:
    """
    A path that leads to stdout, also by a link, leaves what stdout's file has.
    """
    target = tmp_path / "all.csv"
    target.write_text("before\n")
    (tmp_path / "link").symlink_to("/dev/stdout")
    with target.open("a") as stdout:
        subprocess.run([sys.executable, "-c", WRITE, name], stdout=stdout, cwd=tmp_path, check=True)

    assert target.read_text() == "before\nnew\n"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """
    The file that a link names is replaced, and a missing one is created.
    """
    for name in ("there", "missing"):
        (tmp_path / f"{name}-link").symlink_to(tmp_path / name)
    (tmp_path / "there").write_text("before")

    write(tmp_path / "there-link")
    write(tmp_path / "missing-link")

    assert (tmp_path / "there-link").is_symlink()
    assert (tmp_path / "missing-link").is_symlink()
    assert (tmp_path / "there").read_text() == "new\n"
    assert (tmp_path / "missing").read_text() == "new\n"


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    """
    A reader of a FIFO gets the text, and the FIFO is still there.
    """
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()

    write(pipe)
    reader.join(10)

    assert read == ["new\n"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_replaced_file_keeps_its_owner(tmp_path: Path) -> None:
    """
    Owner, group and mode are those of the file before.
    """
    path = tmp_path / "spend.csv"
    path.write_text("before")
    os.chown(path, 12345, 23456)
    path.chmod(0o640)

    write(path)

    found = path.stat()
    assert path.read_text() == "new\n"
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o640)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_file_in_a_directory_of_others_is_overwritten(tmp_path: Path) -> None:
    """
    If no file can be created, the content of one that may be written is replaced.
    """
    path = tmp_path / "spend.csv"
    path.write_text("a longer text before")
    path.chmod(0o666)
    for directory in (tmp_path, *tmp_path.parents):
        directory.chmod(directory.stat().st_mode | 0o555)
    tmp_path.chmod(0o555)
    before = path.stat()

    os.seteuid(65534)
    try:
        require_writable(path, "--output")
        write(path)
    finally:
        os.seteuid(0)

    assert path.read_text() == "new\n"
    assert (path.stat().st_ino, path.stat().st_mode) == (before.st_ino, before.st_mode)


@pytest.mark.parametrize("name", ["none/file", "directory", "loop", "file/below"])
def test_a_file_that_can_not_be_written_is_refused_beforehand(tmp_path: Path, name: str) -> None:
    """
    The message names the option and the file; nothing has been created.
    """
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())

    with pytest.raises(ConfigurationError, match=rf"--output: .*/{name} can't be written: "):
        require_writable(tmp_path / name, "--output")

    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["new", "a" * 255, "pipe"])
def test_a_file_that_can_be_written_is_accepted(tmp_path: Path, name: str) -> None:
    """
    A new file, the longest name and a pipe are accepted, and nothing is created for the look.
    """
    os.mkfifo(tmp_path / "pipe")
    require_writable(tmp_path / name, "--output")

    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]
