"""
SQL expressions that reports share, with the same result on PostgreSQL and SQLite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Text, and_, cast, func, null, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from syncsvc.schema import sql_fragments
from syncsvc.schema.columns import Money

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import FromClause
    from sqlalchemy.sql.base import ReadOnlyColumnCollection
    from sqlalchemy.sql.compiler import SQLCompiler

    from syncsvc.reports.definition.report import Arguments


class exact_sum(FunctionElement[Any]):  # noqa: N801 - reads as a function of the database
    """
    The exact sum of amounts; unknown ones count as zero.
    """

    type = Money()
    inherit_cache = True


@compiles(exact_sum)
def _compile_exact_sum(element: exact_sum, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the compiler's own
    amount = compiler.process(element.clauses, **options)
    return sql_fragments.exact_sum(sql_fragments.FRAGMENTS[compiler.dialect.name], amount)


class code_point_order(FunctionElement[str]):  # noqa: N801 - reads as a function of the database
    """
    A text that sorts by its characters' code points, whatever the database's collation is.
    """

    type = Text()
    inherit_cache = True


@compiles(code_point_order)
def _compile_unchanged(element: code_point_order, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the compiler's own
    return compiler.process(element.clauses, **options)


@compiles(code_point_order, "postgresql")
def _compile_collation(element: code_point_order, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the compiler's own
    return f'{compiler.process(element.clauses, **options)} COLLATE "C"'


def portable_order(*columns: ColumnElement[Any]) -> tuple[ColumnElement[Any], ...]:
    """
    Sort keys that give the same order on both databases: texts by code point, NULL last.
    """
    return tuple(
        (code_point_order(column) if isinstance(column.type, Text) else column).nulls_last()
        for column in columns
    )


def newest_first(
    rows: ReadOnlyColumnCollection[str, Any],
) -> tuple[ColumnElement[Any], ...]:
    """
    Sort keys of history rows: the newest run first, and within a run by number.
    """
    return (
        rows["valid_from"].desc(),
        *portable_order(rows["number_e164"], rows["uuid"]),
        rows["id"],
    )


def readable(column: ColumnElement[Any], arguments: Arguments) -> ColumnElement[Any]:
    """
    Return the column, or NULL under its name if it is personal and may not be read.
    """
    is_personal = any(base.info.get("personal") for base in column.base_columns)
    if arguments.with_addresses or not is_personal:
        return column
    return cast(null(), column.type).label(column.key)


def account_filter(view: FromClause, arguments: Arguments) -> ColumnElement[bool]:
    """
    The condition for rows of the account, and of the country if one is given.
    """
    same_account = view.c.account == arguments.account
    if arguments.country is None:
        return same_account
    return and_(same_account, view.c.country_alpha2 == arguments.country)


def known_at(view: FromClause, moment: datetime) -> ColumnElement[bool]:
    """
    The condition for history rows that were the newest at a time.
    """
    return and_(
        view.c.valid_from <= moment, or_(view.c.valid_to.is_(None), view.c.valid_to > moment)
    )


def in_window(moment: ColumnElement[Any], arguments: Arguments) -> ColumnElement[bool]:
    """
    The condition for times that `--days`, or `--since` and `--until`, ask for.
    """
    after = moment >= arguments.window_start
    return after if arguments.until is None else and_(after, moment <= arguments.until)


def is_reserved(status: ColumnElement[Any]) -> ColumnElement[bool]:
    """
    The condition for a status, as sent, that is Reserved.
    """
    return func.coalesce(func.lower(func.trim(status)), "") == "reserved"
