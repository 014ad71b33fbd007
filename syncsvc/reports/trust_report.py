"""
Report whether the tables can be trusted: a few checks, each with a verdict.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from syncsvc.reports.definition.report import Column, Kind, Report
from syncsvc.schema.tables import number_history, numbers, sync_runs
from syncsvc.schema.views import sync_status
from syncsvc.vocabulary import PUBLISHED, RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Select

    from syncsvc.reports.definition.report import Arguments, Row

OK, LOOK, WRONG = "ok", "look", "wrong"
LAST_RUN_VERDICTS = {
    RunState.SUCCEEDED: (OK, "It published everything that it found."),
    RunState.WITHHELD: (LOOK, "It published, except for cancellations that need a check."),
    RunState.RUNNING: (LOOK, "It is still running, or its process died."),
    RunState.FAILED: (WRONG, "It published nothing; `syncsvc runs` shows why."),
    RunState.CRASHED: (WRONG, "Its process died before it published anything."),
}


def _account_state(arguments: Arguments) -> Select[Any]:
    """
    The account's state, and the counts of its last run that published.
    """
    published = (
        select(
            sync_runs.c.account,
            sync_runs.c.listed,
            sync_runs.c.num_results,
            sync_runs.c.withheld.label("withheld_by_it"),
            sync_runs.c.rejected.label("rejected_by_it"),
        )
        .where(sync_runs.c.account == arguments.account, sync_runs.c.state.in_(PUBLISHED))
        .order_by(sync_runs.c.started_at.desc())
        .limit(1)
        .subquery()
    )
    mine = numbers.c.account == arguments.account
    known = select(func.count()).select_from(numbers).where(mine).scalar_subquery()
    open_rows = (
        select(func.count())
        .select_from(number_history)
        .where(number_history.c.account == arguments.account, number_history.c.valid_to.is_(None))
        .scalar_subquery()
    )
    return (
        select(
            sync_status,
            published.c.listed,
            published.c.num_results,
            published.c.withheld_by_it,
            published.c.rejected_by_it,
            known.label("known"),
            open_rows.label("open_rows"),
        )
        .select_from(sync_status.outerjoin(published, published.c.account == sync_status.c.account))
        .where(sync_status.c.account == arguments.account)
    )


def _checks(rows: Iterable[Row], arguments: Arguments) -> Iterator[Row]:
    for row in rows:
        yield _last_success(row, arguments)
        verdict, explanation = LAST_RUN_VERDICTS[row["last_run_state"]]
        yield _check(
            "last run", f"{row['last_run_id']}: {row['last_run_state']}", verdict, explanation
        )
        if row["listed"] is not None:
            yield from _published_run_checks(row)
        agree = row["known"] == row["open_rows"]
        yield _check(
            "history",
            f"{row['open_rows']} open rows for {row['known']} numbers",
            OK if agree else WRONG,
            "Each number has one." if agree else "The tables were edited by hand.",
        )


def _last_success(row: Row, arguments: Arguments) -> Row:
    last = row["last_success_at"]
    if last is None:
        return _check("last success", None, WRONG, _no_success(row))
    fresh = arguments.now - last <= timedelta(hours=arguments.hours)
    explanation = f"That is {'within' if fresh else 'longer ago than'} {arguments.hours} hours."
    return _check(
        "last success", f"{last:%Y-%m-%d %H:%M:%S} UTC", OK if fresh else WRONG, explanation
    )


def _no_success(row: Row) -> str:
    if row["listed"] is None:
        return "No run has ever published anything."
    return "The runs that published are dated in the future; a clock was ahead."


def _published_run_checks(row: Row) -> Iterator[Row]:
    """
    Check the counts of the last run that published.
    """
    listed, size = row["listed"], row["num_results"]
    whole = listed + row["rejected_by_it"] == size if None not in (listed, size) else False
    yield _check(
        "listing",
        f"{listed} read, {size} announced",
        OK if whole else LOOK,
        "It was complete." if whole else "It was incomplete, so absent numbers were not cancelled.",
    )
    for name, count, explanation in (
        (
            "withheld",
            row["withheld_by_it"],
            "Cancellations not accepted; see `syncsvc report withheld`.",
        ),
        ("rejected", row["rejected_by_it"], "Rows that could not be read; see sync_rejects."),
    ):
        yield _check(name, str(count), LOOK if count else OK, explanation if count else "None.")


def _check(name: str, value: str | None, verdict: str, explanation: str) -> Row:
    return {"check": name, "verdict": verdict, "value": value, "says": explanation}


REPORTS = (
    Report(
        name="trust",
        meaning="Whether the tables can be trusted: the last success, the listing compared with "
        "its announced size, withheld cancellations, and rows that could not be read.",
        why="Every other report is only as good as the last run. Check this one before a figure "
        "goes into a contract.",
        takes={"hours": 24},
        columns=(
            Column("check", Kind.TEXT, "What was checked."),
            Column("verdict", Kind.TEXT, "ok, look (check by hand), or wrong."),
            Column("value", Kind.TEXT, "What was found."),
            Column("says", Kind.TEXT, "What that means."),
        ),
        query=_account_state,
        finish=_checks,
    ),
)
