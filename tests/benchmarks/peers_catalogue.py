"""
The peers: what is started, how it is set, and how its tables are counted.

dlt is set as its own documentation advises: pages at a time instead of rows,
larger buffers, files that rotate so that two processes normalise and two
threads load, files without compression, CSV or Parquet instead of INSERT
statements, no look for duplicates where there are none. What it is fed with is
either what the provider sends, or Arrow tables made by hand, which it passes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

OPEN = " WHERE _dlt_valid_to IS NULL"
WIDE_ADDRESSES = (
    "SELECT count(DISTINCT details__number_address__id)"
    " + count(DISTINCT details__emergency_number_address__id) FROM peer.numbers"
)

QUIET = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "LOAD__DELETE_COMPLETED_JOBS": "true",
}
TUNED = {
    "SOURCES__DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
    "SOURCES__DATA_WRITER__FILE_MAX_ITEMS": "20000",
    "NORMALIZE__WORKERS": "2",
    "NORMALIZE__DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "50000",
    "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
    "LOAD__WORKERS": "2",
}
ARROW = {
    "EXTRACT__NEXT_ITEM_MODE": "fifo",  # the addresses are known when all numbers were read
    "SOURCES__DATA_WRITER__BUFFER_MAX_ITEMS": "50000",
}


REFERENCE = "ALTER TABLE peer.numbers ADD FOREIGN KEY"
KEYS = (  # those of syncsvc's tables, but for the account
    "ALTER TABLE peer.addresses ADD PRIMARY KEY (id)",
    "ALTER TABLE peer.numbers ADD PRIMARY KEY (uuid)",
    f"{REFERENCE} (number_address_id) REFERENCES peer.addresses",
    f"{REFERENCE} (emergency_number_address_id) REFERENCES peer.addresses",
    "CREATE INDEX ON peer.numbers (number_e164)",
    "CREATE INDEX ON peer.numbers (number_address_id)",
    "CREATE INDEX ON peer.numbers (emergency_number_address_id)",
)
KEYS_OF_HISTORY = (
    "CREATE UNIQUE INDEX ON peer.numbers (uuid) WHERE _dlt_valid_to IS NULL",
    "CREATE INDEX ON peer.numbers (uuid, _dlt_valid_from)",
)


@dataclass(frozen=True)
class Peer:
    """
    A peer: its script and arguments, and where its rows are and those of them in force.

    Its keys are the statements that give its tables the keys and indexes that syncsvc's have.
    """

    script: str
    arguments: tuple[str, ...]
    table: str
    numbers: str
    addresses: str
    settings: dict[str, str] = field(default_factory=dict)
    own_environment: bool = True
    slow: bool = False  # measured in the first round only
    keys: tuple[str, ...] = ()


def _dlt(source: str, strategy: str, file_format: str, *, slow: bool = False) -> Peer:
    force = OPEN if strategy == "scd2" else ""
    narrow = source == "arrow"
    return Peer(
        script="peers_dlt.py",
        arguments=(source, strategy, file_format),
        table="peer.numbers",
        numbers=f"peer.numbers{force}",
        addresses=f"SELECT count(*) FROM peer.addresses{force}" if narrow else WIDE_ADDRESSES,
        settings=QUIET | {"arrow": ARROW, "chunks": TUNED, "pages": {}}[source],
        slow=slow,
        keys=(*KEYS, *(KEYS_OF_HISTORY if force else ())) if narrow else (),
    )


PEERS = {
    "dlt_scd2_defaults": _dlt("pages", "scd2", "insert_values", slow=True),
    "dlt_scd2_tuned": _dlt("chunks", "scd2", "csv"),
    "dlt_merge_tuned": _dlt("chunks", "delete-insert", "csv"),
    "dlt_scd2_arrow_csv": _dlt("arrow", "scd2", "csv"),
    "dlt_scd2_arrow": _dlt("arrow", "scd2", "parquet"),
    "dlt_merge_arrow": _dlt("arrow", "delete-insert", "parquet"),
    "dlt_upsert_arrow": _dlt("arrow", "upsert", "parquet"),
    "orm": Peer(
        script="peers_orm.py",
        arguments=(),
        table="orm_numbers",
        numbers="orm_numbers",
        addresses="SELECT count(*) FROM orm_addresses",
        own_environment=False,
        slow=True,
    ),
}
