"""
The figures of a fleet as Markdown, and the plot for the docs.
"""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING, Any

import pygal
from fleet_constants import Formula
from fleet_sizing import SIZES, sizes
from pygal.style import CleanStyle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from bench_rig import Figures

KINDS = ("first", "unchanged", "unchanged, no checkpoint before", "changed")
MS, KIB, MIB = 1e3, 1 / 1024, 1 / 1024**2


def write(known: Figures, plot: Path) -> None:
    """
    Print the tables of all parts, and draw the plot if its figures are there.
    """
    tables = {
        "constants": constants,
        "upkeep": upkeep,
        "throughput": throughput,
        "partitions": partitions,
        "kills": kills,
        "fairness": fairness,
        "large": large,
        "day": day,
    }
    for part, figures in known.items():
        sys.stdout.write(f"\n## {part}: {_where(figures)}\n\n")
        sys.stdout.write("\n".join(tables[part](figures)) + "\n")
    if "constants" in known:
        sys.stdout.write("\n## sizing\n\n" + "\n".join(table(SIZES, sizes(known))) + "\n")
        draw(known["constants"], plot)


def _where(figures: Figures) -> str:
    return (
        f"{figures['at']}, {figures['cores']} cores, load {figures['load']} before, "
        f"Python {figures['python']}, took {figures['took']} s"
    )


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    """
    A table; all but the first column are right-aligned.
    """
    titles = list(head)
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *map(list, rows)]
    return [f"| {' | '.join(map(str, line))} |" for line in lines] + [""]


def constants(figures: Figures) -> list[str]:
    """
    What a run costs, the formulas, and the bytes on disk.
    """
    means = _means(figures["means"])
    return [*means, *_formulas(figures["formulas"]), *_disk(figures["disk"])]


def _means(means: list[Figures]) -> list[str]:
    head = ("run", "numbers", "changes", "client CPU, ms", "server CPU, ms", "wall, ms", "WAL, KiB")
    rows = [
        (
            each["kind"],
            f"{each['numbers']:,}",
            f"{each['changes']:.0f}" if each["kind"] != "first" else "",
            *(f"{each[cost] * MS:.1f}" for cost in ("cpu", "server_cpu", "wall")),
            f"{each['wal_bytes'] * KIB:,.1f}",
        )
        for each in sorted(means, key=lambda each: KINDS.index(each["kind"]))
    ]
    return table(head, rows)


def partitions(figures: Figures) -> list[str]:
    """
    What a run costs with plain tables, and with divided ones.
    """
    return [
        line for name in ("plain", "divided") for line in (f"{name}:", "", *_means(figures[name]))
    ]


def _formulas(formulas: Figures) -> list[str]:
    head = ("cost", "a run", "a number", "any change", "each change", "residual", "at worst")
    rows = [
        (
            f"{cost}, {kind}",
            *(f"{each:.3g}" for each in formula["constants"]),
            *([""] * (4 - len(formula["constants"]))),
            f"{formula['residual']:.1%}",
            f"{formula['worst']:+.1%}",
        )
        for cost, kinds in formulas.items()
        for kind, formula in kinds.items()
    ]
    return table(head, rows)


def _disk(disk: Figures) -> list[str]:
    names = next(iter(disk.values())).keys()
    rows = [
        (f"{int(size):,} numbers", *(f"{each[name]:.0f}" for name in names))
        for size, each in disk.items()
    ]
    return table(("bytes a number (a change)", *names), rows)


def upkeep(figures: Figures) -> list[str]:
    """
    What runs without changes leave behind.
    """
    head = (
        *("runs so far", "catalogue, KiB more", "sync_runs, bytes a run", "WAL a run, bytes"),
        *("client CPU, ms", "server CPU, ms", "account_status, KiB"),
    )
    rows = [
        (
            f"{part['runs']:,}",
            f"{part['catalogue'] * KIB:.0f}",
            f"{part['sync_runs']:.0f}",
            f"{part['wal_bytes']:,.0f}",
            *(f"{part[cost] * MS:.1f}" for cost in ("cpu", "server_cpu")),
            f"{part['account_status'] * KIB:.0f}",
        )
        for part in figures["parts"]
    ]
    return table(head, rows)


def throughput(figures: Figures) -> list[str]:
    """
    Hand-outs and sweeps.
    """
    hand_outs = [
        (f"{each['due']:,}", *(f"{figure(each['ms']):.1f}" for figure in SPREAD))
        for each in figures["hand_outs"]
    ]
    sweeps = [
        (
            f"{each['kind']}, {each['workers']} workers",
            f"{each['accounts']:,}",
            f"{each['rate']:.0f}",
            *(f"{each[cost] * MS:.1f}" for cost in ("cpu", "server_cpu")),
            f"{each['wal_bytes'] * KIB:.1f}",
        )
        for each in figures["sweeps"]
    ]
    head = ("run", "accounts due", "accounts/s", "client CPU, ms", "server CPU, ms", "WAL, KiB")
    return [
        *table(("accounts due", "one hand-out, ms: min", "median", "max"), hand_outs),
        *table(head, sweeps),
    ]


SPREAD: tuple[Callable[[list[float]], float], ...] = (min, statistics.median, max)


