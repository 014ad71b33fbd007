"""
What reports say to a database, where the two kinds say it differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Text, and_, func, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from syncsvc.schema.columns import Money

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Table
    from sqlalchemy.sql.base import ReadOnlyColumnCollection
    from sqlalchemy.sql.compiler import SQLCompiler

    from syncsvc.reports.report import Asked


class total(FunctionElement[Any]):  # noqa: N801 - reads as a function of the database
    """
    The exact sum of amounts; those that are not known count as nothing.

    SQLite adds up whole ten-thousandths, as its doubles would not add up exactly.
    """

    type = Money()
    inherit_cache = True


@compiles(total)
def _exactly(element: total, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the compiler's own
    return f"coalesce(sum({compiler.process(element.clauses, **options)}), 0)"


@compiles(total, "sqlite")
def _in_whole_numbers(element: total, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the compiler's own
    amount = compiler.process(element.clauses, **options)
    return f"coalesce(sum(CAST(round({amount} * 10000) AS INTEGER)), 0) / 10000.0"


class plainly(FunctionElement[str]):  # noqa: N801 - reads as a function of the database
    """
    A text to order by, character by character, whatever the database's language is.
    """

    type = Text()
    inherit_cache = True


@compiles(plainly)
def _as_it_is(element: plainly, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the compiler's own
    return compiler.process(element.clauses, **options)


@compiles(plainly, "postgresql")
def _in_code_points(element: plainly, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the compiler's own
    return f'{compiler.process(element.clauses, **options)} COLLATE "C"'


def in_order(*columns: ColumnElement[Any]) -> tuple[ColumnElement[Any], ...]:
    """
    An order that both databases take alike: texts by their characters, NULL last.
    """
    return tuple(
        (plainly(column) if isinstance(column.type, Text) else column).nulls_last()
        for column in columns
    )


def newest_first(
    rows: ReadOnlyColumnCollection[str, Any],
) -> tuple[ColumnElement[Any], ...]:
    """
    By when we learnt of it, and within one run by number.
    """
    return (rows["valid_from"].desc(), *in_order(rows["number_e164"], rows["uuid"]), rows["id"])


def of_account(view: Table, asked: Asked) -> ColumnElement[bool]:
    """
    The rows of the account, and of the country where one is asked for.
    """
    mine = view.c.account == asked.account
    return mine if asked.country is None else and_(mine, view.c.country_alpha2 == asked.country)


def known_at(view: Table, moment: datetime) -> ColumnElement[bool]:
    """
    The history rows that were the newest at a moment.
    """
    return and_(
        view.c.valid_from <= moment, or_(view.c.valid_to.is_(None), view.c.valid_to > moment)
    )


def is_reserved(status: ColumnElement[Any]) -> ColumnElement[bool]:
    """
    Whether a status, as sent, is Reserved.
    """
    return func.coalesce(func.lower(func.trim(status)), "") == "reserved"
