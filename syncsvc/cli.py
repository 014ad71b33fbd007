"""
The commands. Logs go to stderr, results to stdout.

What a command needs is imported when it runs, so that `--help` and
`--version` answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from syncsvc import __version__
from syncsvc.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    MisusedReport,
    RunInProgress,
    SchemaNotCurrent,
    SyncError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Engine

    from syncsvc.config import Settings

FAILED, MISUSED, WITHHELD, LOCKED, INTERRUPTED = 1, 2, 3, 4, 130
EXIT_CODES: dict[type[SyncError], int] = {
    ConfigurationError: MISUSED,
    SchemaNotCurrent: MISUSED,
    MisusedReport: MISUSED,
    RunInProgress: LOCKED,
}

app = typer.Typer(
    name="syncsvc",
    help="Keep a telephone-number inventory, as its carrier sees it, true in a SQL database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

AccountFlag = Annotated[
    str | None, typer.Option("--account", help="Instead of SYNCSVC_ACCOUNT.", show_default=False)
]
DatabaseFlag = Annotated[
    str | None,
    typer.Option("--database-url", help="Instead of SYNCSVC_DATABASE_URL.", show_default=False),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def main() -> None:
    """
    Run a command and end with its exit code.
    """
    try:
        app()
    except SyncError as exc:
        typer.echo(f"syncsvc: {exc}", err=True)
        if isinstance(exc, DatabaseUnavailable):
            typer.echo("`syncsvc check` looks at the settings and what they lead to.", err=True)
        sys.exit(EXIT_CODES.get(type(exc), FAILED))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"syncsvc {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings, instead of SYNCSVC_CONFIG.", show_default=False),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="Instead of SYNCSVC_LOG_LEVEL.", show_default=False)
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(help="Instead of SYNCSVC_LOG_FORMAT.", show_default=False)
    ] = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """
    Keep a telephone-number inventory, as its carrier sees it, true in a SQL database.

    Settings are read from SYNCSVC_* variables, credential files and a TOML file; see the README.

    Example: [bold]syncsvc demo[/bold]
    """
    context.obj = {"config": config, "log_level": log_level, "log_format": log_format}


def _settings(context: typer.Context, *, quiet: bool = False, **flags: object) -> Settings:
    """
    The settings, and logging as they want it.

    Args:
        quiet: Say no more than warnings, unless a level was asked for.
    """
    from syncsvc.config import load_settings
    from syncsvc.observe import set_up_logging

    given = dict(context.obj)
    config = given.pop("config")
    environ = {**os.environ, **({"SYNCSVC_CONFIG": str(config)} if config else {})}
    settings = load_settings(flags={**given, **flags}, environ=environ)
    level = settings.log_level
    set_up_logging("warning" if quiet and level == "info" else level, settings.log_format)
    return settings


@app.command()
def sync(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would change and write nothing.")
    ] = False,
    as_json: JsonFlag = False,
    allow_mass_cancel: Annotated[
        bool,
        typer.Option(
            "--allow-mass-cancel", help="Accept cancellations that the guard would withhold."
        ),
    ] = False,
    metrics_file: Annotated[
        Path | None,
        typer.Option(
            help="Write metrics there, for node_exporter's textfile collector.",
            show_default=False,
        ),
    ] = None,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Do one full run now.

    An empty SQLite file is given its tables first; a server's database needs `syncsvc migrate`.

    Example: [bold]syncsvc sync --dry-run[/bold]
    """
    from syncsvc import oneshot

    watched = sys.stderr.isatty() and not as_json
    settings = _settings(context, quiet=watched, account=account, database_url=database_url)
    with _interrupts() as interrupted:
        summary = oneshot.sync(
            settings,
            oneshot.Wanted(
                dry_run=dry_run,
                allow_mass_cancel=allow_mass_cancel,
                watched=watched,
                as_json=as_json,
                metrics_file=metrics_file,
            ),
        )
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if summary.state == "failed":
        raise typer.Exit(FAILED)
    raise typer.Exit(WITHHELD if summary.withheld else 0)


