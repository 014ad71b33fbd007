"""
Queries that a document prints with their answers, and how an answer is printed.
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy import CursorResult, Engine

SHOWN = re.compile(r"((?:```sql\n.+?```\n\n)+)```text\n(.*?)```", re.DOTALL)
SQL = re.compile(r"```sql\n(.+?)```", re.DOTALL)
STORED_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")
RENEW = "RENEW_DOCS"  # in the environment: write the answers instead of comparing them


class Question(NamedTuple):
    """
    A query, in one form for each kind of database if they differ, and its printed answer.
    """

    forms: list[str]
    answer: str

    def sql(self, dialect: str) -> str:
        """
        The form for a kind of database.
        """
        named = {"postgresql": "-- PostgreSQL\n", "sqlite": "-- SQLite\n"}[dialect]
        return next((form for form in self.forms if form.startswith(named)), self.forms[0])


def questions(document: str) -> list[Question]:
    """
    All that a document asks.
    """
    return [Question(SQL.findall(forms), answer) for forms, answer in SHOWN.findall(document)]


def answers(engine: Engine, asked: Sequence[Question]) -> list[str]:
    """
    What a database answers, as a document prints it.
    """
    with engine.connect() as connection:
        return [printed(connection.execute(text(each.sql(engine.dialect.name)))) for each in asked]


def renew(path: Path, answered: Sequence[str]) -> None:
    """
    Print these answers into a document, if that is asked for.
    """
    if RENEW in os.environ:
        new = iter(answered)
        document = SHOWN.sub(lambda found: f"{found[1]}```text\n{next(new)}```", path.read_text())
        path.write_text(document)


def printed(result: CursorResult[Any]) -> str:
    """
    Headings and rows, in columns.
    """
    lines = [list(result.keys()), *([_shown(value) for value in row] for row in result)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "".join(line.rstrip() + "\n" for line in padded)


def _shown(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        return str(value)  # PostgreSQL's sum of whole numbers
    if isinstance(value, float | Decimal):
        return f"{value:.2f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    text_of = str(value)
    return text_of[:19] if STORED_TIME.fullmatch(text_of) else text_of
