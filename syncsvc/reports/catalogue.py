"""
All reports, in the order in which they are listed.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from syncsvc.errors import ReportUsageError
from syncsvc.reports import accounts, address_compliance, inventory, trust_report
from syncsvc.reports.changes import differences, events, reserved_and_delivered, withheld
from syncsvc.reports.spending import charges_changed, invoice, spend

if TYPE_CHECKING:
    from syncsvc.reports.definition.report import Report

REPORTS_BY_AUDIENCE: dict[str, tuple[Report, ...]] = {
    "Trust": (*trust_report.REPORTS, *withheld.REPORTS),
    "Inventory": (*inventory.REPORTS, *differences.REPORTS),
    "Finance": (*spend.REPORTS, *charges_changed.REPORTS, *invoice.REPORTS),
    "Compliance": address_compliance.REPORTS,
    "Fleet": accounts.REPORTS,
    "Operations": (*events.REPORTS, *reserved_and_delivered.REPORTS),
}
REPORTS = {report.name: report for reports in REPORTS_BY_AUDIENCE.values() for report in reports}


def find_report(name: str) -> Report:
    """
    Return the report of this name.

    Raises:
        ReportUsageError: There is none; the message suggests the nearest one.
    """
    if name in REPORTS:
        return REPORTS[name]
    hint = f" Did you mean {near}?" if (near := _nearest(name)) else ""
    raise ReportUsageError(f"Unknown report {name!r}.{hint} `syncsvc report` lists all.")


def _nearest(name: str) -> str | None:
    """
    Return the report whose name, or whose name's first word, is most similar to this one.
    """
    words = {report.split("-")[0]: report for report in reversed(REPORTS)}
    near = get_close_matches(name.lower().replace("_", "-"), {**words, **REPORTS}, n=1)
    return words.get(near[0], near[0]) if near else None
