"""
Whether to believe the tables: a few checks, each with a verdict.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from syncsvc.reports.report import Column, Kind, Report
from syncsvc.schema.tables import number_history, numbers, sync_runs
from syncsvc.schema.views import sync_status
from syncsvc.vocabulary import RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Select

    from syncsvc.reports.report import Asked, Row

PUBLISHED = (RunState.SUCCEEDED, RunState.WITHHELD)
OK, LOOK, WRONG = "ok", "look", "wrong"
OF_LAST_RUN = {
    RunState.SUCCEEDED: (OK, "It published all that it found."),
    RunState.WITHHELD: (LOOK, "It published, but for cancellations that need a look."),
    RunState.RUNNING: (LOOK, "It is under way, or its process died."),
    RunState.FAILED: (WRONG, "It published nothing; `syncsvc runs` says why."),
    RunState.CRASHED: (WRONG, "Its process died; nothing was published."),
}


def _standing(asked: Asked) -> Select[Any]:
    """
    How the account stands, and what its last run that published counted.
    """
    published = (
        select(
            sync_runs.c.account,
            sync_runs.c.listed,
            sync_runs.c.num_results,
            sync_runs.c.withheld.label("withheld_by_it"),
            sync_runs.c.rejected.label("rejected_by_it"),
        )
        .where(sync_runs.c.account == asked.account, sync_runs.c.state.in_(PUBLISHED))
        .order_by(sync_runs.c.id.desc())
        .limit(1)
        .subquery()
    )
    mine = numbers.c.account == asked.account
    known = select(func.count()).select_from(numbers).where(mine).scalar_subquery()
    open_rows = (
        select(func.count())
        .select_from(number_history)
        .where(number_history.c.account == asked.account, number_history.c.valid_to.is_(None))
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
        .where(sync_status.c.account == asked.account)
    )


def _checks(rows: Iterable[Row], asked: Asked) -> Iterator[Row]:
    for row in rows:
        yield _last_success(row, asked)
        verdict, says = OF_LAST_RUN[row["last_run_state"]]
        yield _check("last run", f"{row['last_run_id']}: {row['last_run_state']}", verdict, says)
        if row["last_success_at"] is not None:
            yield from _of_published(row)
        agree = row["known"] == row["open_rows"]
        yield _check(
            "history",
            f"{row['open_rows']} open rows for {row['known']} numbers",
            OK if agree else WRONG,
            "Each number has one." if agree else "Somebody has written to the tables by hand.",
        )


def _last_success(row: Row, asked: Asked) -> Row:
    last = row["last_success_at"]
    if last is None:
        return _check("last success", None, WRONG, "No run has ever published.")
    fresh = asked.now - last <= timedelta(hours=asked.hours)
    says = f"That is {'within' if fresh else 'longer ago than'} {asked.hours} hours."
    return _check("last success", f"{last:%Y-%m-%d %H:%M:%S} UTC", OK if fresh else WRONG, says)


def _of_published(row: Row) -> Iterator[Row]:
    """
    What the last run that published says of itself.
    """
    listed, size = row["listed"], row["num_results"]
    whole = listed + row["rejected_by_it"] == size if None not in (listed, size) else False
    yield _check(
        "listing",
        f"{listed} read, {size} announced",
        OK if whole else LOOK,
        "It was read whole." if whole else "It did not add up: nothing was taken from absence.",
    )
    for name, of, says in (
        (
            "withheld",
            row["withheld_by_it"],
            "Cancellations not accepted: `syncsvc sync --dry-run`.",
        ),
        ("rejected", row["rejected_by_it"], "Rows that could not be read: see sync_rejects."),
    ):
        yield _check(name, str(of), LOOK if of else OK, says if of else "None.")


def _check(name: str, value: str | None, verdict: str, says: str) -> Row:
    return {"check": name, "verdict": verdict, "value": value, "says": says}


REPORTS = (
    Report(
        name="trust",
        meaning="Can I trust these tables? The last success, the listing against its announced "
        "size, what was withheld and what could not be read.",
        why="Every other report is as good as the last run. Look here before a figure goes into a "
        "contract.",
        takes={"hours": 24},
        columns=(
            Column("check", Kind.TEXT, "What was looked at."),
            Column("verdict", Kind.TEXT, "ok, look (a person should), or wrong."),
            Column("value", Kind.TEXT, "What was found."),
            Column("says", Kind.TEXT, "What that means."),
        ),
        query=_standing,
        finish=_checks,
    ),
)
