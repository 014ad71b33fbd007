"""
Named read-only questions, one module per subject.
"""

from __future__ import annotations

from syncsvc.reports.catalogue import REPORTS, REPORTS_BY_AUDIENCE, find_report
from syncsvc.reports.definition.parameters import PARAMETERS, read_arguments, signature
from syncsvc.reports.definition.report import Arguments, Column, Kind, Report, Row

__all__ = [
    "PARAMETERS",
    "REPORTS",
    "REPORTS_BY_AUDIENCE",
    "Arguments",
    "Column",
    "Kind",
    "Report",
    "Row",
    "find_report",
    "read_arguments",
    "signature",
]
