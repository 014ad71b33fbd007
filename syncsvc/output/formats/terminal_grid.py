r"""
Tables that fit a terminal without a cell being cut.

A row is a line if all of its cells fit; only text in the last column is wrapped, between words.
Identifiers are left out if that makes the rest fit, and a note names them. Otherwise each row is a
block with a line for each cell, like psql's `\x auto`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType

    Cell = str | Text

PADDINGS = (1, 0)  # on each side of a column: the tighter one if the table does not fit otherwise
PROSE_WIDTH = 24  # the narrowest column in which wrapped text is still easy to read
BLOCK_RULE = 30  # how much longer the line above a block is than its labels


class Heading(NamedTuple):
    """
    A column's heading.

    Attributes:
        right: Align the column to the right.
        is_id: People can do without it: it is left out first.
    """

    name: str
    right: bool = False
    is_id: bool = False


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """
    A table that rich can print, in lines or blocks.

    Attributes:
        title: Printed above, if any.
        rows: Their cells; text without markup, or styled text.
        footer: A last row for totals, if any.
        prose: The last column is text that may be wrapped.
    """

    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]
    title: str | None = None
    footer: Sequence[Cell] | None = None
    prose: bool = False

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """
        Yield what fits the width: the table, the table without identifiers and a note, or blocks.
        """
        everything = list(range(len(self.headings)))
        without_ids = [place for place in everything if not self.headings[place].is_id]
        widths = self._widths()
        for places in (everything, without_ids):
            for padding in PADDINGS:
                if self._fits(places, widths, padding, options.max_width):
                    yield self._table(places, widths, padding, options.max_width)
                    yield from self._note(console, places, options.max_width)
                    return
        yield from self._blocks(console, options.max_width)

    def _lines(self) -> Iterator[Sequence[Cell]]:
        """
        Yield all rows, the footer too.
        """
        yield from self.rows
        if self.footer is not None:
            yield self.footer

    def _widths(self) -> list[int]:
        widths = [cell_len(heading.name) for heading in self.headings]
        for row in self._lines():
            for place, cell in enumerate(row):
                widths[place] = max(widths[place], _width(cell))
        return widths

    def _fits(self, places: list[int], widths: list[int], padding: int, room: int) -> bool:
        *others, last = places
        left = room - _frame(len(places), padding) - sum(widths[place] for place in others)
        return left >= (self._least_width(last) if self._wraps(last) else widths[last])

    def _wraps(self, place: int) -> bool:
        return self.prose and place == len(self.headings) - 1

    def _least_width(self, place: int) -> int:
        """
        Return the narrowest width of a wrapped column in which all words are whole.
        """
        cells = [self.headings[place].name, *(str(row[place]) for row in self._lines())]
        return max(*map(_longest_word, cells), min(max(map(_width, cells)), PROSE_WIDTH))

    def _table(self, places: list[int], widths: list[int], padding: int, room: int) -> Table:
        table = Table(
            title=None if self.title is None else Text(self.title),
            title_justify="left",
            box=box.SIMPLE,
            pad_edge=False,
            padding=(0, padding),
            show_footer=self.footer is not None,
        )
        taken = _frame(len(places), padding) + sum(widths[place] for place in places[:-1])
        for place in places:
            heading = self.headings[place]
            table.add_column(
                heading.name,
                Text() if self.footer is None else _text(self.footer[place]),
                justify="right" if heading.right else "left",
                width=min(widths[place], room - taken) if self._wraps(place) else widths[place],
                no_wrap=not self._wraps(place),
            )
        for row in self.rows:
            table.add_row(*(_text(row[place]) for place in places))
        return table

    def _note(self, console: Console, places: list[int], room: int) -> Iterator[Text]:
        names = [head.name for place, head in enumerate(self.headings) if place not in places]
        if names:
            note = f"Left out, as the terminal is too narrow: {', '.join(names)}."
            yield from _wrapped(console, Text(note, style="dim"), room)

    def _blocks(self, console: Console, room: int) -> Iterator[Text]:
        """
        Yield each row as a block: a line for each cell.
        """
        if self.title is not None:
            yield Text(f"{self.title}\n", style="table.title")
        if not self.rows:
            names = Text(f"No rows of: {', '.join(heading.name for heading in self.headings)}")
            yield from _wrapped(console, names, room)
        label = max(cell_len(heading.name) for heading in self.headings)
        for count, row in enumerate(self._lines(), 1):
            name = "total" if count > len(self.rows) else str(count)
            yield Text(f"─[ {name} ]".ljust(min(label + BLOCK_RULE, room), "─"), style="dim")
            for heading, cell in zip(self.headings, row, strict=True):
                if name == "total" and not cell:
                    continue
                yield from _labelled(console, heading.name.ljust(label), _text(cell), room)
        yield Text()


def _frame(columns: int, padding: int) -> int:
    """
    Return the width of all that is not cells: both edges, and what separates the columns.
    """
    return 2 + (columns - 1) * (1 + 2 * padding)


def _labelled(console: Console, label: str, cell: Text, room: int) -> Iterator[Text]:
    """
    Yield a cell beside its label, or below it if a word of it does not fit there.
    """
    indent = cell_len(label) + 2
    heading = Text(label, style="bold")
    if indent + _longest_word(cell) > room:
        yield heading
        indent, heading = 2, Text()
    for line in _wrapped(console, cell, room - indent) or [Text()]:
        heading.pad_right(indent - heading.cell_len)
        yield Text.assemble(heading, line)
        heading = Text()


def _wrapped(console: Console, text: Text, room: int) -> list[Text]:
    """
    Divide a text into lines between its words; one that is longer than a line stays whole.
    """
    return list(text.wrap(console, max(room, _longest_word(text), 1)))


def _longest_word(cell: Cell) -> int:
    return max(map(cell_len, str(cell).split()), default=0)


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def _width(cell: Cell) -> int:
    return max(map(cell_len, str(cell).split("\n")))
