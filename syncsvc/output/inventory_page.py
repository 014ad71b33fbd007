"""
Render the inventory's state as one self-contained HTML page, which loads nothing.

Its figures come from reports. All text of the provider's is escaped, and a
Content-Security-Policy allows only the page's own style and script.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from syncsvc.database.maintenance import monthly_view
from syncsvc.database.maintenance.reporting_role import reads_addresses
from syncsvc.output import charts, templating
from syncsvc.output.charts import Words
from syncsvc.output.formats import csv_json
from syncsvc.reports import REPORTS, Arguments, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from decimal import Decimal

    from jinja2 import Environment
    from markupsafe import Markup
    from sqlalchemy import Connection

    from syncsvc.reports import Column, Report, Row

MONTHS = 24
ROWS_SHOWN = 100  # of a table; the report itself has them all
CHANGES_SHOWN = 25
COUNTRIES_SHOWN = 10
EMERGENCY, PROOF = "emergency-address-gaps", "proof-of-address-gaps"
ELSEWHERE, SHARED = "address-country-mismatch", "shared-emergency-addresses"
LABELS = {
    "valid_from": "learnt",
    "occurred_at": "happened",
    "occurred_at_source": "by whose clock",
    "number_e164": "number",
    "country_alpha2": "country",
    "country_name": "name of country",
    "range_name": "range",
    "monthly_charge": "monthly charge",
    "monthly_charge_before": "monthly before",
    "monthly_charge_after": "after",
    "monthly_difference": "difference",
    "setup_charge_before": "set-up before",
    "setup_charge_after": "after",
}
FOR_MACHINES = {"uuid", "address_id"}
LONG = {"what", "says"}
CAME = {"added": "first seen", "provisioned": "provisioned", "reinstated": "reinstated"}
VERDICTS = {
    "wrong": "Do not rely on these figures until this is resolved.",
    "look": "Review this before you rely on every figure.",
    "ok": "The last run read the whole listing and published all of it.",
}


class Section(NamedTuple):
    """
    The rows of a report that the page shows.

    Attributes:
        total: The number of all its rows.
    """

    report: Report
    arguments: Arguments
    rows: list[Row]
    total: int

    @property
    def command(self) -> str:
        """
        Return the command that prints all rows.
        """
        limit = "" if self.report.takes.get("limit") is None else f" --limit {self.total}"
        return f"syncsvc report {self.report.name}{limit} --format csv"

    @property
    def columns(self) -> list[Column]:
        """
        Return the columns that people read.
        """
        readable = self.report.readable_columns(self.arguments)
        return [column for column in readable if column.name not in FOR_MACHINES]


class Gap(NamedTuple):
    """
    Something about addresses that needs a look.

    Attributes:
        figures: How many of what there are.
    """

    title: str
    section: Section
    figures: dict[str, int]


class Figure(NamedTuple):
    """
    A chart, and the rows that it is drawn from.
    """

    words: Words
    drawing: Markup
    section: Section
    legend: tuple[str, ...] = ()


def render(connection: Connection, account: str, currency: str | None, now: datetime) -> str:
    """
    Render the page of an account.
    """
    months_as_of = monthly_view.as_of(connection)
    whose = Arguments(
        account, now, months_as_of=months_as_of, with_addresses=reads_addresses(connection)
    )
    ask = partial(_section, connection, whose)
    spend, trust = ask("spend-by-country"), ask("trust")
    months, churn = ask("month-end", months=MONTHS), ask("churn-by-month", months=MONTHS)
    return _render(
        "inventory_page.html.j2",
        account=account,
        currency=currency,
        now=now,
        this_month_begins=now.date().replace(day=1),
        months_as_of=months_as_of,
        with_addresses=whose.with_addresses,
        verdict=_verdict(trust),
        live=sum(row["numbers"] for row in spend.rows),
        spend=sum(row["monthly_charge"] for row in spend.rows),
        this_month=churn.rows[-1] if churn.rows else None,
        figures=list(_figures(months, churn, spend, currency)),
        gaps=list(_gaps(connection, ask)),
        charges=ask("charges-changed"),
        changes=ask("latest-changes", limit=CHANGES_SHOWN),
        trust=trust,
    )


def _section(connection: Connection, whose: Arguments, name: str, **told: object) -> Section:
    """
    Read a report; only its first rows if it takes a limit.
    """
    report = REPORTS[name]
    given = {**report.takes, **told}
    if "limit" in report.takes:
        given["limit"] = given["limit"] or ROWS_SHOWN
    arguments = msgspec.structs.replace(whose, **given)
    rows = list(report.rows(connection, arguments))
    cut = arguments.limit is not None and len(rows) == arguments.limit
    return Section(
        report, arguments, rows, report.count_rows(connection, arguments) if cut else len(rows)
    )


def _gaps(connection: Connection, ask: Callable[[str], Section]) -> Iterator[Gap]:
    """
    Yield what needs a look: how many numbers have no address is one figure, with others beside it.
    """
    for name, title in (
        (EMERGENCY, "Emergency address missing or not flagged"),
        (PROOF, "Proof of address missing or not flagged"),
    ):
        section = ask(name)
        counts = section.report.count_by(connection, section.arguments, "gap")
        without, unflagged = counts.get("no address", 0), counts.get("not flagged", 0)
        yield Gap(title, section, {"without": without, "not flagged": unflagged})
    section = ask(ELSEWHERE)
    numbers = section.report.count_distinct(connection, section.arguments, "uuid")
    yield Gap("Address in another country", section, {"numbers": numbers})
    section = ask(SHARED)
    yield Gap("Emergency addresses that many numbers share", section, {"addresses": section.total})


def _verdict(trust: Section) -> str:
    """
    Return the worst verdict of all checks.
    """
    found = {row["verdict"] for row in trust.rows} or {"wrong"}
    return next(verdict for verdict in VERDICTS if verdict in found)


def _figures(
    months: Section, churn: Section, spend: Section, currency: str | None
) -> Iterator[Figure]:
    """
    Yield the charts that have data.
    """
    unit = f" ({currency})" if currency else ""
    if months.rows:
        yield _over_time("live-numbers", "Live numbers at month's end, and now", months, "numbers")
        yield _over_time(
            "spend", f"Monthly charges at month's end, and now{unit}", months, "monthly_charge"
        )
        yield _churn(churn)
    if spend.rows:
        yield _by_country(spend, unit)


def _over_time(name: str, title: str, section: Section, column: str) -> Figure:
    months = [f"{row['month']:%Y-%m}" for row in section.rows]
    values = [row[column] for row in section.rows]
    kind = next(each.kind for each in section.report.columns if each.name == column)
    first, last, most = (
        csv_json.shown(value, kind) for value in (values[0], values[-1], max(values))
    )
    says = f"From {first} in {months[0]} to {last} in {months[-1]}; {most} at most."
    words = Words(name, title, says)
    return Figure(words, charts.over_time(words, months, values), section)


def _churn(section: Section) -> Figure:
    """
    Return the chart of new numbers above the line and cancelled ones below it.
    """
    months = [f"{row['month']:%Y-%m}" for row in section.rows]
    came = sum(row[name] for row in section.rows for name in CAME)
    went = sum(row["cancelled"] for row in section.rows)
    says = f"From {months[0]} until now, {came:,} came and {went:,} were cancelled."
    words = Words("churn", "Numbers that came and went", says)
    series = {label: [row[name] for row in section.rows] for name, label in CAME.items()}
    series["cancelled"] = [-row["cancelled"] for row in section.rows]
    return Figure(words, charts.up_and_down(words, months, series), section, tuple(series))


def _by_country(section: Section, unit: str) -> Figure:
    """
    Return the chart of the most expensive countries, with all others as one.
    """
    ranked = sorted(section.rows, key=lambda row: -row["monthly_charge"])
    names = [row["country_alpha2"] or row["country_name"] or "unknown" for row in ranked]
    values: list[Decimal] = [row["monthly_charge"] for row in ranked]
    if len(ranked) > COUNTRIES_SHOWN:
        rest = sum(values[COUNTRIES_SHOWN - 1 :], start=values[0] * 0)
        names = [*names[: COUNTRIES_SHOWN - 1], "others"]
        values = [*values[: COUNTRIES_SHOWN - 1], rest]
    says = f"{names[0]} costs most: {csv_json.amount(values[0])} a month."
    words = Words("countries", f"Monthly charges by country{unit}", says)
    return Figure(words, charts.ranked(words, names, values), section)


def _render(template: str, **values: object) -> str:
    """
    Render a page with its style, its script and a policy that allows nothing else.
    """
    environment = _environment()
    style, script = (templating.source(environment, name) for name in ("_style.css", "_sort.js"))
    policy = templating.content_security_policy(
        style_src=templating.inline_hash(style), script_src=templating.inline_hash(script)
    )
    return environment.get_template(template).render(
        style=style, script=script, policy=policy, verdicts=VERDICTS, **values
    )


@cache
def _environment() -> Environment:
    return templating.environment(
        {
            "shown": csv_json.shown,
            "label": _label,
            "cell_class": _cell_class,
            "sort_key": _sort_key,
        }
    )


def _label(column: Column, currency: str | None) -> str:
    """
    Return a column's label, with the currency of amounts.
    """
    name = LABELS.get(column.name, column.name.replace("_", " "))
    return f"{name} ({currency})" if currency and column.kind is Kind.AMOUNT else name


def _cell_class(column: Column) -> str:
    if column.kind in csv_json.NUMERIC:
        return "number"
    return "long" if column.name in LONG else "short"


def _sort_key(value: object) -> str:
    """
    Return what a table is sorted by, without separators.
    """
    return "" if value is None else str(value)
