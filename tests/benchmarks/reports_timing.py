"""
Time every report over a large inventory, and write explain-reports.md: `make bench-views`.

A report is timed as `syncsvc report` has it: asked, all its rows fetched and finished, but not
written. Its plan is that of the statements which were heard to be asked then.
"""

from __future__ import annotations

import os
import statistics
import time
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import psycopg
from sqlalchemy import event

from syncsvc import clock
from syncsvc.database.maintenance import monthly_view
from syncsvc.database.number_lookup import find_numbers, timeline
from syncsvc.output import inventory_page
from syncsvc.reports import REPORTS, read_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

PAGE = Path(__file__).parents[2] / "docs" / "measurements" / "explain-reports.md"
ACCOUNT = "default"
NUMBER = "+440000012345"
LONG_AGO = 200  # days
TIMES = 5
SLOW = 5000.0  # ms; what takes longer is asked once more only
WIDEST = 160  # characters of a line of a plan
EXPLAIN = "EXPLAIN (ANALYZE, TIMING OFF, BUFFERS OFF, SUMMARY OFF) "
CURSOR = "DECLARE rows CURSOR FOR "  # as an answer that is fetched bit by bit is asked for
OF_ONE_DAY = (
    "charges-changed",
    "emergency-addresses-changed",
    "cancelled-numbers",
    "came-back",
    "days-to-provision",
)
HEADER = "| question | rows | minimum, ms | median, ms |\n| --- | --- | --- | --- |\n"
START = """\
# Timings and query plans of the reports

*Written by `make bench-views`, over the same inventory as the [view timings](explain-views.md).*

{size:,} numbers with five times as many history rows, on {cores} cores with a load average of
{load:.1f} at the start. Each question was asked several times: the minimum is what the database
needs, the median is what it took. A report's time includes fetching all its rows; with very many
rows, `--limit` saves much of it. [The view timings](explain-views.md) explain the month-end
reports. The target for every other report is less than 2 s, and less than 50 ms for one number or
one day.

{table}
With the months materialised (`syncsvc migrate --keep-months`):

{kept}
## Plans

A report that can have very many rows is fetched through a cursor, for which PostgreSQL uses a
single process. Long lines are cut.
"""


class Question(NamedTuple):
    """
    What a person types after `syncsvc`, and what that has to answer.

    Attributes:
        ask: Asks for it, and says how many rows there are.
        piecemeal: The rows are fetched bit by bit.
    """

    words: str
    ask: Callable[[Connection], int]
    piecemeal: bool = False


def ask(engine: Engine, size: int, *, write: bool) -> str:
    """
    Time every question, and the ones about months again with these kept; the tables of that.

    Args:
        size: How many numbers there are.
        write: Whether to write the page, too.
    """
    load = os.getloadavg()[0]
    with engine.connect() as connection:
        table, plans = "", []
        for each in questions():
            with _heard(connection) as statements:
                table += line(connection, each)
            plans.append(f"### {each.words}\n\n{_plan(connection, each, statements)}")
        with connection.begin():
            monthly_view.create(connection)
        kept = "".join(line(connection, each) for each in questions_of_kept())
    if write:
        told = {"table": HEADER + table, "kept": HEADER + kept}
        start = START.format(size=size, cores=os.cpu_count(), load=load, **told)
        PAGE.write_text("\n".join([start, *plans]))
    return HEADER + table + kept


def questions() -> Iterator[Question]:
    """
    Every report as it is, those of one day or as of a day, and that of one number.
    """
    then = f"{clock.now() - timedelta(days=LONG_AGO):%Y-%m-%d}"
    needed = {"changes": ("--from", then), "numbers-at-address": ("--address", "77")}
    for name, report in REPORTS.items():
        words = needed.get(name, ())
        yield _of_report(name, *words)
        if "at" in report.takes:
            yield _of_report(name, *words, "--at", then)
        if name in OF_ONE_DAY:
            yield _of_report(name, "--days", "1")
    yield Question(f"history {NUMBER}", _history)


def questions_of_kept() -> Iterator[Question]:
    """
    Those that read the months, the page of all, and the refresh.
    """
    yield from (_of_report(name) for name, report in REPORTS.items() if report.by_month_end)
    yield Question("report --html FILE", _page)
    yield Question("refresh after a run", _refresh)


def _of_report(name: str, *words: str) -> Question:
    piecemeal = "limit" in REPORTS[name].takes or REPORTS[name].regroups
    return Question(" ".join(["report", name, *words]), partial(_rows, name, words), piecemeal)


def _rows(name: str, words: tuple[str, ...], connection: Connection) -> int:
    report = REPORTS[name]
    arguments = read_arguments(report, words, ACCOUNT, clock.now())
    if report.by_month_end:
        arguments = msgspec.structs.replace(arguments, months_as_of=monthly_view.as_of(connection))
    return sum(1 for _ in report.rows(connection, arguments))


def _history(connection: Connection) -> int:
    return sum(
        len(timeline(connection, ACCOUNT, row["uuid"]))
        for row in find_numbers(connection, ACCOUNT, NUMBER)
    )


def _page(connection: Connection) -> int:
    return len(inventory_page.render(connection, ACCOUNT, None, clock.now())) and 1


def _refresh(connection: Connection) -> int:
    connection.exec_driver_sql(monthly_view.REFRESH)
    return 0


def line(connection: Connection, question: Question) -> str:
    """
    How many rows an answer has, and how many milliseconds it takes, as a line of a table.
    """
    rows = 0
    took: list[float] = []
    while len(took) < TIMES and not (len(took) > 1 and took[0] > SLOW):
        start = time.perf_counter()
        with connection.begin():
            rows = question.ask(connection)
        took.append((time.perf_counter() - start) * 1000)
    return f"| {question.words} | {rows} | {min(took):.1f} | {statistics.median(took):.1f} |\n"


def _plan(connection: Connection, question: Question, statements: dict[str, Any]) -> str:
    """
    What PostgreSQL does for a question, without the times, which differ from one to the next.
    """
    driver: Any = connection.connection.driver_connection
    explain = EXPLAIN + (CURSOR if question.piecemeal else "")
    lines: list[str] = []
    for statement, values in statements.items():
        literal = psycopg.ClientCursor(driver).mogrify(statement, values)
        lines += [row[0] for row in driver.execute(explain + literal)] + [""]
    driver.rollback()
    told = "\n".join(_cut(each) for each in lines).strip()
    return f"```text\n{told}\n```\n"


@contextmanager
def _heard(connection: Connection) -> Iterator[dict[str, Any]]:
    """
    What a connection is asked meanwhile, but for whether months are kept; with the values.
    """
    heard: dict[str, Any] = {}

    def hear(*of: Any) -> None:
        if "to_regclass" not in of[2]:
            heard[of[2]] = of[3]

    event.listen(connection, "before_cursor_execute", hear)
    yield heard
    event.remove(connection, "before_cursor_execute", hear)


def _cut(line: str) -> str:
    return line if len(line) <= WIDEST else f"{line[:WIDEST]} …"
