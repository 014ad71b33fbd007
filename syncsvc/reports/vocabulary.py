"""
Columns that stand in several reports, under the names that the tables have for them.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from syncsvc.reports.report import Column, Kind

if TYPE_CHECKING:
    from datetime import datetime

    from syncsvc.reports.report import Asked

NUMBER = Column("number_e164", Kind.TEXT, "The number in E.164.")
UUID = Column("uuid", Kind.TEXT, "The provider's uuid of the number.")
COUNTRY = Column("country_alpha2", Kind.TEXT, "Country of the number (ISO 3166-1).")
EVENT = Column("event", Kind.TEXT, "added, provisioned, cancelled, reinstated or changed.")
LEARNT = Column("valid_from", Kind.MOMENT, "When we learnt of it: the start of that run.")

RANGE = Column("range_name", Kind.TEXT, "Range, such as number type or area.")
STATUS = Column("status", Kind.TEXT, "The provider's status, as sent.")
CHARGE = Column("monthly_charge", Kind.AMOUNT, "What it costs, or cost last, a month.")
WHAT = Column("what", Kind.TEXT, "What changed: before and after.")

ISO_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z$")  # as `changes` has them
A_DAY = timedelta(days=1)


def since(asked: Asked) -> datetime:
    """
    So many days before now.
    """
    return asked.now - timedelta(days=asked.days)


def in_days(begin: datetime | None, end: datetime | None) -> Decimal | None:
    """
    From one time to another, in days to one decimal place; None where either is not known.
    """
    if begin is None or end is None:
        return None
    return Decimal(f"{(end - begin) / A_DAY:.1f}")


def what_changed(changes: dict[str, dict[str, Any]] | None) -> str | None:
    """
    The `changes` of a history row in words: `status: Reserved → Active`; None where it has none.
    """
    if not changes:
        return None
    return "; ".join(
        f"{name}: {_said(pair['old'])} → {_said(pair['new'])}"
        for name, pair in sorted(changes.items())  # PostgreSQL keeps them in an order of its own
    )


def _said(value: object) -> str:
    return "none" if value is None else ISO_TIME.sub(r"\1 \2", str(value))
