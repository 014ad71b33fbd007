"""
`syncsvc sync`: one run, its progress and its result.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import make_url

from syncsvc import build_from_settings
from syncsvc.database import account_and_run_queries, transactions
from syncsvc.database.engine import open_engine
from syncsvc.database.maintenance import migrate
from syncsvc.errors import ConfigurationError, DatabaseUnavailable, SyncError
from syncsvc.metrics import Metrics
from syncsvc.notify import delivery_threads, endpoint_standing
from syncsvc.output import output_file
from syncsvc.output.formats import terminal
from syncsvc.sync.dry_run_rows import PlannedRows
from syncsvc.sync.progress_and_summary import Summary
from syncsvc.sync.run import run_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from syncsvc.settings.settings import Settings

    Collector = Callable[[Connection, int], None]

CHANGES_SHOWN = 100


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """
    The options of one run.

    Attributes:
        show_progress: Show a progress bar on stderr.
        as_json: Print one JSON object and nothing else.
        metrics_file: The file for the metrics.
    """

    dry_run: bool = False
    allow_mass_cancel: bool = False
    show_progress: bool = False
    as_json: bool = False
    metrics_file: Path | None = None


def sync(settings: Settings, options: Options) -> Summary:
    """
    Do one run and print its summary.
    """
    if options.dry_run and options.metrics_file:
        raise ConfigurationError(
            "--metrics-file: a dry run has no metrics. Leave out --metrics-file or --dry-run."
        )
    if options.metrics_file is not None:
        output_file.require_writable(options.metrics_file, "--metrics-file")
    metrics = Metrics(settings.account)
    with closing(PlannedRows()) as planned:
        changes: list[Any] = []
        summary = _run(settings, options, metrics, _collector(options, planned, changes))
        with output_file.printing():
            if options.as_json:
                _print_json(summary, planned if options.dry_run else None)
            else:
                _print(summary, changes)
    if summary.run_id is not None:
        _deliver(settings, metrics, summary.account)
    if options.metrics_file is not None:
        with output_file.after_the_work("--metrics-file"):
            _write_metrics(settings, metrics, summary, options.metrics_file)
    return summary


def _run(settings: Settings, options: Options, metrics: Metrics, collect: Collector) -> Summary:
    with ExitStack() as stack:
        try:
            process_settings = settings
            settings = build_from_settings.own_settings(process_settings)
            settings.require_credentials()
            engine = stack.enter_context(_prepared(settings, dry_run=options.dry_run))
            if not options.dry_run:
                delivery_threads.adopt(engine, process_settings)
            on_page = stack.enter_context(_progress_bar()) if options.show_progress else _ignore
            api = build_from_settings.api_from(settings, meter=metrics)
            stack.callback(api.close)
            job = build_from_settings.job_from(settings, engine, api)
            guard = msgspec.structs.replace(job.guard, lifted=options.allow_mass_cancel)
            job = msgspec.structs.replace(job, guard=guard, on_page=on_page)
            if options.dry_run:
                job = msgspec.structs.replace(job, dry_run=True, on_found=collect)
            return run_once(job)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("nothing was published") from None
        except DatabaseUnavailable as exc:
            return Summary(account=settings.account, state="failed", error=str(exc))


def _deliver(settings: Settings, metrics: Metrics, account: str) -> None:
    """
    Send once what waits for the endpoints of webhooks; a signal ends only that.
    """
    with suppress(KeyboardInterrupt):
        engine = build_from_settings.engine_from(settings)
        delivery_threads.deliver_once(engine, settings, metrics.notify, account)


def _write_metrics(settings: Settings, metrics: Metrics, summary: Summary, path: Path) -> None:
    """
    Write the metrics of the run and, if the database can be read, of the tables.
    """
    metrics.run_ended(summary.state, summary.duration_seconds, msgspec.structs.asdict(summary))
    engine = build_from_settings.engine_from(settings)
    with suppress(SyncError), transactions.short_read(engine) as connection:
        account_and_run_queries.set_gauges(connection, settings.account, metrics)
        metrics.notify.stand(endpoint_standing.states(connection))
    with output_file.open_output(path) as stream:
        stream.write(metrics.text())


def _collector(options: Options, planned: PlannedRows, changes: list[Any]) -> Collector:
    """
    Return what collects a dry run's rows: all of them for JSON, else the first for a table.
    """
    if options.as_json:
        return planned.collect

    def note_changes(connection: Connection, run_id: int) -> None:
        changes.extend(account_and_run_queries.changes_of_run(connection, run_id, CHANGES_SHOWN))

    return note_changes


@contextmanager
def _prepared(settings: Settings, *, dry_run: bool) -> Iterator[Engine]:
    """
    Return the engine; create the tables in an empty SQLite file, for a dry run in a scratch file.
    """
    engine = build_from_settings.engine_from(settings)
    if not migrate.is_new_file(engine):
        yield engine
    elif dry_run:
        with tempfile.TemporaryDirectory(prefix="syncsvc-") as directory:
            scratch = open_engine(make_url(f"sqlite:///{directory}/dry-run.db"))
            migrate.upgrade(scratch)
            yield scratch
    else:
        with transactions.translated():
            migrate.upgrade(engine)
        yield engine


def _ignore(*_: object) -> None:
    """
    Ignore the progress.
    """


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int, int | None], None]]:
    """
    Show pages and numbers on stderr while a run reads the listing.
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


def _print_json(summary: Summary, planned: PlannedRows | None) -> None:
    if planned is None:
        typer.echo(msgspec.json.encode(summary))
        return
    for chunk in planned.json_object(summary):
        typer.echo(chunk, nl=False)


def _print(summary: Summary, changes: list[Any]) -> None:
    console = terminal.console()
    if summary.error is not None:
        console.print(f"{terminal.outcome(summary)}. {summary.error}", markup=False)
        return
    if changes:
        events = (getattr(summary, event) for event in terminal.EVENT_COLOURS)
        written = sum(events)
        terminal.show(terminal.changes_table(changes, written))
        if written > len(changes):
            console.print("`syncsvc sync --dry-run --json` has them all.", markup=False)
    terminal.show(terminal.summary_table(summary))
    if summary.withheld:
        console.print(terminal.WITHHELD, markup=False)
