"""
The plot for the docs: what a run takes beside the limit, by the size of the inventory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pygal
from pygal.style import CleanStyle

if TYPE_CHECKING:
    from pathlib import Path

    from bench_bars import Middle

SHOWN = {
    "decode": "fetch + decode",
    "load_postgresql": "fetch + decode + COPY",
    "unchanged_postgresql": "sync without changes",
    "changed_postgresql": "sync with 1 % changed",
    "first_postgresql": "first sync",
}


def plot(middle: Middle, path: Path) -> None:
    """
    Draw microseconds a number, which stay level if the time is in proportion.
    """
    sizes = [size for size in middle if size != "once"]
    chart = pygal.Bar(
        title="PostgreSQL: microseconds for a number (less is better)",
        x_title="numbers in the inventory",
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        print_values=True,
        value_formatter=lambda value: f"{value:.1f}",
        style=CleanStyle(background="white", plot_background="white"),
        disable_xml_declaration=True,
        js=[],
        width=900,
        height=420,
    )
    chart.x_labels = [f"{int(size):,}" for size in sizes]
    for name, label in SHOWN.items():
        values = [middle[size][name]["wall"] / int(size) * 1e6 for size in sizes]
        chart.add(label, values)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(chart.render(is_unicode=True))