def kills(figures: Figures) -> list[str]:
    """
    How long the accounts of killed workers waited.
    """
    rows = [
        (name, *(f"{figure(figures[key]):.1f}" for figure in SPREAD))
        for name, key in (
            ("each account, until its run began", "begun"),
            ("each account, until its run ended", "ended"),
            ("the last account of a kill, until its run ended", "last"),
        )
    ]
    counted = (
        f"{figures['kills']} kills, {figures['accounts']} accounts, {figures['runs']:,} runs, "
        f"{figures['crashed']} crashed, {len(figures['ended'])} accounts lost and rescued, "
        f"{figures['overlaps']} overlaps."
    )
    return [*table(("seconds until run elsewhere", "min", "median", "max"), rows), counted]


def fairness(figures: Figures) -> list[str]:
    """
    How late healthy accounts were beside dead and hung ones, and what runs at once do to others.
    """
    late, limit, loads = figures["late"], figures["limit"], figures["first_loads"]
    percent = statistics.quantiles(late, n=100, method="inclusive")
    head = ("seconds late", "median", "99 %", "max")
    row = (
        f"{len(late)} runs of healthy accounts",
        *map("{:.1f}".format, (percent[49], percent[98])),
    )
    return [
        *table(head, [(*row, f"{late[-1]:.1f}")]),
        (
            f"8 runs against 50 requests a second: {limit['rate']:.1f} granted a second, "
            f"{limit['refused']:.1%} refused. First runs side by side: {loads['waits']} waits "
            f"for a lock in {loads['samples']} looks. {figures['overlaps']} overlaps."
        ),
    ]


def large(figures: Figures) -> list[str]:
    """
    The large database beside the small one.
    """
    small, big = figures["small"], figures["large"]
    head = ("run", "client CPU, ms", "server CPU, ms", "wall, ms", "WAL, KiB", "blocks read")
    rows = [
        (f"{kind}, {name}", *_costs(found))
        for kind in small
        if kind not in {"load", "bytes", "accounts report"}
        for name, found in (("small", small[kind]), ("large", big[kind]))
    ]
    loads = [
        (f"{each['accounts']:,}", *_costs(each)[:4], f"{each['took']:.0f}") for each in big["load"]
    ]
    report = big["accounts report"]
    timed = [(report["rows"], *(f"{figure(report['seconds']):.2f}" for figure in SPREAD))]
    databases = [
        ("small", f"{small['bytes'] / 1e9:.2f}", "128 MiB"),
        ("large", f"{big['bytes'] / 1e9:.2f}", f"{figures['cache'] * MIB:.0f} MiB"),
    ]
    return [
        *table(("database", "GB", "shared_buffers"), databases),
        *table(head, rows),
        *table(("accounts then, first run", *head[1:5], "part took, s"), loads),
        *table(("rows of the report accounts", "s: min", "median", "max"), timed),
    ]


def _costs(found: Figures) -> list[str]:
    read = found.get("blocks_read")
    return [
        *(f"{found[cost] * MS:.1f}" for cost in ("cpu", "server_cpu", "wall")),
        f"{found['wal_bytes'] * KIB:,.0f}",
        "" if read is None else f"{read:,.0f}",
    ]


def day(figures: Figures) -> list[str]:
    """
    The simulation: how many workers, and the lag in each part of the day.
    """
    lines: list[str] = []
    for name in ("equal", "unequal"):
        found = figures[name]
        shares = ("p50", "p95", "p99", "p99.9", "max")
        lines += table(
            (f"{name}, by the formula {found['by the formula']} workers", *shares, "core busy"),
            [
                (workers, *_lags(tried), f"{tried['busy']:.0%}")
                for workers, tried in found["tried"].items()
            ],
        )
        one = found["day"]
        lines += table(
            (f"{name}, a day with {one['workers']} workers", "runs", *shares, "late"),
            [
                (window, f"{each['runs']:,}", *_lags(each), each["late"])
                for window, each in one["windows"].items()
            ],
        )
        lines += [f"{one['runs']:,} runs, {one['endings']}, back after {one['back']:.0f} s", ""]
    limit = [
        (each["workers"], each["rate"], f"{each['used']:.1%}", f"{each['refused']:.2%}")
        for each in figures["limit"]
    ]
    return [*lines, *table(("workers", "requests/s granted", "used", "refused"), limit)]


def _lags(found: Figures) -> Iterator[str]:
    return (f"{found[share]:.1f}" for share in ("p50", "p95", "p99", "p99.9", "max"))


def draw(figures: Figures, path: Path) -> None:
    """
    Draw what a run costs by the size of the account, measured and by the formula.
    """
    means = [each for each in figures["means"] if each["kind"] in {"unchanged", "changed"}]
    means.sort(key=lambda each: (each["kind"] == "changed", each["numbers"]))
    chart = pygal.Bar(
        title="CPU of a run, ms (less is better; logarithmic)",
        x_title="numbers of the account",
        logarithmic=True,
        range=(1, 1000),
        legend_at_bottom=True,
        legend_at_bottom_columns=4,
        print_values=True,
        value_formatter=lambda value: f"{value:.0f}",
        style=CleanStyle(background="white", plot_background="white", value_font_size=10),
        disable_xml_declaration=True,
        js=[],
        width=900,
        height=420,
    )
    chart.x_labels = [f"{each['numbers']:,}, {each['kind']}" for each in means]
    for cost, label in (("cpu", "client"), ("server_cpu", "server")):
        formula = Formula(**figures["formulas"][cost]["later"])
        chart.add(f"{label}, measured", [each[cost] * MS for each in means])
        chart.add(
            f"{label}, formula",
            [
                formula.of(each["numbers"], float(each["changes"] > 0), each["changes"]) * MS
                for each in means
            ],
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(chart.render(is_unicode=True))
