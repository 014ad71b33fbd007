"""
Text is compared by its bytes on both databases, in the words of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Text, literal, select

from syncsvc.reconcile.unchanged.by_bytes import by_bytes

if TYPE_CHECKING:
    from sqlalchemy import Engine


def test_capitals_come_before_small_letters(engine: Engine) -> None:
    """
    Most languages have "a" before "B"; bytes have not, and the text stays the same.
    """
    small, capital = (by_bytes(literal(text, Text())) for text in ("a", "B"))
    with engine.connect() as connection:
        found = connection.execute(select(capital, capital < small)).one()

    assert tuple(found) == ("B", True)


def test_no_rules_of_a_language_are_asked_for(engine: Engine) -> None:
    """
    PostgreSQL is told so, whatever the database's language is; SQLite has bytes alone.
    """
    compiled = str(select(by_bytes(literal("a", Text()))).compile(engine))

    assert ('COLLATE "C"' in compiled) == (engine.dialect.name == "postgresql")
