from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text

from syncsvc.database import engine

BENCHMARKS = Path(__file__).parent
LOADS = ("first", "unchanged")


def test_the_benchmark_works_at_a_tiny_size(tmp_path: Path) -> None:
    """
    `make bench` measures, prints each bar and writes its figures; what it did not measure it says.
    """
    output, plot = tmp_path / "figures.json", tmp_path / "speed.svg"
    command = [sys.executable, str(BENCHMARKS / "bench_sync.py"), "--sizes", "400", "--rounds", "1"]
    command += ["--small-runs", "2"]

    done = subprocess.run(
        [*command, "--pages", str(tmp_path), "--output", str(output), "--plot", str(plot)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    figures = json.loads(output.read_text())
    assert figures["medians"]["400"]["first_sqlite"]["wall"] > 0
    assert "first sync ÷ limit" in done.stdout
    assert "not measured" in done.stdout
    assert plot.read_text().startswith("<svg")


def run_fleet_benchmark(tmp_path: Path, *words: str) -> dict[str, Any]:
    """
    The figures that `make bench-fleet` writes, of some of its parts.
    """
    where = ["--pages", tmp_path, "--output", tmp_path / "fleet.json", "--plot", tmp_path / "a.svg"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "bench_fleet.py"), *map(str, where), *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)},
    )
    assert done.returncode == 0, done.stderr
    assert f"## {words[1]}" in done.stdout
    figures: dict[str, Any] = json.loads((tmp_path / "fleet.json").read_text())
    return figures


def test_the_constants_of_a_fleet_are_measured_and_a_day_is_simulated_with_them(
    tmp_path: Path,
) -> None:
    """
    The formula has a cost for each run and number; the simulated day has its misfortunes.
    """
    tiny = ("--sizes", "200", "1000", "--accounts", "2", "--hours", "1")
    day = ("--day-accounts", "40", "--day-numbers", "4000")
    figures = run_fleet_benchmark(tmp_path, "--only", "constants", "day", *tiny, *day)

    assert len(figures["constants"]["formulas"]["cpu"]["later"]["constants"]) == 4
    assert figures["constants"]["disk"]["200"]["numbers"] > 100
    assert figures["day"]["equal"]["day"]["endings"]["unavailable"] > 0
    assert (tmp_path / "a.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ("upkeep", ["--runs", "40"]),
        ("throughput", ["--due", "100", "--workers", "1"]),
        ("partitions", ["--sizes", "200", "--sample", "8"]),
        ("kills", ["--accounts", "12", "--kills", "1"]),
        ("fairness", ["--seconds", "20"]),
        ("large", ["--large", "6", "400", "--sample", "2"]),
    ],
)
def test_each_part_of_the_fleet_benchmark_works_at_a_tiny_size(
    tmp_path: Path, part: str, options: list[str]
) -> None:
    """
    It measures and prints its tables; no two runs of an account overlap after a kill.
    """
    figures = run_fleet_benchmark(tmp_path, "--only", part, *options)[part]

    assert figures["took"] > 0
    assert figures.get("overlaps", 0) == 0


def test_bars_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A figure at its bar reaches it, one beyond misses it, from either side.
    """
    monkeypatch.syspath_prepend(BENCHMARKS)
    from bench_bars import mark  # noqa: PLC0415 - it is no package of the tests

    figures = [("≤", 1.0), ("≤", 1.01), ("≥", 1.0), ("≥", 0.99), ("≥", None)]
    marks = [mark({"bar": 1.0, "sign": sign, "measured": each})[0] for sign, each in figures]

    assert marks == ["✓", "✗", "✓", "✗", "n"]


def test_what_a_peer_loaded_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A peer whose tables hold each number once passes, and one that lost a number is named.
    """
    monkeypatch.syspath_prepend(BENCHMARKS)
    from bench_pages import prepare  # noqa: PLC0415
    from bench_rig import Sqlite, serving  # noqa: PLC0415
    from peers_catalogue import PEERS  # noqa: PLC0415
    from peers_rig import check, load_peer  # noqa: PLC0415

    orm, url = PEERS["orm"], f"sqlite:///{tmp_path}/orm.db"
    with serving(prepare(tmp_path, 250)) as api:
        given = {"python": Path(sys.executable), "state": tmp_path}
        loads = [load_peer(orm, Sqlite(tmp_path), api, url, **given) for _ in range(2)]

    check(orm, url, 250, loads[0])
    check(orm, url, 250, loads[1])
    assert loads[1]["peak_mib"] > 0
    with engine.open_engine(make_url(url)).begin() as connection:
        connection.execute(text("DELETE FROM orm_numbers WHERE number_e164 = '+4412450000007'"))
    with pytest.raises(RuntimeError, match=r"peers_orm\.py .*\[2, 249, 249, 7470, 249, 6\], not"):
        check(orm, url, 250, loads[1])


def test_the_best_of_a_kind_is_what_syncsvc_is_held_against(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The bars take dlt's quickest load, of all and without Arrow; if one is missing, none.
    """
    monkeypatch.syspath_prepend(BENCHMARKS)
    from bench_bars import bars  # noqa: PLC0415
    from peers_bars import BARS, TUNED  # noqa: PLC0415

    walls = dict.fromkeys(TUNED, 9.0) | {"dlt_scd2_tuned": 8.0, "dlt_upsert_arrow": 5.0}
    walls |= {"syncsvc": 2.0, "orm": 1.0}
    loads = (*LOADS, "keyed")
    all_there = {f"{load}_{name}": {"wall": walls[name]} for name in walls for load in loads}
    without = {name: each for name, each in all_there.items() if "merge_tuned" not in name}

    figures = [[bar["measured"] for bar in bars({"100000": m}, BARS)] for m in (all_there, without)]

    assert figures == [[0.4, 0.4, 0.25, 0.4, 0.25], [0.4, *[None] * 4]]


def test_a_peer_without_its_environment_is_told_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """
    Asked for dlt where it is not installed, the benchmark names the target that installs it.
    """
    monkeypatch.syspath_prepend(BENCHMARKS)
    from peers_bench import arguments  # noqa: PLC0415

    missing = ["--python", str(tmp_path / "python")]
    assert arguments(["--peers", "orm", *missing]).peers == ["orm"]
    with pytest.raises(SystemExit):
        arguments(["--peers", "dlt_scd2_tuned", *missing])

    assert "`make bench-peers` makes it" in capsys.readouterr().err


@pytest.mark.parametrize("event", ["socket.connect", "socket.sendto", "socket.getaddrinfo"])
def test_a_peer_reaches_no_other_machine(event: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What a peer would send elsewhere is refused, by address and by name; loopback is let through.
    """
    monkeypatch.syspath_prepend(BENCHMARKS)
    from peers_loopback import stay_here  # noqa: PLC0415

    def told(host: str) -> tuple[object, ...]:
        return (host, 443) if event == "socket.getaddrinfo" else (None, (host, 443))

    stay_here(event, told("127.0.0.1"))
    with pytest.raises(PermissionError, match=r"telemetry\.example"):
        stay_here(event, told("telemetry.example"))


def test_the_cost_of_webhooks_is_measured() -> None:
    """
    `make bench-webhooks` compares runs with endpoints and without, and counts events a second.
    """
    command = [sys.executable, str(BENCHMARKS / "webhooks_bench.py"), "--numbers", "400"]
    done = subprocess.run(
        [*command, "--endpoints", "2", "--rounds", "1"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| wall |") == 2
    assert done.stdout.count("| events/s to one endpoint |") == 2
