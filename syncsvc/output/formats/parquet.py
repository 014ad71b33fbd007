"""
Rows as a Parquet file, each column with its own type: `pip install 'syncsvc[parquet]'`.

Times are timestamps in UTC with microseconds, amounts decimals with 4 places, months dates.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from syncsvc.errors import ConfigurationError
from syncsvc.reports import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from syncsvc.reports import Column, Row

GROUP_SIZE = 50_000  # rows that are in memory, and in a row group


def write(
    columns: Sequence[Column], rows: Iterable[Row], stream: BinaryIO, *, currency: str | None
) -> None:
    """
    Write a Parquet file with these rows, which may be very many.

    Args:
        columns: The columns, in order.
        rows: The rows, with a value for each column.
        stream: Where to, seekable or not.
        currency: The code of the amounts' currency, for their columns' metadata.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    arrow = require_pyarrow()
    from pyarrow.parquet import ParquetWriter  # noqa: PLC0415 - an optional dependency

    schema = arrow.schema([_field(arrow, column, currency) for column in columns])
    iterator = iter(rows)
    with ParquetWriter(stream, schema) as writer:
        while group := list(islice(iterator, GROUP_SIZE)):
            arrays = [
                arrow.array([row[field.name] for row in group], type=field.type) for field in schema
            ]
            writer.write_batch(arrow.record_batch(arrays, schema=schema))


def require_pyarrow() -> Any:  # noqa: ANN401 - the module, if there is one
    """
    Return pyarrow.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional dependency
    except ImportError:
        raise ConfigurationError(
            "--format parquet needs pyarrow, which is not installed. "
            "Install it: pip install 'syncsvc[parquet]'."
        ) from None
    return pa


def _field(arrow: Any, column: Column, currency: str | None) -> Any:  # noqa: ANN401 - pyarrow has no types
    types = {
        Kind.TEXT: arrow.string(),
        Kind.NUMBER: arrow.int64(),
        Kind.ID: arrow.int64(),
        Kind.AMOUNT: arrow.decimal128(column.digits, 4),
        Kind.DAYS: arrow.decimal128(column.digits, 1),
        Kind.PERCENT: arrow.decimal128(column.digits, 1),
        Kind.MOMENT: arrow.timestamp("us", tz="UTC"),
        Kind.MONTH: arrow.date32(),
    }
    metadata = {"description": column.meaning}
    if currency and column.kind is Kind.AMOUNT:
        metadata["currency"] = currency
    return arrow.field(column.name, types[column.kind], metadata=metadata)
