"""
Every failure of the service, grouped by who must act.

A class's docstring is the headline of its message; the detail given when it
is raised says what was found and what to do about it.
"""

from __future__ import annotations


class SyncError(Exception):
    """
    The sync could not be carried out.
    """

    def __init__(self, detail: str = "") -> None:
        headline = " ".join((type(self).__doc__ or "").split())
        super().__init__(
            headline + detail if detail[:1] == "\n" else f"{headline} {detail}".strip()
        )


class WaitAndSee(SyncError):
    """
    This may pass by itself; the next run is the retry.
    """


class ProviderUnavailable(WaitAndSee):
    """
    The provider did not answer properly.
    """

    def __init__(self, detail: str = "", *, reason: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.retry_after = retry_after


class DeadlineExceeded(WaitAndSee):
    """
    The run took longer than SYNCSVC_RUN_DEADLINE allows.
    """


class DatabaseUnavailable(WaitAndSee):
    """
    The database did not carry out what it was asked.
    """


class RunInProgress(WaitAndSee):
    """
    Another run of this account holds the lock.
    """


class NeedsOperator(SyncError):
    """
    Somebody has to look at this.
    """


class ConfigurationError(NeedsOperator):
    """
    The settings can't be used.
    """


class SchemaNotCurrent(NeedsOperator):
    """
    The database's schema is not the one that this version needs.
    """


class ProviderRefused(NeedsOperator):
    """
    The provider rejected our request.
    """


class NoSuchListing(ProviderRefused):
    """
    The provider shows no such listing to this account.
    """


class MisusedReport(NeedsOperator):
    """
    This report can't be made.
    """


class UnknownNumber(NeedsOperator):
    """
    This number is not known.
    """
