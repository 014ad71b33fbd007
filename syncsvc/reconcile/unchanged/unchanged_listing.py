"""
What of a listing is as it was: rows that are only remembered, and pages that were skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncsvc.reconcile.unchanged.changed_addresses import contents_by_id, digest_of_all
from syncsvc.reconcile.unchanged.note_pages import NotedPages
from syncsvc.reconcile.unchanged.page_store import SkippedPages, trusted
from syncsvc.reconcile.unchanged.remember_unchanged import UnchangedRows

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from syncsvc.payloads.fingerprint import Known
    from syncsvc.payloads.records import Page


class UnchangedListing:
    """
    The unchanged rows of the listing that is being read, as far as they are not staged.

    Attributes:
        known: The fingerprints by which rows are taken for unchanged, and the pages.
        addresses: Digests of the addresses in the tables, by id; none if rows are not remembered.
        remembered: The rows that were looked at; None if all are staged.
        skipped: The pages whose rows were not looked at.
    """

    def __init__(self, connection: Connection, account: str, known: Known) -> None:
        self.known = known
        contents: dict[int, bytes] | None = {}
        with connection.begin():
            if known:
                contents = contents_by_id(connection, account)
        if contents is not None:
            known.pages = trusted(known, digest_of_all(contents))
        self.addresses = contents or {}
        self.remembered = UnchangedRows(known) if known and contents is not None else None
        self.skipped = SkippedPages(connection, account, known)
        self._noted = NotedPages() if known.pages.are_noted else None

    def close(self) -> None:
        """
        Forget all of it.
        """
        self.stop_noting()
        if self.remembered is not None:
            self.remembered.close()

    def stop_noting(self) -> None:
        """
        Look at all rows from now on, and do not note their pages.
        """
        self.known.pages.stop()
        if self._noted is not None:
            self._noted.close()
            self._noted = None

    @property
    def is_remembered(self) -> bool:
        """
        Unchanged rows are remembered, not staged.
        """
        return self.remembered is not None

    @property
    def rows(self) -> int:
        """
        Count the distinct numbers.
        """
        return self.skipped.rows + (0 if self.remembered is None else len(self.remembered))

    @property
    def has_skipped_all(self) -> bool:
        """
        Every live number is on a page that is as it was.
        """
        return 0 < self.skipped.rows == self.known.total

    @property
    def noted(self) -> NotedPages | None:
        """
        The pages of the listing, if it was read in one walk and the tables may agree with all rows.
        """
        return self._noted if self._noted is not None and self._noted.are_all else None

    def note(self, page: Page) -> None:
        """
        Note a page for the next run, if that is wanted.
        """
        if self._noted is not None:
            self._noted.note(page)

    def take(self, page: Page, first: int) -> bool:
        """
        Remember the unchanged rows of a page, if that is possible.

        Args:
            first: The position of the first row.
        """
        return self.remembered is not None and self.remembered.take(page.rows, first)

    def of_part(self, part: str) -> int:
        """
        Count the numbers of a part. Skipped pages have to be looked at before.
        """
        return 0 if self.remembered is None else self.remembered.of_part(part)

    def fingerprints(self, part: str) -> list[int]:
        """
        Return the fingerprints of a part's numbers, as `of_part` counts them.
        """
        return [] if self.remembered is None else self.remembered.fingerprints(part)

    def uuids(self, parts: Collection[str]) -> set[bytes]:
        """
        Return the uuids of the numbers of some parts, as `of_part` counts them.
        """
        return set() if self.remembered is None else self.remembered.uuids(parts)
