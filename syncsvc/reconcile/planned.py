"""
The temporary tables into which the plan is put, and what the evidence gives it.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Table, Text

from syncsvc.reconcile.temp_tables import (
    ADDRESS_FIELDS,
    NUMBER_FIELDS,
    JsonText,
    as_staged,
    temporary,
)
from syncsvc.schema.columns import UtcDateTime
from syncsvc.schema.tables import addresses, numbers

planned_numbers = Table(
    "planned_numbers",
    temporary,
    Column("known", Boolean, nullable=False),
    Column("event", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("stamp", UtcDateTime),  # the provider's time of the event, where it gives one
    *(as_staged(numbers.c[name]) for name in NUMBER_FIELDS),
    prefixes=["TEMPORARY"],
)

planned_addresses = Table(
    "planned_addresses",
    temporary,
    Column("known", Boolean, nullable=False),
    *(as_staged(addresses.c[name]) for name in ADDRESS_FIELDS),
    prefixes=["TEMPORARY"],
)

planned_changes = Table(
    "planned_changes",
    temporary,
    Column("uuid", Text, nullable=False),
    Column("changes", JsonText, nullable=False),
    prefixes=["TEMPORARY"],
)

planned_address_changes = Table(
    "planned_address_changes",
    temporary,
    Column("id", addresses.c.id.type, nullable=False),
    Column("changes", JsonText, nullable=False),
    prefixes=["TEMPORARY"],
)

credible_cancellations = Table(
    "credible_cancellations",
    temporary,
    Column("uuid", Text, nullable=False),
    prefixes=["TEMPORARY"],
)

credible_absences = Table(
    "credible_absences",
    temporary,
    Column("uuid", Text, nullable=False),
    prefixes=["TEMPORARY"],
)

PLANNED = (planned_numbers, planned_addresses, planned_changes, planned_address_changes)
CREDIBLE = (credible_cancellations, credible_absences)
