"""
Write the page of an account's inventory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncsvc import clock
from syncsvc.commands.reports.settings_and_snapshot import own_settings, read_only
from syncsvc.database.account_and_run_queries import require_account
from syncsvc.errors import ReportUsageError
from syncsvc.output import output_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from syncsvc.settings.settings import Settings


def write_page(
    connection: Connection, settings: Settings, html: Path, words: Sequence[str]
) -> None:
    """
    Write the page of the inventory's state.

    Raises:
        ReportUsageError: There are more arguments.
    """
    from syncsvc.output import inventory_page  # noqa: PLC0415 - charts take a while to load

    if words:
        raise ReportUsageError(f"--html writes one page with all reports; leave {words[0]!r} out.")
    settings = own_settings(connection, settings)
    read_only(connection)
    require_account(connection, settings.account)
    made = inventory_page.render(connection, settings.account, settings.currency, clock.now())
    with output_file.open_output(html) as stream:
        stream.write(made)
