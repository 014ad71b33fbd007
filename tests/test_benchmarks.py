from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


def test_the_benchmark_works_at_a_tiny_size(tmp_path: Path) -> None:
    """
    `make bench` measures, prints each bar and writes its figures; what it did not measure it says.
    """
    output, plot = tmp_path / "figures.json", tmp_path / "speed.svg"
    command = [sys.executable, str(BENCHMARKS / "bench_sync.py"), "--sizes", "400", "--rounds", "1"]

    done = subprocess.run(
        [*command, "--pages", str(tmp_path), "--output", str(output), "--plot", str(plot)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    figures = json.loads(output.read_text())
    assert figures["medians"]["400"]["first_sqlite"]["wall"] > 0
    assert "first sync ÷ (fetch + decode + COPY)" in done.stdout
    assert "not measured" in done.stdout
    assert plot.read_text().startswith("<svg")


def test_bars_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A figure at its bar reaches it, one beyond misses it, from either side.
    """
    monkeypatch.syspath_prepend(BENCHMARKS)
    from bench_bars import mark  # noqa: PLC0415 - it is no package of the tests

    figures = [("≤", 1.0), ("≤", 1.01), ("≥", 1.0), ("≥", 0.99), ("≥", None)]
    marks = [mark({"bar": 1.0, "sign": sign, "measured": each})[0] for sign, each in figures]

    assert ["✓", "✗", "✓", "✗", "n"] == marks
