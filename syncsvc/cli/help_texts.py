"""
The help text of every command.

They are constants and not docstrings, because `python -OO` removes docstrings.
"""

from __future__ import annotations

APP = """\
Mirror a carrier's telephone-number inventory into your own SQL database.

Settings are read from SYNCSVC_* variables, credential files and a TOML file; see the README.

Example: [bold]syncsvc demo[/bold]"""

SYNC = """\
Do one full run now.

The tables are created first in an empty SQLite file; PostgreSQL needs `syncsvc migrate`.

Example: [bold]syncsvc sync --dry-run[/bold]"""

RUN = """\
Sync at startup, then on SYNCSVC_SCHEDULE, until SIGTERM or SIGINT.

Health, metrics and a status page are served at SYNCSVC_HTTP_HOST and SYNCSVC_HTTP_PORT.

Example: [bold]syncsvc run[/bold]"""

MIGRATE = """\
Bring the database to the newest schema.

Example: [bold]syncsvc migrate --reporting-role grafana --without-addresses[/bold]"""

PRUNE = """\
Delete history and runs that are past their retention time.

A number's newest history row and the account's last runs are never deleted, and queries about
the retained period keep returning the same results.

Example: [bold]syncsvc prune --keep-history 7y --keep-runs 90d --dry-run[/bold]"""

CHECK = """\
Check everything that a run needs, and rehearse one without leaving anything behind.

Each line names a problem and what to do about it.

Example: [bold]syncsvc check[/bold]"""

CONFIG = """\
Print every setting: its value, where that comes from, its default and its meaning.

Secrets are only reported as set.

Example: [bold]syncsvc config --json[/bold]"""

RUNS = """\
List the last runs, newest first.

Example: [bold]syncsvc runs --limit 5[/bold]"""

HISTORY = """\
Show the timeline of one number.

Example: [bold]syncsvc history +441245123456[/bold]"""

REPORT = """\
Print a report, or list the reports.

A report's own parameters follow its name; `syncsvc report NAME --help` lists them.

Example: [bold]syncsvc report spend-by-country --at 2026-03-31 --format csv[/bold]"""

SANDBOX = """\
Serve a simulated provider on loopback, until interrupted.

POST /sandbox/change?changes=5 changes its inventory, POST /sandbox/faults takes a JSON list
of faults, GET /sandbox returns its state.

Example: [bold]syncsvc sandbox --numbers 5000 --change-every 10[/bold]"""

DEMO = """\
Sync a simulated provider into SQLite several times while it changes.

This needs no settings.

Example: [bold]syncsvc demo[/bold]"""