@app.command()
def run(
    context: typer.Context,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Sync now and then on SYNCSVC_SCHEDULE, until SIGTERM or SIGINT.

    Health, metrics and a status page are served at SYNCSVC_HTTP_HOST and SYNCSVC_HTTP_PORT.

    Example: [bold]syncsvc run[/bold]
    """
    from syncsvc import service

    def read_settings() -> Settings:
        return _settings(context, account=account, database_url=database_url)

    cut_short = service.work(read_settings)
    raise typer.Exit(INTERRUPTED if cut_short else 0)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """
    Turn the first SIGINT or SIGTERM into a KeyboardInterrupt, and remember it.

    A signal may reach SQLite in the middle of a statement, which then ends as
    a failure of the database.
    """
    seen: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command()
def migrate(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell; exit 1 where the schema is behind.")
    ] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the DDL instead.")] = False,
    reporting_role: Annotated[
        str | None,
        typer.Option(
            help="A role of PostgreSQL that may read tables and views, now and later.",
            show_default=False,
        ),
    ] = None,
    without_addresses: Annotated[
        bool, typer.Option("--without-addresses", help="Keep street addresses from that role.")
    ] = False,
    keep_months: Annotated[
        bool,
        typer.Option(
            "--keep-months",
            help="Keep the answer of inventory_by_month on PostgreSQL; each run renews it.",
        ),
    ] = False,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Bring the database to the newest schema.

    Example: [bold]syncsvc migrate --reporting-role grafana --without-addresses[/bold]
    """
    from syncsvc import migrate as schema
    from syncsvc import upkeep

    if reporting_role is not None and (check or sql):
        raise typer.BadParameter("--reporting-role goes with neither --check nor --sql.")
    if without_addresses and reporting_role is None:
        raise typer.BadParameter("--without-addresses needs --reporting-role.")
    if keep_months and (check or sql):
        raise typer.BadParameter("--keep-months goes with neither --check nor --sql.")
    settings = _settings(context, quiet=True, database_url=database_url)
    if sql:
        typer.echo(schema.ddl(settings.database))
        return
    current = upkeep.bring_up(
        settings,
        check=check,
        reporting=reporting_role,
        addresses=not without_addresses,
        keep_months=keep_months,
    )
    raise typer.Exit(0 if current else FAILED)


@app.command()
def prune(
    context: typer.Context,
    keep_history: Annotated[
        str | None,
        typer.Option(help="Remove closed history older than this: 90d, 7y.", show_default=False),
    ] = None,
    keep_runs: Annotated[
        str | None, typer.Option(help="Remove runs older than this: 90d, 7y.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be removed; remove nothing.")
    ] = False,
    as_json: JsonFlag = False,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Remove what was kept for long enough.

    A number's newest row is never removed, and what was known at any time that is kept stays as
    it is, as do the last runs of the account.

    Example: [bold]syncsvc prune --keep-history 7y --keep-runs 90d --dry-run[/bold]
    """
    from syncsvc import upkeep

    if keep_history is None and keep_runs is None:
        raise typer.BadParameter("Say what to keep: --keep-history 7y, --keep-runs 90d, or both.")
    settings = _settings(context, quiet=True, account=account, database_url=database_url)
    upkeep.prune(
        settings,
        history_before=_back_from_now("--keep-history", keep_history),
        runs_before=_back_from_now("--keep-runs", keep_runs),
        dry_run=dry_run,
        as_json=as_json,
    )


def _back_from_now(flag: str, length: str | None) -> datetime | None:
    from syncsvc import retention, runs

    if length is None:
        return None
    try:
        return retention.back_from(runs.now(), length)
    except ValueError as exc:
        raise typer.BadParameter(f"{flag}: {length!r} {exc}. Write it like 90d or 7y.") from None


@app.command()
def check(
    context: typer.Context,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Look at settings, database, schema, credentials and one listing page.

    Example: [bold]syncsvc check[/bold]
    """
    from syncsvc import doctor

    settings = _settings(context, quiet=True, account=account, database_url=database_url)
    healthy = True
    for finding in doctor.examine(settings):
        healthy = healthy and finding.healthy
        mark = "ok    " if finding.healthy else "FAILED"
        typer.echo(f"{mark}  {finding.subject:<12} {finding.says}")
    raise typer.Exit(0 if healthy else FAILED)


@app.command()
def runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: JsonFlag = False,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    List the last runs, newest first.

    Example: [bold]syncsvc runs --limit 5[/bold]
    """
    from syncsvc import db, render, reports

    settings = _settings(context, quiet=True, account=account, database_url=database_url)
    with db.translated(), _current_engine(settings).connect() as connection:
        rows = reports.last_runs(connection, settings.account, limit)
    if as_json:
        _print_json(rows)
        return
    console = render.console()
    console.print(render.runs_table(rows))
    for row in rows:
        if row["error"]:
            console.print(f"Run {row['id']}: {row['error']}", markup=False)


@app.command()
def history(
    context: typer.Context,
    number: Annotated[str, typer.Argument(help="An E.164 number or a uuid.", show_default=False)],
    as_json: JsonFlag = False,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """
    Show the timeline of one number.

    Example: [bold]syncsvc history +441245123456[/bold]
    """
    from syncsvc import db, render, reports

    settings = _settings(context, quiet=True, account=account, database_url=database_url)
    with db.translated(), _current_engine(settings).connect() as connection:
        found = reports.find_numbers(connection, settings.account, number)
        timelines = [
            (row, reports.timeline(connection, settings.account, row["uuid"])) for row in found
        ]
    if as_json:
        _print_json([{**row, "history": rows} for row, rows in timelines])
        return
    for row, rows in timelines:
        render.console().print(render.timeline_table(row, rows))


@app.command(
    context_settings={
        "allow_extra_args": True,  # a report's own parameters
        "ignore_unknown_options": True,
        "help_option_names": [],  # with a name, --help is that report's
    }
)
def report(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="A report; none lists them.", show_default=False)
    ] = None,
    output_format: Annotated[
        Literal["table", "csv", "json"],
        typer.Option("--format", help="How the answer is written."),
    ] = "table",
    output: Annotated[
        Path, typer.Option(help="Write here instead, whole or not at all; - is stdout.")
    ] = Path("-"),
    html: Annotated[
        Path | None,
        typer.Option(help="Write a page of the inventory's state.", show_default=False),
    ] = None,
    account: AccountFlag = None,
    database_url: DatabaseFlag = None,
    help_wanted: Annotated[
        bool, typer.Option("--help", "-h", help="Show this message, or what a report takes.")
    ] = False,
) -> None:
    """
    Answer a named question, or list those there are.

    A report's own parameters follow its name; `syncsvc report NAME --help` tells them.

    Example: [bold]syncsvc report spend-by-country --at 2026-03-31 --format csv[/bold]
    """
    from syncsvc import db, reporting
    from syncsvc.formats import Format

    words = [*filter(None, [name]), *context.args]
    if help_wanted:
        typer.echo(reporting.describe(words) if words else context.get_help())
        return
    if not words and html is None:
        reporting.list_reports(Format(output_format), output)
        return
    settings = _settings(context, quiet=True, account=account, database_url=database_url)
    with db.translated(), _current_engine(settings).connect() as connection:
        if html is not None:
            reporting.write_page(connection, settings, html, words)
        else:
            reporting.answer(connection, settings, words, Format(output_format), output)


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8080,
    numbers: Annotated[int, typer.Option(min=0, help="Size of the inventory.")] = 1000,
    seed: Annotated[int, typer.Option(help="Another seed, another inventory.")] = 1,
    example: Annotated[
        bool, typer.Option("--example", help="Serve the provider's documented example.")
    ] = False,
    change_every: Annotated[
        float, typer.Option(min=0, help="Seconds between changes; 0 changes when told.")
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(help='A fault to begin with: reset, or {"kind": "status", "times": 3}.'),
    ] = None,
) -> None:
    """
    Serve a simulated provider on loopback, until interrupted.

    POST /sandbox/change?changes=5 changes its inventory, POST /sandbox/faults takes a JSON list
    of faults, GET /sandbox tells how it stands.

    Example: [bold]syncsvc sandbox --numbers 5000 --change-every 10[/bold]
    """
    from syncsvc import demo

    with _interrupts():
        demo.serve(
            port=port,
            size=None if example else numbers,
            seed=seed,
            change_every=change_every,
            faults=fault or [],
        )


@app.command(name="demo")
def demo_command() -> None:
    """
    Show the main job with nothing configured.

    A simulated provider is synced into SQLite several times while it changes.

    Example: [bold]syncsvc demo[/bold]
    """
    from syncsvc import demo
    from syncsvc.observe import set_up_logging

    set_up_logging("warning", "console")
    demo.show()


def _current_engine(settings: Settings) -> Engine:
    """
    The engine of a database that is known to be current.
    """
    from syncsvc import compose
    from syncsvc import migrate as schema

    compose.require_file(settings)
    engine = compose.engine_from(settings)
    with engine.connect() as connection:
        schema.require_current(connection)
    return engine


def _print_json(rows: list[dict[str, Any]]) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(rows)))
