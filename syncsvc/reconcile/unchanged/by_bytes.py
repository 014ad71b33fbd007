"""
Compare text by its bytes, where only equality counts or any order will do.

PostgreSQL sorts text by the rules of the database's language, which takes at least twice as long.
SQLite has no other order than that of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler


class by_bytes(FunctionElement[str]):  # noqa: N801 - used like a function
    """
    A text with the same value, compared by its bytes.
    """

    type = Text()
    inherit_cache = True


@compiles(by_bytes)
def _as_it_is(text: by_bytes, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - those of the caller
    return compiler.process(text.clauses, **options)


@compiles(by_bytes, "postgresql")
def _on_postgresql(text: by_bytes, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - those of the caller
    return f'{compiler.process(text.clauses, **options)} COLLATE "C"'
