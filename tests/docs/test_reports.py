from __future__ import annotations

import os
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.printed_queries import RENEW
from syncsvc.output import terminal
from syncsvc.reports import PARAMETERS, READERS, REPORTS, Asked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from syncsvc.reports import Report

REPORTS_PAGE = Path(__file__).parents[2] / "docs" / "reports.md"
MARK = "<!-- Below this line `make answers` has written it. -->\n"
NOON = datetime(2026, 5, 29, 12, tzinfo=UTC)
TOLD: dict[str, dict[str, Any]] = {
    "spend-by-country": {"at": datetime(2026, 3, 31, 23, 59, 59, 999999, tzinfo=UTC)},
    "month-end": {"months": 4},
    "month-end-by-country": {"months": 2, "country": "DE"},
    "churn-by-month": {"months": 4},
    "shared-emergency-addresses": {"at_least": 2},
    "latest-changes": {"limit": 3},
}
WRITTEN = {"at": "2026-03-31"}


def test_the_page_of_reports_is_that_of_the_code(known_inventory: Engine) -> None:
    """
    Meaning, parameters and columns of every report stand in the documentation, with its answer.
    """
    written = "".join(_described(known_inventory))
    before, mark, after = REPORTS_PAGE.read_text().partition(MARK)
    if RENEW in os.environ:
        REPORTS_PAGE.write_text(before + MARK + written)
        _, mark, after = REPORTS_PAGE.read_text().partition(MARK)

    assert mark == MARK
    assert after == written


def _described(engine: Engine) -> Iterator[str]:
    for reader, reports in READERS.items():
        yield f"\n## {reader}\n"
        for report in reports:
            yield _of(report, engine)


def _of(report: Report, engine: Engine) -> str:
    told = TOLD.get(report.name, {})
    flags = "".join(
        f" {PARAMETERS[name].flag} {WRITTEN.get(name, value)}" for name, value in told.items()
    )
    takes = [
        f"- `{PARAMETERS[name].flag} {PARAMETERS[name].metavar}`: {PARAMETERS[name].meaning}"
        + (f" Default: {default}." if default is not None else "")
        for name, default in report.takes.items()
    ]
    columns = [f"| `{each.name}` | {each.kind.value} | {each.meaning} |" for each in report.columns]
    return "\n".join(
        (
            f"\n### {report.name}\n",
            f"{report.meaning} {report.why}\n",
            *takes,
            "\n| column | kind | meaning |\n| --- | --- | --- |",
            *columns,
            f"\n```console\n$ syncsvc report {report.name}{flags}",
            f"{_answer(report, engine, told)}```\n",
        )
    )


def _answer(report: Report, engine: Engine, told: dict[str, Any]) -> str:
    asked = Asked(account="default", now=NOON, **{**report.takes, **told})
    stream = StringIO()
    with engine.connect() as connection:
        rows = report.rows(connection, asked)
        table = terminal.report_table(report.columns, rows, "GBP")
        terminal.wide_console(stream).print(table)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    return "".join(f"{line}\n" for line in lines if line)


def test_every_rule_is_named_with_its_source() -> None:
    """
    What a report says of a rule has a link to its source, and the page is no legal advice.
    """
    page = REPORTS_PAGE.read_text()

    assert "not legal advice" in page
    for source in ("ofcom.org.uk", "ecfr.gov", "eur-lex.europa.eu", "bundesnetzagentur.de"):
        assert source in page
    assert all(f"### {name}\n" in page for name in REPORTS)
