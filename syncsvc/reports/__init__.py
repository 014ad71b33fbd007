"""
Named read-only questions.

`lookups` are those that commands ask for themselves; the others are reports,
which people call by name.
"""

from __future__ import annotations

from syncsvc.reports.catalogue import READERS, REPORTS, find_report
from syncsvc.reports.lookups import (
    changes_of_run,
    find_numbers,
    last_runs,
    most_changed,
    timeline,
)
from syncsvc.reports.parameters import PARAMETERS, read_parameters, signature
from syncsvc.reports.report import Asked, Column, Kind, Report, Row

__all__ = [
    "PARAMETERS",
    "READERS",
    "REPORTS",
    "Asked",
    "Column",
    "Kind",
    "Report",
    "Row",
    "changes_of_run",
    "find_numbers",
    "find_report",
    "last_runs",
    "most_changed",
    "read_parameters",
    "signature",
    "timeline",
]
