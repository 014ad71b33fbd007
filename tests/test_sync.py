from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from syncsvc.sandbox import Inventory, Sandbox
from syncsvc.schema import numbers
from syncsvc.sync import Job, run_once

if TYPE_CHECKING:
    from sqlalchemy import Engine


def test_the_documented_example_ends_in_the_tables(
    sandbox: Sandbox, job: Job, engine: Engine
) -> None:
    """
    The provider's own example becomes one number, provisioned when it says.
    """
    sandbox.inventory = Inventory.example()

    summary = run_once(job)

    assert (summary.listed, summary.provisioned, summary.address_changes) == (1, 1, 2)
    with engine.connect() as connection:
        assert list(connection.execute(select(numbers.c.country_alpha2)).scalars()) == ["GB"]
