"""
The internal tables, which let a run skip unchanged rows and unchanged pages.

They have a `MetaData` of their own: reports, reporting roles and the data dictionary leave them
out. The triggers that empty the fingerprints are created by migration 0003. The row without a part
sums up all parts, and says what the stored pages are.
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, Table, Text

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

listing_pages = Table(
    "listing_pages",
    internal_metadata,
    account_column(),
    Column("chunk", Integer, nullable=False, comment="Number of the row, from 0."),
    Column(
        "rows",
        LargeBinary,
        nullable=False,
        comment="8 bytes of fingerprint and 16 of uuid for each of the pages' rows.",
    ),
    Column(
        "address_ids",
        LargeBinary,
        nullable=False,
        comment="8 bytes for each address on the pages.",
    ),
    PrimaryKeyConstraint("account", "chunk"),
    comment="Internal: what lets a run skip pages that are as they were. May be emptied.",
)
