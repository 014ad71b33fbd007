from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from support.printed_queries import answers, questions, renew

if TYPE_CHECKING:
    from sqlalchemy import Engine

QUERIES = Path(__file__).parents[2] / "docs" / "queries.md"


def test_the_thirty_queries_have_the_answers_shown(known_inventory: Engine) -> None:
    """
    Each query of the document runs on both databases and prints what stands there.
    """
    asked = questions(QUERIES.read_text())
    answered = answers(known_inventory, asked)
    renew(QUERIES, answered)

    asked = questions(QUERIES.read_text())

    assert [question.answer for question in asked] == answered
    assert len(asked) == 30
