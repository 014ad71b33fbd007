"""
The help text of every command.

They are constants and not docstrings, because `python -OO` removes docstrings.
"""

from __future__ import annotations

import re


def _flowing(text: str) -> str:
    """
    Join the lines of each paragraph, as typer breaks where the text does; but keep a list's lines.
    """
    return re.sub(r"(?<!\n)\n(?![\n ])", " ", text)


APP = _flowing("""\
Mirror a carrier's telephone-number inventory into your own SQL database.

Settings are read from SYNCSVC_* variables, credential files and a TOML file; `syncsvc config`
prints them.

Exit codes:
  0    done
  1    the run failed and published nothing; a check failed; unknown number or account
  2    wrong usage or configuration, or a schema that is not current
  3    done, but cancellations were withheld
  4    another run of the account is in progress; nothing was done
  130  interrupted; nothing was published

Documentation: README.md and docs/ of the source archive.

Example: [bold]syncsvc demo[/bold]""")

SYNC = _flowing("""\
Do one full run now.

In a new SQLite file the tables are created first; otherwise, and after an upgrade, call
`syncsvc migrate`.

Example: [bold]syncsvc sync --dry-run[/bold]""")

RUN = _flowing("""\
Sync at startup, then on SYNCSVC_SCHEDULE, until SIGTERM or SIGINT.

Health, metrics and a status page are served at SYNCSVC_HTTP_HOST and SYNCSVC_HTTP_PORT.

With --fleet, all accounts that were added with `syncsvc accounts` are synced instead, each on its
own schedule. Any number of such workers on the same PostgreSQL share the accounts.

Example: [bold]syncsvc run[/bold]""")

MIGRATE = _flowing("""\
Bring the database to the newest schema.

Example: [bold]syncsvc migrate --reporting-role grafana --without-addresses[/bold]""")

PRUNE = _flowing("""\
Delete history and runs that are older than the ages given.

A number's newest history row and the account's last runs are never deleted, and queries about
the retained period keep returning the same results.

Example: [bold]syncsvc prune --keep-history 7y --keep-runs 90d --dry-run[/bold]""")

CHECK = _flowing("""\
Check everything that a run needs, and rehearse one without leaving anything behind.

It prints one line per check; one that fails says what to do about it.

Example: [bold]syncsvc check[/bold]""")

CONFIG = _flowing("""\
Print every setting: its value, where that comes from, its default and its meaning.

Of a secret it prints only whether it is set.

Example: [bold]syncsvc config --json[/bold]""")

RUNS = _flowing("""\
List the last runs, newest first.

Example: [bold]syncsvc runs --limit 5[/bold]""")

HISTORY = _flowing("""\
Show the timeline of one number.

Example: [bold]syncsvc history +441245123456[/bold]""")

REPORT = _flowing("""\
Print a report, or list the reports.

A report's own parameters follow its name; `syncsvc report NAME --help` lists them.

Example: [bold]syncsvc report spend-by-country --at 2026-03-31 --format csv[/bold]""")

SANDBOX = _flowing("""\
Serve a simulated provider on loopback, until interrupted.

POST /sandbox/change?changes=5 changes its inventory, and GET /sandbox returns its state.
POST /sandbox/faults takes a JSON list of faults, GET lists those still to come, and DELETE clears
them.

With --receiver it also prints the webhooks that it gets, one per line: time, id, type, what it is
about, whether its signature is right, whether its id is new, and the status of the response.

Example: [bold]syncsvc sandbox --numbers 5000 --change-every 10[/bold]""")

DEMO = _flowing("""\
Sync a simulated provider into SQLite several times while it changes.

This needs no settings.

Example: [bold]syncsvc demo[/bold]""")

ACCOUNTS = _flowing("""\
The accounts of a fleet: add, change, list and remove them.

`syncsvc run --fleet` syncs all of them, each with the settings of its row. A change needs no
restart.

Example: [bold]syncsvc accounts list --state failing[/bold]""")

ACCOUNTS_ADD = _flowing("""\
Add an account, after trying its credentials with one request.

The credentials file is TOML with api_token, or with api_client_id and api_client_secret. They are
encrypted with the first key of SYNCSVC_ACCOUNTS_KEY. Without --credentials they are files in
SYNCSVC_ACCOUNTS_DIR. An account that exists gets new credentials.

Example: [bold]syncsvc accounts add berlin --set schedule=1h --credentials berlin.toml[/bold]""")

