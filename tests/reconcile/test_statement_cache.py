"""
Statements are built once, whatever the runs that execute them are about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.build import STAMP, address, number_row
from syncsvc.reconcile.statement_cache import BUILT

if TYPE_CHECKING:
    from support.build import Row, Watch

pytestmark = pytest.mark.neighbour


def story(watch: Watch, charge: str) -> None:
    """
    Runs that begin, change, cancel, withhold, reject and search.
    """
    emergency: Row = {"emergency_number_address": address(1, name=charge)}
    many = [number_row(place, monthly_charge=charge) for place in range(4, 24)]
    for rows in (
        [number_row(1), number_row(2, details=emergency), number_row(3), *many],
        [number_row(1, monthly_charge=charge), number_row(2, status="Cancelled"), *many],
        [number_row(1), number_row(3, details={"cancelled": STAMP}), *many],
        [number_row(1), {"uuid": "?"}, *many],
        [number_row(1)],
        [number_row(1), number_row(2), number_row(3), *many],
    ):
        watch.see_paged(*rows, page_size=10)


def test_no_run_builds_what_an_earlier_one_has_built(watch: Watch) -> None:
    """
    A worker that goes on for years keeps as many statements as after its first runs.
    """
    story(watch, "0.1")
    built = dict(BUILT)

    story(watch, "0.2")
    story(watch, "0.3")
    assert len(built) > 20
    assert built == BUILT
