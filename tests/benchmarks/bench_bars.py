"""
The bars, and the table that says which are reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from bench_pages import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

Middle = dict[str, dict[str, dict[str, float]]]
Bar: TypeAlias = "tuple[str, str, float, Callable[[Middle], float]]"

SECONDS_A_PAGE, IN_FLIGHT, RATE = 0.05, 4, 50.0
MAIN, SMALL, LARGE = "100000", "10000", "1000000"


def _ratio(over: str, under: str) -> Callable[[Middle], float]:
    return lambda m: m[MAIN][over]["wall"] / m[MAIN][under]["wall"]


def _pages(middle: Middle) -> float:
    sizes = [size for size in middle if size != "once"]
    return int(MAIN if MAIN in sizes else min(sizes, key=int)) / PAGE_SIZE


def _latency(run: str) -> Callable[[Middle], float]:
    return lambda m: m["once"][run]["wall"] / (_pages(m) * SECONDS_A_PAGE / IN_FLIGHT)


def _large(run: str) -> Callable[[Middle], float]:
    return lambda m: m[LARGE][run]["wall"] / m[MAIN][run]["wall"] / 10


def _of_small(figure: str, per: float) -> Callable[[Middle], float]:
    return lambda m: m["once"]["small_unchanged"][figure] / per


RUN = "unchanged_postgresql"
LIMIT, LIMIT_OF_SQLITE = "load_postgresql", "load_sqlite"
BARS: list[Bar] = [
    ("without changes ÷ limit", "≤", 1.2, _ratio(RUN, LIMIT)),
    ("without changes: server's CPU, s", "≤", 0.06, lambda m: m[MAIN][RUN]["server_cpu"]),
    ("without changes: WAL, KiB", "≤", 64, lambda m: m[MAIN][RUN]["wal_bytes"] / 1024),
    ("1 % changed ÷ limit", "≤", 1.7, _ratio("changed_postgresql", LIMIT)),
    ("first sync ÷ limit", "≤", 3.3, _ratio("first_postgresql", LIMIT)),
    ("SQLite: without changes ÷ limit", "≤", 1.2, _ratio("unchanged_sqlite", LIMIT_OF_SQLITE)),
    ("SQLite: first sync ÷ limit", "≤", 4.5, _ratio("first_sqlite", LIMIT_OF_SQLITE)),
    (
        "50 ms per page, 4 in flight, without changes: wall ÷ (pages times 50 ms ÷ 4)",
        "≤",
        1.1,
        _latency("latency_unchanged"),
    ),
    ("the same, first sync", "≤", 1.15, _latency("latency_first")),
    ("100 numbers, without changes: client's CPU, ms", "≤", 20, _of_small("cpu", 1e-3)),
    ("the same: server's CPU, ms", "≤", 10, _of_small("server_cpu", 1e-3)),
    ("the same: WAL, KiB", "≤", 4, _of_small("wal_bytes", 1024)),
    ("the same: runs per second", "≥", 30, lambda m: 1 / m["once"]["small_unchanged"]["wall"]),
    ("the same: catalogue after 1,000 runs, KiB more", "≤", 0, _of_small("catalogue_bytes", 1024)),
    (
        "peak memory at 1,000,000 ÷ at 10,000",
        "≤",
        1.25,
        lambda m: m[LARGE][RUN]["peak_mib"] / m[SMALL][RUN]["peak_mib"],
    ),
    (
        "peak memory at 1,000,000, MiB",
        "≤",
        130,
        lambda m: max(m[LARGE][f"{run}_postgresql"]["peak_mib"] for run in ("first", "unchanged")),
    ),
    ("first sync at 1,000,000 ÷ 10 times at 100,000", "≤", 1.1, _large("first_postgresql")),
    ("without changes at 1,000,000 ÷ 10 times at 100,000", "≤", 1.1, _large(RUN)),
    ("start of `syncsvc --version`, s", "≤", 0.25, lambda m: m["once"]["start_version"]["wall"]),
    (
        "start of `syncsvc sync` to its first request, s",
        "≤",
        0.6,
        lambda m: m["once"]["start_sync"]["wall"],
    ),
    (
        "50 requests per second allowed: share used",
        "≥",
        0.9,
        lambda m: _pages(m) / m["once"]["limited_unchanged"]["wall"] / RATE,
    ),
    (
        "the same: share of requests answered with 429",
        "≤",
        0.02,
        lambda m: (
            m["once"]["limited_unchanged"]["refused"] / m["once"]["limited_unchanged"]["requests"]
        ),
    ),
]


def bars(middle: Middle, wanted: list[Bar] = BARS) -> list[dict[str, Any]]:
    """
    Each bar with what was measured; None if the run did not go there.
    """
    told = []
    for name, sign, bar, figure in wanted:
        try:
            measured: float | None = figure(middle)
        except KeyError:
            measured = None
        told.append({"name": name, "sign": sign, "bar": bar, "measured": measured})
    return told


def mark(bar: dict[str, Any]) -> str:
    """
    Whether a bar is reached.
    """
    measured = bar["measured"]
    if measured is None:
        return "not measured"
    reached = measured <= bar["bar"] if bar["sign"] == "≤" else measured >= bar["bar"]
    return "✓ reached" if reached else "✗ missed"


def table(middle: Middle, told: list[dict[str, Any]]) -> str:
    """
    The figures, then the bars, in Markdown.
    """
    lines = [
        "| numbers | what | wall s | CPU s | server's CPU s | peak MiB | WAL KiB | requests |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size, samples in middle.items():
        for name, each in samples.items():
            if "catalogue_bytes" in each:  # figures of one of many runs, which only the bars show
                continue
            shown = [each.get(key) for key in ("wall", "cpu", "server_cpu", "peak_mib")]
            wal, requests = each.get("wal_bytes"), each.get("requests")
            cells = ["" if value is None else f"{value:.2f}" for value in shown]
            cells += ["" if wal is None else f"{wal / 1024:.0f}"]
            cells += ["" if requests is None else f"{requests:.0f}"]
            count = f"{int(size):,}" if size != "once" else ""
            lines.append(f"| {count} | {name} | {' | '.join(cells)} |")
    lines += ["", "| measure | target | measured | |", "| --- | ---: | ---: | --- |"]
    for bar in told:
        measured = "" if bar["measured"] is None else f"{bar['measured']:.3g}"
        lines.append(f"| {bar['name']} | {bar['sign']} {bar['bar']:g} | {measured} | {mark(bar)} |")
    return "\n".join(lines) + "\n"
