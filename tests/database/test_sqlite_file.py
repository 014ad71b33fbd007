"""
The file of a SQLite database: its owner's alone when created, and read by those who can't write.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url, text

from support.build import Watch, number_row
from syncsvc.database import sqlite_file
from syncsvc.database.engine import open_engine
from syncsvc.database.transactions import translated
from syncsvc.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_sqlite_file_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    """
    Whatever the umask, nobody else reads the street addresses of a database that we create.
    """
    path = tmp_path / "new.db"
    before = os.umask(umask)
    try:
        with open_engine(make_url(f"sqlite:///{path}")).connect() as connection:
            connection.exec_driver_sql("CREATE TABLE t (a)")
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["sqlite"])
@pytest.mark.parametrize("is_open", [False, True])
def test_a_file_that_can_not_be_written_is_read(
    watch: Watch, engine: Engine, monkeypatch: pytest.MonkeyPatch, *, is_open: bool
) -> None:
    """
    A reader without the right to write reads the last commit, also while a writer is there.
    """
    watch.see(number_row(1))
    with engine.connect() as writer:
        if is_open:
            writer.execute(text("UPDATE numbers SET status = 'new'"))
            writer.commit()
        monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anything
        with open_engine(engine.url).connect() as reader:
            status = reader.execute(text("SELECT status FROM numbers")).scalar_one()
            with pytest.raises(DatabaseUnavailable, match="This user can't write"), translated():
                reader.execute(text("DELETE FROM numbers"))

    assert (status == "new") == is_open


def test_a_link_in_a_directory_of_others_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What counts is the directory of the file, where SQLite puts its own files.
    """
    (tmp_path / "links").mkdir()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "real.db").touch()
    link = tmp_path / "links" / "link.db"
    link.symlink_to(tmp_path / "files" / "real.db")
    monkeypatch.setattr(os, "access", lambda path, _mode: str(path) != str(tmp_path / "links"))

    assert not sqlite_file.is_read_only(link)


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_file_that_changes_while_it_is_read_is_told(
    watch: Watch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without the right to write, a reader can't keep a run from changing the file under it.
    """
    watch.see(number_row(1))
    access = os.access

    def read() -> None:
        monkeypatch.setattr(os, "access", lambda *_: False)
        with sqlite_file.unchanged(engine.url):
            monkeypatch.setattr(os, "access", access)
            watch.see(number_row(2))

    with pytest.raises(DatabaseUnavailable, match="changed while"):
        read()


@pytest.mark.parametrize("kind", ["sqlite"])
def test_whoever_can_write_reads_while_runs_publish(watch: Watch, engine: Engine) -> None:
    """
    SQLite itself keeps such readers and the writer apart.
    """
    watch.see(number_row(1))

    with sqlite_file.unchanged(engine.url):
        watch.see(number_row(2))
