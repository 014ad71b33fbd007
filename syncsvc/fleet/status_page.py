"""
A fleet's status pages: a summary with the accounts that need a look, a list, and one account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.accounts.standing import Standing
from syncsvc.database import account_and_run_queries, transactions
from syncsvc.errors import SyncError
from syncsvc.notify import endpoint_standing as endpoint_rows
from syncsvc.worker.status_page import health, page_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Engine

    from syncsvc.fleet.overview import AccountOverview, Overview
    from syncsvc.vocabulary import Lane

NEEDING_SHOWN = 50
PAGE_LENGTH = 100
RUNS_SHOWN = 10
CHANGES_SHOWN = 20
CLASSES = {
    Standing.OK: "ok",
    Standing.FAILING: "wrong",
    Standing.LATE: "wrong",
    Standing.WITHHELD: "look",
    Standing.NEVER: "look",
    Standing.PAUSED: "",
}


class SlotsInUse(msgspec.Struct, frozen=True):
    """
    What one lane of this worker does now.
    """

    lane: Lane
    used: int
    slots: int


class FleetPages:
    """
    The pages, rendered again by each call; all but that of one account from the overview alone.

    Args:
        overview: Reads how all accounts stand.
        slots: Returns what this worker does now.
        down: Returns for each host whether this worker finds it to be down.
    """

    def __init__(
        self,
        engine: Engine,
        overview: Callable[[], Overview],
        slots: Callable[[], Sequence[SlotsInUse]],
        down: Callable[[], Mapping[str, bool]],
    ) -> None:
        self._engine = engine
        self._overview = overview
        self._slots = slots
        self._down = down
        self._templates = page_environment()

    def summary(self) -> str:
        """
        Render the first page; without the database it shows the error.
        """
        shown: dict[str, Any] = {"overview": None, "problem": None}
        try:
            overview = self._overview()
            with transactions.short_read(self._engine) as connection:
                shown["endpoints"] = endpoint_rows.every(connection)
        except SyncError as exc:
            shown["problem"] = str(exc)
        else:
            troubled = overview.need_a_look()
            shown |= {
                "overview": overview,
                "counts": overview.counts(),
                "needing": troubled[:NEEDING_SHOWN],
                "left_out": max(len(troubled) - NEEDING_SHOWN, 0),
            }
        down = [host for host, is_down in self._down().items() if is_down]
        return self._render("fleet_page.html.j2", **shown, slots=self._slots(), down=down)

    def accounts(self, asked: Mapping[str, str]) -> str | None:
        """
        Render a page of the list: of those that stand so, with this in their names, after a name.
        """
        state, part, after = (asked.get(name, "") for name in ("state", "q", "after"))
        if state and state not in set(Standing):
            return None
        try:
            found = _matching(self._overview().accounts, state, part)
        except SyncError as exc:
            return self._render("fleet_page.html.j2", overview=None, problem=str(exc))
        following = [each for each in found if each.account > after]
        return self._render(
            "fleet_accounts.html.j2",
            accounts=following[:PAGE_LENGTH],
            found=len(found),
            more=len(following) > PAGE_LENGTH,
            asked={"state": state, "q": part},
        )

    def account(self, asked: Mapping[str, str]) -> str | None:
        """
        Render one account: its state, its last runs and its last changes.
        """
        name = asked["name"]
        try:
            overview = self._overview()
            row = next((each for each in overview.accounts if each.account == name), None)
            if row is None:
                return None
            with transactions.short_read(self._engine) as connection:
                status = account_and_run_queries.account_status(connection, name)
                runs = account_and_run_queries.last_runs(connection, name, RUNS_SHOWN)
                changes = account_and_run_queries.latest_changes(connection, CHANGES_SHOWN, name)
        except SyncError as exc:
            return self._render("fleet_page.html.j2", overview=None, problem=str(exc))
        return self._render(
            "fleet_account.html.j2",
            row=row,
            standing=status,
            verdict=health(status, overview.at, 2 * row.interval),
            runs=runs,
            changes=changes,
            now=overview.at,
            place=1,
        )

    def _render(self, template: str, **shown: Any) -> str:  # noqa: ANN401 - what a template shows
        return self._templates.get_template(template).render(classes=CLASSES, **shown)


def _matching(accounts: Sequence[AccountOverview], state: str, part: str) -> list[AccountOverview]:
    """
    Return the accounts that stand so, if a state is given, and have this in their names.
    """
    wanted = part.casefold()
    return [
        each
        for each in accounts
        if (not state or each.standing == state) and wanted in each.account.casefold()
    ]
