"""
The worker's status page: the state of every account, as HTML.
"""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from markupsafe import Markup

from syncsvc import clock
from syncsvc.database import account_and_run_queries, transactions
from syncsvc.errors import SyncError
from syncsvc.notify import endpoint_standing
from syncsvc.output import templating
from syncsvc.output.formats import terminal
from syncsvc.vocabulary import RunState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from jinja2 import Environment
    from sqlalchemy import Engine

    from syncsvc.database.account_and_run_queries import AccountStatus

RUNS_SHOWN = 10
CHANGES_SHOWN = 20
BADGES = {
    RunState.RUNNING: "",
    RunState.SUCCEEDED: "ok",
    RunState.WITHHELD: "look",
    RunState.FAILED: "wrong",
    RunState.CRASHED: "wrong",
}
LIMIT_WITHOUT_SCHEDULE = timedelta(hours=1)
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """
    The state of this worker.

    Attributes:
        last_result: A sentence about the last run that was due.
        is_failing: That run published nothing.
        interval: The longest time between two scheduled runs.
    """

    account: str
    role: str
    last_result: str
    is_failing: bool
    interval: timedelta
    next_run: datetime | None
    is_progressing: bool


class StatusPage:
    """
    The page, rendered again by each call.

    Args:
        engine: Returns the database to read; rotated credentials may change it.
        worker_state: Returns the state of this worker.
    """

    def __init__(
        self, engine: Callable[[], Engine], worker_state: Callable[[], WorkerState]
    ) -> None:
        self._engine = engine
        self._worker_state = worker_state
        self._template = page_environment().get_template("status_page.html.j2")

    def __call__(self) -> str:
        """
        Render the page; without the database it shows the error.
        """
        found: dict[str, Any] = {"accounts": [], "changes": [], "endpoints": [], "problem": None}
        now, worker = clock.now(), self._worker_state()
        try:
            with transactions.short_read(self._engine()) as connection:
                for account in _own_first(
                    account_and_run_queries.accounts(connection), worker.account
                ):
                    standing = account_and_run_queries.account_status(connection, account)
                    verdict = health(standing, now, _limit(account, worker))
                    last_runs = account_and_run_queries.last_runs(connection, account, RUNS_SHOWN)
                    found["accounts"].append((standing, verdict, last_runs))
                found["changes"] = account_and_run_queries.latest_changes(connection, CHANGES_SHOWN)
                found["endpoints"] = endpoint_standing.every(connection)
        except SyncError as exc:
            found["problem"] = str(exc)
        return self._template.render(
            **found,
            now=now,
            worker=worker,
        )


def page_environment() -> Environment:
    """
    Return the templates of the status pages, with the filters that they use.
    """
    return templating.environment(
        {
            "when": _when,
            "count": _count,
            "age": age,
            "took": _took,
            "what": _what,
            "quoted": shlex.quote,
            "story": story,
            "badge": _badge,
        }
    )


def _own_first(accounts: list[str], own: str) -> list[str]:
    return sorted(accounts, key=lambda account: account != own)


def _limit(account: str, worker: WorkerState) -> timedelta:
    """
    Return the age of a last success at which the alert SyncsvcNoSuccess fires, too.
    """
    return 2 * worker.interval if account == worker.account else LIMIT_WITHOUT_SCHEDULE


def health(standing: AccountStatus, now: datetime, limit: timedelta) -> tuple[str, str]:
    """
    Return an account's health: a class of the style sheet, and a word.

    Args:
        limit: The age of the last success at which the tables are out of date.
    """
    if standing.trouble:
        return "wrong", "failing"
    if not standing.has_published:
        return "look", "first run"
    if standing.last_success is None or now - standing.last_success > limit:
        return "wrong", "out of date"
    if standing.withheld or standing.rejected:
        return "look", "needs a look"
    return "ok", "up to date"


def story(standing: AccountStatus, now: datetime) -> str:
    """
    Describe the last success: when the tables agreed with the provider, and but for what.
    """
    if not standing.has_published:
        return "No run has published yet."
    if standing.last_success is None:
        return "The runs that published are dated in the future: a clock was ahead."
    ago = age(now - standing.last_success)
    but = []
    if standing.withheld:
        but.append(f"cancellations of {_counted(standing.withheld, 'live number')} were withheld")
    if standing.rejected:
        but.append(f"{_counted(standing.rejected, 'row')} could not be read")
    return (
        f"At {_when(standing.last_success)} UTC, {ago} ago, the tables agreed with the provider"
        + (f", except that {' and '.join(but)}." if but else ".")
    )


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def age(length: timedelta) -> str:
    """
    Format a length of time in its two largest units.
    """
    left = max(int(length.total_seconds()), 0)
    parts: list[str] = []
    for size, unit in UNITS:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2]) or "0 s"


def _badge(state: str) -> Markup:
    return Markup('<span class="badge {}">{}</span>').format(BADGES[RunState(state)], state)


def _took(run: dict[str, Any]) -> str:
    return f"{(run['finished_at'] - run['started_at']).total_seconds():,.1f} s"


def _what(row: dict[str, Any]) -> list[str]:
    return terminal.plain_changes(row).splitlines()


def _when(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "-"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
