"""
The internal table of listing fingerprints, which let a run skip unchanged rows.

It has a `MetaData` of its own: reports, reporting roles and the data dictionary leave it out. The
triggers that empty it are created by migration 0003.
"""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, MetaData, PrimaryKeyConstraint, Table, Text

from syncsvc.schema.columns import account_column, metadata

internal_metadata = MetaData(naming_convention=metadata.naming_convention)

listing_fingerprints = Table(
    "listing_fingerprints",
    internal_metadata,
    account_column(),
    Column("part", Text, nullable=False, comment="First two characters of the numbers' uuids."),
    Column(
        "fingerprints",
        LargeBinary,
        nullable=False,
        comment="8 bytes for each listed row that numbers agrees with, sorted.",
    ),
    Column(
        "live_rows",
        Text,
        comment="Number, runs and versions of the live rows that they were stored for.",
    ),
    PrimaryKeyConstraint("account", "part"),
    comment="Internal: what lets a run pass over rows that are as they were. May be emptied.",
)