ACCOUNTS_IMPORT = _flowing("""\
Add and change accounts until they are those of a TOML file, and print what changes.

Accounts that the file lacks stay as they are, or are paused with --prune; none is deleted.

Each table \\[accounts.NAME] has all settings of its account, and labels. An account is enabled
unless its table says enabled = false. Credentials are not in the file.

Example: [bold]syncsvc accounts import accounts.toml --dry-run[/bold]""")

ACCOUNTS_EXPORT = _flowing("""\
Print all accounts as the TOML file that import reads, without their credentials.

Example: [bold]syncsvc accounts export > accounts.toml[/bold]""")

ACCOUNTS_LIST = _flowing("""\
List the accounts and their state.

The state is the first of these that applies: paused; never (no run has ended yet); failing (its
last run published nothing, or its settings or credentials have to be changed); withheld
(cancellations were withheld); late (overdue by more than an interval); ok.

Example: [bold]syncsvc accounts list --state failing --label tier=gold[/bold]""")

ACCOUNTS_SHOW = _flowing("""\
Show one account: its settings, where its credentials come from, and its state.

Example: [bold]syncsvc accounts show berlin[/bold]""")

ACCOUNTS_SET = _flowing("""\
Change settings and labels of an account; an empty value removes one.

Example: [bold]syncsvc accounts set berlin page_size=50 currency=[/bold]""")

ACCOUNTS_PAUSE = _flowing("""\
Pause an account: the fleet starts no more runs of it.

Example: [bold]syncsvc accounts pause berlin[/bold]""")

ACCOUNTS_RESUME = _flowing("""\
Resume a paused account.

Example: [bold]syncsvc accounts resume berlin[/bold]""")

ACCOUNTS_DUE = _flowing("""\
Start a run of these accounts now, on the next free worker of the fleet.

Example: [bold]syncsvc accounts due berlin paris[/bold]""")

ACCOUNTS_REMOVE = _flowing("""\
Remove an account; a run of it that is in progress is waited for.

Its numbers and their history are kept, unless --delete-data is given.

Example: [bold]syncsvc accounts remove berlin --delete-data --yes[/bold]""")

ACCOUNTS_RESEAL = _flowing("""\
Encrypt all credentials, and the secrets of webhooks, with the first key of SYNCSVC_ACCOUNTS_KEY.

Afterwards the other keys are not needed. It exits with 1 if no key decrypts some of them.

Example: [bold]syncsvc accounts reseal[/bold]""")

NOTIFY = _flowing("""\
The endpoints of webhooks: who is notified of numbers, runs and failing accounts.

Events are signed according to Standard Webhooks. `syncsvc run` sends them, with --fleet or without,
and `syncsvc sync` tries once at its end. Endpoints can also be tables \\[notify.NAME] of the TOML
file.

Example: [bold]syncsvc notify list[/bold]""")

NOTIFY_ADD = _flowing("""\
Add an endpoint, and print its secret, which is not shown again.

It gets what happens from now on; `syncsvc notify replay` sends earlier events. The secret is
encrypted with the first key of SYNCSVC_ACCOUNTS_KEY.

Types of event: number.added, number.provisioned, number.changed, number.cancelled,
number.reinstated, run.published (in place of the numbers of a first run, and of one with more than
1,000 changes), run.withheld, account.failing and account.recovered.

Example: [bold]syncsvc notify add ops --url https://example.com/hook --events 'number.*'[/bold]""")

NOTIFY_LIST = _flowing("""\
List the endpoints and the state of their deliveries.

Example: [bold]syncsvc notify list --json[/bold]""")

NOTIFY_TEST = _flowing("""\
Send a test event to an endpoint, and print the whole exchange.

Example: [bold]syncsvc notify test ops[/bold]""")

NOTIFY_PAUSE = _flowing("""\
Pause an endpoint: its events wait, and are sent when it is resumed.

Example: [bold]syncsvc notify pause ops[/bold]""")

NOTIFY_RESUME = _flowing("""\
Resume an endpoint that was paused, or disabled after days of failures; what waits is sent.

Example: [bold]syncsvc notify resume ops[/bold]""")

NOTIFY_REPLAY = _flowing("""\
Send an endpoint again all events of runs that began at --since or later.

Events keep their webhook-id, so that a receiver can drop those that it knows.

Example: [bold]syncsvc notify replay ops --since 2026-11-01[/bold]""")

NOTIFY_ROTATE = _flowing("""\
Give an endpoint a new secret beside its present one; with --finish, drop the older one.

Until then, every event is signed with both.

Example: [bold]syncsvc notify rotate ops[/bold]""")

NOTIFY_REMOVE = _flowing("""\
Remove an endpoint.

Example: [bold]syncsvc notify remove ops[/bold]""")
