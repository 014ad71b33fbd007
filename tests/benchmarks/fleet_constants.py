"""
What a run of an account costs, by its numbers and its changes: measured, and as a formula.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from bench_pages import prepare
from bench_rig import serving
from fleet_rig import new_accounts, say

if TYPE_CHECKING:
    from pathlib import Path

    from bench_rig import Figures, Postgresql
    from fleet_rig import Accounts, Sweep

COSTS = {"cpu": "client CPU, s", "server_cpu": "server CPU, s", "wal_bytes": "WAL, bytes"}
SMALLEST = 1e-3  # seconds, since the system counts CPU in hundredths of one
LATER = ("unchanged", "changed", "changed back")
PER_NUMBER = (
    *("numbers", "number_history", "addresses", "address_history"),
    *("listing_fingerprints", "listing_pages"),
)


class Sample(NamedTuple):
    """
    The mean of a batch of runs.

    Attributes:
        changes: Rows of history that a run wrote.
    """

    kind: str
    numbers: int
    changes: float
    costs: dict[str, float]


class Formula(NamedTuple):
    """
    A cost as a sum of `constants` times terms, such as the numbers of an account.

    Attributes:
        residual: Root mean square of computed ÷ measured - 1 over all batches.
        worst: The largest of these, of a size and kind of run as a whole.
    """

    constants: list[float]
    residual: float
    worst: float

    def of(self, *terms: float) -> float:
        """
        The cost for these terms, after the 1 of the constant one.
        """
        return sum(each * term for each, term in zip(self.constants, (1.0, *terms), strict=True))


def measure(
    server: Postgresql, home: Path, pages: Path, accounts: dict[int, int], *, divided: bool = False
) -> Figures:
    """
    Run accounts of each size: first, without changes, and with 1 % changed, there and back.

    Args:
        accounts: How many of each size.
        divided: Whether the large tables have partitions.
    """
    samples: list[Sample] = []
    disk: dict[str, dict[str, float]] = {}
    for size, count in sorted(accounts.items()):
        with new_accounts(server, home, divided=divided) as some:
            samples += _of_size(some, pages, size, count, disk)
        say(f"{count} accounts of {size:,} numbers: done")
    return {
        "accounts": accounts,
        "samples": [sample._asdict() for sample in samples],
        "means": _means(samples),
        "disk": disk,
        "formulas": formulas(samples),
    }


def _of_size(
    some: Accounts, pages: Path, size: int, count: int, disk: dict[str, dict[str, float]]
) -> list[Sample]:
    first, changed = (prepare(pages, size, changed=each) for each in (False, True))
    batch = max(count // 10, 1)
    with serving(first) as before, serving(changed) as after:
        names = some.add(count + 1, before)
        sweeps = {"first": some.sweep(names, batch)}
        some.settle()
        loaded = some.sizes()
        for kind, api in zip(LATER, (before, after, before), strict=True):
            some.point_at(api)
            some.settle()
            sweeps[kind] = some.sweep(names, batch)
            if kind == "unchanged":
                sweeps["unchanged, no checkpoint before"] = some.sweep(names, batch)
    some.settle()
    disk[str(size)] = _disk(loaded, some.sizes(), size, sweeps)
    return [sample for kind, sweep in sweeps.items() for sample in _samples(kind, size, sweep)]


def _samples(kind: str, size: int, sweep: Sweep) -> list[Sample]:
    return [
        Sample(
            kind.removesuffix(" back"),
            size,
            sweep.events if kind != "first" else 0.0,
            {cost: batch[cost] / batch["runs"] for cost in (*COSTS, "wall")},
        )
        for batch in sweep.batches
    ]


def _disk(
    loaded: dict[str, int], later: dict[str, int], size: int, sweeps: dict[str, Sweep]
) -> dict[str, float]:
    """
    Bytes for each number after the first run, by table, and for each change since.
    """
    accounts = sum(batch["runs"] for batch in sweeps["first"].batches) + 1
    changes = accounts * sum(sweeps[kind].events for kind in ("changed", "changed back"))
    grown = sum(later[table] - loaded[table] for table in PER_NUMBER)
    by_table = {table: loaded[table] / (accounts * size) for table in PER_NUMBER}
    return by_table | {"number": sum(by_table.values()), "change": grown / changes}


def _means(samples: list[Sample]) -> list[Figures]:
    groups: dict[tuple[str, int], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.kind, sample.numbers), []).append(sample)
    return [
        {
            "kind": kind,
            "numbers": size,
            "batches": len(some),
            "changes": float(np.mean([each.changes for each in some])),
            **{
                cost: float(np.mean([each.costs[cost] for each in some]))
                for cost in (*COSTS, "wall")
            },
        }
        for (kind, size), some in groups.items()
    ]


def formulas(samples: list[Sample]) -> Figures:
    """
    Each cost of a first run by its numbers, and of a later one by its numbers and changes.
    """
    first = [each for each in samples if each.kind == "first"]
    later = [each for each in samples if each.kind in {"unchanged", "changed"}]
    return {
        cost: {
            "first": fit(first, cost, with_changes=False)._asdict(),
            "later": fit(later, cost, with_changes=True)._asdict(),
        }
        for cost in COSTS
    }


def terms(sample: Sample, *, with_changes: bool) -> list[float]:
    """
    What the constants are multiplied by: 1, the numbers; 1 if anything changed, and the changes.
    """
    changes = [float(sample.changes > 0), sample.changes] if with_changes else []
    return [1.0, sample.numbers, *changes]


def fit(samples: list[Sample], cost: str, *, with_changes: bool) -> Formula:
    """
    Least squares of computed ÷ measured - 1, so that small accounts count as much as large ones.
    """
    matrix = np.array([terms(each, with_changes=with_changes) for each in samples])
    measured = np.array([max(each.costs[cost], SMALLEST) for each in samples])
    constants = np.linalg.lstsq(matrix / measured[:, None], np.ones(len(samples)), rcond=None)[0]
    off = matrix @ constants / measured - 1
    groups: dict[tuple[str, int], list[float]] = {}
    for sample, each in zip(samples, off, strict=True):
        groups.setdefault((sample.kind, sample.numbers), []).append(float(each))
    return Formula(
        [float(each) for each in constants],
        float(np.sqrt(np.mean(off**2))),
        max((float(np.mean(some)) for some in groups.values()), key=abs),
    )
