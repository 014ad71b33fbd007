"""
`syncsvc sync`: one run, for whoever waits for it.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import make_url

from syncsvc import compose, db, migrate, render, reports
from syncsvc.errors import DatabaseUnavailable
from syncsvc.evidence import Guard
from syncsvc.job import Job, Summary
from syncsvc.sync import run_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

    from syncsvc.config import Settings

CHANGES_SHOWN = 100


def sync(
    settings: Settings, *, dry_run: bool, allow_mass_cancel: bool, watched: bool, as_json: bool
) -> Summary:
    """
    Do one run and print what it found.

    Args:
        watched: Show a progress bar on stderr.
        as_json: Print one JSON object and nothing else.
    """
    settings.require_credentials()
    changes: list[Any] = []
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(_prepared(settings, dry_run=dry_run))
            on_page = stack.enter_context(_progress_bar()) if watched else _ignore
            job = msgspec.structs.replace(
                _job(settings, engine, allow_mass_cancel=allow_mass_cancel), on_page=on_page
            )
            stack.callback(job.api.close)
            summary = run_once(_dry(job, changes) if dry_run else job)
        except DatabaseUnavailable as exc:
            summary = Summary(account=settings.account, state="failed", error=str(exc))
    _print(summary, changes, as_json=as_json)
    return summary


def _job(settings: Settings, engine: Engine, *, allow_mass_cancel: bool) -> Job:
    return Job(
        engine=engine,
        api=compose.api_from(settings),
        account=settings.account,
        concurrency=settings.concurrency,
        deadline=settings.run_deadline,
        cancelled_listing=settings.cancelled_listing,
        guard=Guard(
            percent=settings.cancel_guard_percent,
            count=settings.cancel_guard_count,
            lifted=allow_mass_cancel,
        ),
        keep_rejects=settings.keep_rejects,
    )


def _dry(job: Job, changes: list[Any]) -> Job:
    """
    The same run with nothing written, and its first changes noted.
    """

    def note_changes(connection: Connection, run_id: int) -> None:
        changes.extend(reports.changes_of_run(connection, run_id, CHANGES_SHOWN))

    return msgspec.structs.replace(job, dry_run=True, on_found=note_changes)


@contextmanager
def _prepared(settings: Settings, *, dry_run: bool) -> Iterator[Engine]:
    """
    The engine; an empty SQLite file is given its tables, for a dry run elsewhere.
    """
    compose.require_directory(settings)
    engine = compose.engine_from(settings)
    if not _is_empty_file(engine):
        yield engine
    elif dry_run:
        with tempfile.TemporaryDirectory(prefix="syncsvc-") as directory:
            scratch = db.open_engine(make_url(f"sqlite:///{directory}/dry-run.db"))
            migrate.upgrade(scratch)
            yield scratch
    else:
        with db.translated():
            migrate.upgrade(engine)
        yield engine


def _is_empty_file(engine: Engine) -> bool:
    if engine.dialect.name != "sqlite":
        return False
    if not Path(engine.url.database or "").exists():
        return True
    with db.translated(), engine.connect() as connection:
        return migrate.is_empty(connection)


def _ignore(*_: object) -> None:
    """
    Nobody wants to know.
    """


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int, int | None], None]]:
    """
    Pages and numbers on stderr, while a run reads the listing.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[pages]} pages, {task.completed:.0f} numbers"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Reading the listing", total=None, pages=0)

        def show(pages: int, rows: int, num_results: int | None) -> None:
            progress.update(task, completed=rows, total=num_results, pages=pages)

        yield show


def _print(summary: Summary, changes: list[Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(summary))
        return
    console = render.console()
    if summary.error is not None:
        console.print(f"{render.outcome(summary)}. {summary.error}", markup=False)
        console.print("`syncsvc check` looks at the settings and what they lead to.")
        return
    if changes:
        events = (getattr(summary, event) for event in render.EVENT_COLOURS)
        console.print(render.changes_table(changes, sum(events)))
    console.print(render.summary_table(summary))
    if summary.withheld:
        console.print(render.WITHHELD, markup=False)
