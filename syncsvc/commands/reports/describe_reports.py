"""
List the reports, find the one that a command line names, and describe it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncsvc.errors import ReportUsageError
from syncsvc.output.formats.csv_json import Format
from syncsvc.output.write_rows import write_rows
from syncsvc.reports import (
    PARAMETERS,
    REPORTS_BY_AUDIENCE,
    Column,
    Kind,
    find_report,
    signature,
)
from syncsvc.reports.definition.report import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from syncsvc.reports import Report

REPORT_LIST = (
    Column("reader", Kind.TEXT, "The audience."),
    Column("name", Kind.TEXT, "The report."),
    Column("meaning", Kind.TEXT, "What a row is."),
    Column("takes", Kind.TEXT, "Its parameters, with their defaults."),
)
OF_ALL = (
    "With --account all: the rows of each account, one account after the other, with the columns",
    "account and, if there are amounts, currency first. --limit counts for each account.",
)


def list_reports(output_format: Format, output: Path) -> None:
    """
    Print the reports there are.
    """
    rows = [
        {"reader": reader, "name": each.name, "meaning": each.meaning, "takes": signature(each)}
        for reader, reports in REPORTS_BY_AUDIENCE.items()
        for each in reports
    ]
    columns = REPORT_LIST if output_format is not Format.TABLE else REPORT_LIST[1:3]
    write_rows(columns, rows, output_format, output, name="reports")


def describe(words: Sequence[str]) -> str:
    """
    Describe a report, its parameters and its columns, for `syncsvc report NAME --help`.
    """
    report, _ = named_report(words)
    takes = [
        (f"{PARAMETERS[name].flag} {PARAMETERS[name].metavar}", PARAMETERS[name].meaning, default)
        for name, default in report.takes.items()
    ]
    needed = "".join(f" {flag}" for flag, _, default in takes if default is REQUIRED)
    lines = [f"syncsvc report {report.name}", "", report.meaning, report.why, "", "Takes:"]
    lines += [
        f"  {flag:<18} {meaning}{default_sentence(default)}" for flag, meaning, default in takes
    ]
    lines += ["", "Columns:"]
    lines += [f"  {each.name:<22} {each.meaning}" for each in report.columns]
    if not report.every_account:
        lines += ["", *OF_ALL]
    file = f"--format csv --output {report.name}.csv"
    lines += ["", f"Example: syncsvc report {report.name}{needed} {file}"]
    return "\n".join(lines)


def default_sentence(default: object) -> str:
    """
    Say what a parameter is by default, or that it is required; nothing if it may be missing.
    """
    if default is None:
        return ""
    return " Required." if default is REQUIRED else f" Default: {default}."


def named_report(words: Sequence[str]) -> tuple[Report, list[str]]:
    """
    Find the report that a command line names, and the words that are its parameters.

    Every parameter has a value, so that the name may also follow them.

    Raises:
        ReportUsageError: There is no such report, or no name.
    """
    rest = list(words)
    place = 0
    while place < len(rest) and rest[place].startswith("-"):
        place += 1 if "=" in rest[place] else 2
    if place >= len(rest):
        raise ReportUsageError(
            f"{rest[0]} belongs to a report: name the report. `syncsvc report` lists all."
        )
    return find_report(rest.pop(place)), rest
