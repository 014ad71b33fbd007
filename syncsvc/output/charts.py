"""
Charts as inline SVG, without script, style or references.

The page's own style gives them their colours, so that they follow the reader's
light, dark or paper. Each says in words what it shows, and each of its points
says its value.
"""

from __future__ import annotations

import sys
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import pygal
from markupsafe import Markup
from pygal.etree import etree
from pygal.style import Style

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

    Values = Sequence[Decimal | int]

# pygal hooks a finder of Python 2 into every later import, for maps that nobody draws here.
sys.meta_path[:] = [
    finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)
]

WIDTH, HEIGHT, ROW = 480, 230, 30  # units of the drawing; the page scales it
TICKS = 6  # of an axis, at most
LABELS_SHOWN = 6  # along the bottom: more would run into one another
BALLAST = {"defs", "title", "desc"}  # pygal's own styles, scripts and notes for them
LOOKS = Style(label_font_size=14, major_label_font_size=14, value_font_size=14)


class Words(NamedTuple):
    """
    A chart's title and description, also for screen readers.

    Attributes:
        id: The chart's id in its page.
    """

    id: str
    title: str
    says: str


def over_time(words: Words, months: Sequence[str], values: Values) -> Markup:
    """
    Draw a line over months, oldest first, from zero up.
    """
    chart = pygal.Line(**_options(), include_x_axis=True)
    _label_months(chart, months)
    _use_whole_ticks(chart, [0, *values])
    chart.add("area", _points(values), fill=True, show_dots=False)
    chart.add("line", _points(values), dots_size=3)
    return _drawn(chart, words)


def up_and_down(words: Words, months: Sequence[str], series: Mapping[str, Values]) -> Markup:
    """
    Draw stacked bars over months, oldest first; negative values are below the axis.
    """
    chart = pygal.StackedBar(**_options())
    _label_months(chart, months)
    columns = list(zip(*series.values(), strict=True))
    above = [sum(value for value in column if value > 0) for column in columns]
    below = [sum(value for value in column if value < 0) for column in columns]
    _use_whole_ticks(chart, [0, *above, *below])
    for name, values in series.items():
        chart.add(name, _points(values))
    return _drawn(chart, words)


def ranked(words: Words, names: Sequence[str], values: Values) -> Markup:
    """
    Draw a horizontal bar with its value for each name, the first one at the top.
    """
    chart = pygal.HorizontalBar(**{**_options(), "height": 45 + ROW * len(names)})
    chart.x_labels = list(reversed(names))
    chart.add(words.title, _points(list(reversed(values))))
    return _drawn(chart, words)


def _options() -> dict[str, Any]:
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "margin": 6,
        "show_legend": False,
        "js": [],
        "classes": ("chart",),
        "no_prefix": True,
        "max_scale": 6,
        "truncate_label": -1,
        "value_formatter": "{:,.10g}".format,
        "style": LOOKS,
    }


def _label_months(chart: Any, months: Sequence[str]) -> None:  # noqa: ANN401 - pygal ships no types
    every = -(-len(months) // LABELS_SHOWN) or 1
    chart.x_labels = list(months)
    chart.x_labels_major = list(months[::-1][::every])
    chart.show_minor_x_labels = False


def _use_whole_ticks(chart: Any, values: Values) -> None:  # noqa: ANN401 - pygal ships no types
    """
    Label the axis of whole things with whole numbers, which pygal's own steps are not.
    """
    if not all(isinstance(value, int) for value in values):
        return
    low, high = int(min(values)), int(max(values))
    step = next(each for each in _steps() if (high - low) / each < TICKS)
    chart.y_labels = list(range(low // step * step, max(-(-high // step), 1) * step + 1, step))


def _steps() -> Iterator[int]:
    for power in count():
        yield from (10**power, 2 * 10**power, 5 * 10**power)


def _points(values: Values) -> list[float]:
    return [float(value) for value in values]  # to draw by; the exact figures stand beside it


def _drawn(chart: Any, words: Words) -> Markup:  # noqa: ANN401 - pygal ships no types
    """
    Render the chart without pygal's styles and scripts, and with title and description.
    """
    root = chart.render_tree()
    for node in list(root.iter()):
        _say_value(node)
        node.attrib.pop("style", None)
        for child in list(node):
            if child.tag in BALLAST or child.get("class") == "plot tooltip-overlay":
                node.remove(child)
            elif not isinstance(child.tag, str):
                node.remove(child)  # a comment
    root.attrib.pop("id")
    _describe(root, words)
    return Markup(etree.tostring(root, encoding="unicode"))  # noqa: S704 - etree has escaped it


def _say_value(node: Any) -> None:  # noqa: ANN401 - an element of whichever etree pygal has found
    """
    Turn pygal's notes on a point into a tooltip.
    """
    notes = {child.get("class"): child.text for child in node if child.tag == "desc"}
    if "value" in notes:
        said = etree.SubElement(node, "text-of-point")
        said.text = ": ".join(filter(None, (notes.get("x_label"), notes["value"])))


def _describe(root: Any, words: Words) -> None:  # noqa: ANN401 - an element of whichever etree pygal has found
    for said in list(root.iter("text-of-point")):
        said.tag = "title"
    root.set("role", "img")
    root.set("aria-labelledby", f"{words.id}-title {words.id}-desc")
    for place, (tag, text) in enumerate((("title", words.title), ("desc", words.says))):
        node = etree.Element(tag, id=f"{words.id}-{tag}")
        node.text = text
        root.insert(place, node)
