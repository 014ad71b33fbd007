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


RUN = "unchanged_postgresql"
BARS: list[Bar] = [
    (
        "first sync ÷ (fetch + decode + COPY)",
        "≤",
        2.5,
        _ratio("first_postgresql", "load_postgresql"),
    ),
    ("sync without changes ÷ (fetch + decode + COPY)", "≤", 1.3, _ratio(RUN, "load_postgresql")),
    ("sync without changes ÷ (fetch + decode)", "≤", 1.6, _ratio(RUN, "decode")),
    ("WAL of a sync without changes, KiB", "≤", 256, lambda m: m[MAIN][RUN]["wal_bytes"] / 1024),
    (
        "peak memory at 1,000,000 ÷ at 10,000",
        "≤",
        1.25,
        lambda m: m[LARGE][RUN]["peak_mib"] / m[SMALL][RUN]["peak_mib"],
    ),
    (
        "peak memory at 1,000,000, MiB",
        "≤",
        160,
        lambda m: max(m[LARGE][f"{run}_postgresql"]["peak_mib"] for run in ("first", "unchanged")),
    ),
    (
        "first sync at 1,000,000 ÷ 10 times at 100,000",
        "≤",
        1.15,
        lambda m: m[LARGE]["first_postgresql"]["wall"] / m[MAIN]["first_postgresql"]["wall"] / 10,
    ),
    (
        "sync without changes at 1,000,000 ÷ 10 times at 100,000",
        "≤",
        1.15,
        lambda m: m[LARGE][RUN]["wall"] / m[MAIN][RUN]["wall"] / 10,
    ),
    (
        "50 ms per page, 4 in flight, without changes: wall ÷ (pages times 50 ms ÷ 4)",
        "≤",
        1.15,
        _latency("latency_unchanged"),
    ),
    ("the same, first sync", "≤", 1.15, _latency("latency_first")),
    (
        "SQLite: first sync ÷ (fetch + decode + executemany)",
        "≤",
        2.5,
        _ratio("first_sqlite", "load_sqlite"),
    ),
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
