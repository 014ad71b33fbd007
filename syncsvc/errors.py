"""
Every failure of the service, grouped by who must act.

A message is what is wrong with the thing it names, then what to do about it.
"""

from __future__ import annotations

from typing import ClassVar, Self


class SyncError(Exception):
    """
    A failure that the service reports in a message of its own.

    Args:
        message: Whole sentences; the class's own if it is empty.
    """

    default: ClassVar[str] = "The command failed. The log says why."

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.default)


class TransientError(SyncError):
    """
    A failure that may pass by itself; the next run is the retry.
    """

    default = "The run failed. Retry later."


class ProviderUnavailable(TransientError):
    """
    The provider can't be reached, or sends no usable response.

    Attributes:
        reason: A short word for metrics, such as an HTTP status.
        retry_after: Seconds to wait before the next attempt, if the provider asks for that.
    """

    default = "The provider is unavailable. Retry later."

    def __init__(self, message: str = "", *, reason: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class HostDown(ProviderUnavailable):
    """
    The provider's host gave no usable answer to others' requests, so no further one is made.
    """

    default = "The provider's host is down. It is tried again by itself."


class DeadlineExceeded(TransientError):
    """
    A run took longer than SYNCSVC_RUN_DEADLINE allows.
    """

    default = (
        "The run took longer than SYNCSVC_RUN_DEADLINE allows. "
        "Raise it if that happens again, or find out what is slow."
    )

    @classmethod
    def during(cls, step: str) -> Self:
        """
        Return the error for a run that ran out of time in this step.
        """
        return cls(
            f"The run took longer than SYNCSVC_RUN_DEADLINE allows (it was {step}). "
            "Raise it if that happens again, or find out what is slow."
        )


class DatabaseUnavailable(TransientError):
    """
    The database can't be reached, or reports an error.
    """

    default = "The database reported an error. Run `syncsvc check`."


class RunInProgress(TransientError):
    """
    Another run has the account's lock.
    """

    default = "Another run of this account is in progress. Retry when it has finished."


class ActionRequired(SyncError):
    """
    A failure that lasts until somebody does something about it.
    """

    default = "The command needs somebody to act. The log says why."


class ConfigurationError(ActionRequired):
    """
    A setting, an option or a file named by one can't be used.
    """

    default = "The settings can't be used. Run `syncsvc check`."


class SchemaNotCurrent(ActionRequired):
    """
    The database's schema is not the one that this version needs.
    """

    default = "The database's schema is not current. Run `syncsvc migrate` with the same settings."


class ProviderRefused(ActionRequired):
    """
    The provider rejects the request, and would do so again.
    """

    default = "The provider rejected the request. Check the credentials and SYNCSVC_API_URL."


class NoSuchListing(ProviderRefused):
    """
    The provider does not offer a listing to this account.
    """

    default = "The provider does not offer this listing to this account. Ask the provider."


class ReportUsageError(ActionRequired):
    """
    There is no report of that name, or it does not take these parameters.
    """

    default = "The report can't be made. `syncsvc report` lists all."


class UnknownAccount(ActionRequired):
    """
    An account never had a run, and others had.
    """

    default = "The account is not known. Check --account and SYNCSVC_ACCOUNT."


class UnknownEndpoint(ActionRequired):
    """
    There is no endpoint of webhooks by that name.
    """

    default = "The endpoint is not known. `syncsvc notify list` shows all."


class UnknownNumber(ActionRequired):
    """
    An account never had a number.
    """

    default = "The number is not known. Numbers look like +441245123456."


class UnknownAddress(ActionRequired):
    """
    An account never had an address.
    """

    default = "The address is not known. `syncsvc report inventory` shows the ids of addresses."
