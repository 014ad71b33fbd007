"""
The column types of the tables, and the columns that several tables have.

They differ between the databases in storage only: a time is `timestamptz` on
PostgreSQL and UTC text on SQLite, money is `numeric(12,4)` on both, JSON is
`jsonb` on PostgreSQL and text on SQLite.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles

if TYPE_CHECKING:
    from enum import StrEnum

    from sqlalchemy import Dialect
    from sqlalchemy.sql.compiler import DDLCompiler

EXTRA_COMMENT = "Fields that this version does not know, as sent (JSON object); NULL if none."
CENT = Decimal("0.0001")  # the unit of numeric(12,4)
PERSONAL = {"personal": True}  # a column that may contain a street address, or a payload with one
SEALED = {"sealed": True}  # a column that no reporting role may read, such as sealed secrets


class UtcDateTime(TypeDecorator[datetime]):
    """
    An aware time, stored as UTC with microseconds.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """
        Refuse a naive time, which is ambiguous.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time without a zone can't be stored.")
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the signature is SQLAlchemy's
        """
        Return every time as aware UTC.
        """
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Money(TypeDecorator[Decimal]):
    """
    An amount with at most 8 digits before the decimal point and 4 after it.

    SQLite stores it as the nearest double, which has 15 digits, so that every amount is read back
    exactly as it was written.
    """

    impl = Numeric(12, 4)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:  # noqa: ANN401 - the signature is SQLAlchemy's
        """
        Use floats on SQLite, whose driver has no decimals.
        """
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Numeric(12, 4, asdecimal=False))
        return dialect.type_descriptor(Numeric(12, 4))

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:  # noqa: ANN401, ARG002 - the signature is SQLAlchemy's
        """
        Return every amount as a decimal with 4 places.
        """
        return None if value is None else Decimal(str(value)).quantize(CENT)


Id = BigInteger().with_variant(Integer(), "sqlite")  # only INTEGER is generated on SQLite
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """
    Constrain a column to the values of an enumeration.
    """
    words = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({words})", name=f"{column}_known")


class RowKey(PrimaryKeyConstraint):
    """
    The key of a table whose rows are numbered: the account and the number.

    On SQLite it is the number alone, because only a lone INTEGER key numbers itself there.
    """

    def __init__(self) -> None:
        super().__init__("account", "id")


@compiles(RowKey, "sqlite")
def _key_on_sqlite(key: RowKey, compiler: DDLCompiler, **_: object) -> str:
    return f"CONSTRAINT {compiler.preparer.format_constraint(key)} PRIMARY KEY (id)"


def run_keys() -> tuple[ForeignKeyConstraint, ForeignKeyConstraint]:
    """
    The foreign key to a run, by the key that runs have on each kind of database.
    """
    keys = {"postgresql": ("account", "run_id"), "sqlite": ("run_id",)}
    targets = {"account": "sync_runs.account", "run_id": "sync_runs.id"}
    one, other = (
        ForeignKeyConstraint(
            columns,
            [targets[column] for column in columns],
            ondelete="CASCADE",
            info={"only": dialect},
        ).ddl_if(dialect=dialect)
        for dialect, columns in keys.items()
    )
    return one, other


def json_object(column: str) -> tuple[CheckConstraint, CheckConstraint]:
    """
    Constrain a JSON column to objects, in the words of each kind of database.
    """
    return _json_kind(column, "object")


def json_array(column: str) -> tuple[CheckConstraint, CheckConstraint]:
    """
    Constrain a JSON column to arrays.
    """
    return _json_kind(column, "array")


def _json_kind(column: str, kind: str) -> tuple[CheckConstraint, CheckConstraint]:
    functions = {"postgresql": "jsonb_typeof", "sqlite": "json_type"}
    one, other = (
        CheckConstraint(f"{function}({column}) = '{kind}'", name=f"{column}_{kind}").ddl_if(dialect)
        for dialect, function in functions.items()
    )
    return one, other


def account_column() -> Column[str]:
    """
    The account, which comes first in every key.
    """
    return Column(
        "account",
        Text,
        nullable=False,
        comment="Name under which this account's rows are kept (SYNCSVC_ACCOUNT).",
    )


def run_column(name: str, comment: str) -> Column[int]:
    """
    The id of a run, without a foreign key: runs are deleted earlier than history.
    """
    return Column(name, BigInteger, nullable=False, comment=comment)


def valid_columns() -> tuple[Column[datetime], Column[datetime]]:
    """
    The time during which a history row was the newest.
    """
    return (
        Column(
            "valid_from",
            UtcDateTime,
            nullable=False,
            comment="Start of the run that wrote the row: from then on we knew it. UTC.",
        ),
        Column(
            "valid_to",
            UtcDateTime,
            comment="Start of the run that wrote the next row; NULL on the newest. UTC.",
        ),
    )


def changes_column() -> Column[Any]:
    """
    The description of what a history row changed.
    """
    return Column(
        "changes",
        Json,
        info=PERSONAL,
        comment='Every changed column as {"column": {"old": …, "new": …}}; NULL on a first row. '
        "Amounts are strings with 4 places, times ISO 8601 in UTC.",
    )


def address_content() -> tuple[Column[object], ...]:
    """
    The columns of an address that its history has, too.
    """
    return (
        Column("name", Text, info=PERSONAL, comment="The provider's name for the address."),
        Column(
            "use_for_proof_of_address",
            Boolean,
            comment="Whether it serves as proof of address (useForProofOfAddress).",
        ),
        Column(
            "use_for_emergency_address",
            Boolean,
            comment="Whether it serves as emergency address (useForEmergencyAddress).",
        ),
        Column("address_line1", Text, info=PERSONAL, comment="First line."),
        Column("address_line2", Text, info=PERSONAL, comment="Second line."),
        Column("address_city", Text, comment="City."),
        Column("address_region", Text, comment="Region."),
        Column("address_postal_code", Text, info=PERSONAL, comment="Postal code."),
        Column("country_name", Text, comment="Country, as the provider names it."),
        Column("country_iso", Text, comment="Country code, as the provider sends it."),
        Column("extra", Json, info=PERSONAL, comment=EXTRA_COMMENT),
    )


def number_state() -> tuple[Column[object], ...]:
    """
    The tracked columns of a number, which every row of its history has, too.
    """
    return (
        Column(
            "lifecycle",
            Text,
            nullable=False,
            comment="live, or cancelled on the evidence in the history.",
        ),
        Column("status", Text, comment="The provider's status, as sent."),
        Column("monthly_charge", Money, comment="Cost per month, in the account's currency."),
        Column("setup_charge", Money, comment="Cost once, in the account's currency."),
        Column(
            "provisioned_at",
            UtcDateTime,
            comment="When the provider says it was provisioned to the account. UTC.",
        ),
        Column(
            "cancelled_at",
            UtcDateTime,
            comment="When it was cancelled: the provider's timestamp, or for a number that went "
            "missing the start of the run that found it gone. UTC.",
        ),
        Column("number_address_id", BigInteger, comment="Its address; NULL if none."),
        Column(
            "emergency_number_address_id",
            BigInteger,
            comment="The address registered with the emergency services; NULL if none.",
        ),
    )
