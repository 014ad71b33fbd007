"""
`syncsvc config`: print every setting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import typer

from syncsvc.output import output_file
from syncsvc.output.formats import terminal
from syncsvc.reports import Column, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncsvc.settings.effective_settings import Explained

COLUMNS = [
    Column(name, Kind.TEXT, "") for name in ("setting", "value", "source", "default", "meaning")
]


def show(settings: Sequence[Explained], *, as_json: bool) -> None:
    """
    Print the settings as a table, or as a JSON array of objects.
    """
    with output_file.printing():
        if as_json:
            typer.echo(msgspec.json.format(msgspec.json.encode(settings)))
            return
        rows = [msgspec.structs.asdict(each) for each in settings]
        terminal.show(terminal.report_table(COLUMNS, rows, None))
