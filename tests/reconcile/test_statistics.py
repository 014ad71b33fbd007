"""
PostgreSQL's statistics of `numbers` are refreshed after many new ones, and nobody waits for that.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from support.build import number_row
from syncsvc.reconcile.publishing.publish import MANY

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from support.build import Watch

pytestmark = pytest.mark.parametrize("kind", ["postgresql"])
LISTING = [number_row(place) for place in range(1, MANY + 1)]


def analyses(engine: Engine) -> list[str]:
    """
    The statements that refresh the statistics of `numbers` from now on.
    """
    found: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("ANALYZE") and " numbers " in statement:
            found.append(statement)

    event.listen(engine, "before_cursor_execute", listen)
    return found


def test_a_first_load_beside_another_accounts_does_not_wait(watch: Watch, engine: Engine) -> None:
    """
    If another account's run has the lock on the statistics, this one does without it.
    """
    watch.see(*LISTING[:3], account="other")
    analysed = analyses(engine)
    with engine.begin() as other:
        other.exec_driver_sql("LOCK TABLE numbers IN SHARE UPDATE EXCLUSIVE MODE")
        summary = watch.see(*LISTING, deadline=timedelta(seconds=30))

    assert (summary.state, summary.provisioned) == ("succeeded", MANY)
    assert len(analysed) == 1


def test_an_account_that_adds_little_refreshes_nothing(watch: Watch, engine: Engine) -> None:
    """
    A table that grows by less than a tenth keeps its statistics.
    """
    watch.see(*LISTING)
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE numbers")
        connection.exec_driver_sql(
            "UPDATE pg_class SET reltuples = 100 * reltuples WHERE relname = 'numbers'"
        )
    analysed = analyses(engine)
    summary = watch.see(*LISTING, account="other")

    assert (summary.state, summary.provisioned) == ("succeeded", MANY)
    assert analysed == []
