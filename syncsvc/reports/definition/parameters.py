"""
The parameters of reports, and how their values are read from a command line.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.country_alpha2 import alpha2
from syncsvc.errors import ReportUsageError
from syncsvc.reports.definition.report import EVERY_LIFECYCLE, ONE_DAY, REQUIRED, Arguments
from syncsvc.vocabulary import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from syncsvc.reports.definition.report import Report

CENTURY = {"days": 36_500, "months": 1_200, "hours": 876_000}
PAST = {"at", "since", "start", "end"}
A_BILLION = 1_000_000_000
LARGEST_ID = 2**63 - 1
A_MOMENT = "a date such as 2026-03-31, or a time such as 2026-03-31T12:00Z"


class Parameter(msgspec.Struct, frozen=True):
    """
    A parameter of reports.

    Attributes:
        name: The field of `Arguments`.
        read: Returns its value, or raises a ValueError that says what it should be.
        option: Its name on a command line, if it is another.
    """

    name: str
    metavar: str
    meaning: str
    read: Callable[[str], Any]
    option: str = ""

    @property
    def flag(self) -> str:
        """
        The parameter's name on a command line.
        """
        return f"--{self.option or self.name.replace('_', '-')}"


def _end_of_day(text: str) -> datetime:
    """
    Read a time, or a date as the end of that day.
    """
    if len(text) > len("2026-03-31"):
        return moment_of(text)
    try:
        return moment_of(text) + ONE_DAY - timedelta(microseconds=1)
    except OverflowError:
        raise ValueError(A_MOMENT) from None


def moment_of(text: str) -> datetime:
    """
    Read a time, or a date as the start of that day.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(A_MOMENT) from None


def _month(text: str) -> date:
    """
    Read a month as its first day.
    """
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        raise ValueError("a month such as 2026-03") from None


def _whole_number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and 0 < int(text[:20]) <= most:
            return int(text)
        raise ValueError(f"a whole number from 1 to {most:,}")

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() in words:
            return text.lower()
        raise ValueError(f"one of {', '.join(words)}")

    return read


def _country(text: str) -> str:
    code = alpha2(text)
    if code is None:
        raise ValueError("an ISO 3166-1 code such as GB")
    return code


PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "at",
            "DATE",
            "Show the state as known at the end of that day (UTC), or at that time.",
            _end_of_day,
        ),
        Parameter("days", "N", "Look back N days.", _whole_number(CENTURY["days"])),
        Parameter(
            "since",
            "DATE",
            "Look back to the start of that day (UTC), or to that time, instead of N days.",
            moment_of,
        ),
        Parameter(
            "until",
            "DATE",
            "Leave out what is later than the end of that day (UTC), or than that time.",
            _end_of_day,
        ),
        Parameter(
            "start",
            "DATE",
            "Start with what was known at the end of that day (UTC), or at that time.",
            _end_of_day,
            option="from",
        ),
        Parameter(
            "end",
            "DATE",
            "End with what was known at the end of that day (UTC), or at that time; now if it is "
            "left out.",
            _end_of_day,
            option="to",
        ),
        Parameter(
            "month",
            "MONTH",
            "The month, such as 2026-03; the last whole one if it is left out.",
            _month,
        ),
        Parameter(
            "months", "N", "Show N months, this one included.", _whole_number(CENTURY["months"])
        ),
        Parameter(
            "lifecycle",
            "WHICH",
            "Show numbers that are live or cancelled, or all.",
            _one_of(*Lifecycle, EVERY_LIFECYCLE),
        ),
        Parameter("address", "ID", "The provider's id of the address.", _whole_number(LARGEST_ID)),
        Parameter("country", "CODE", "Show only numbers of this country.", _country),
        Parameter("at_least", "N", "Show groups of at least N numbers.", _whole_number(A_BILLION)),
        Parameter(
            "hours",
            "N",
            "Accept a last success up to N hours old.",
            _whole_number(CENTURY["hours"]),
        ),
        Parameter("limit", "N", "Show at most N rows.", _whole_number(A_BILLION)),
    )
}


def read_arguments(report: Report, words: Sequence[str], account: str, now: datetime) -> Arguments:
    """
    Read the parameters of a report from a command line: `--days 30`, or `--days=30`.

    Raises:
        ReportUsageError: A parameter is unknown or its value can't be read; the message
            lists the valid ones.
    """
    given: dict[str, Any] = {}
    rest = list(words)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        parameter = _known_parameter(report, flag)
        if not equals:
            if not rest:
                raise _usage_error(report, f"{flag} needs a value.")
            value = rest.pop(0)
        try:
            given[parameter.name] = parameter.read(value)
        except ValueError as exc:
            raise _usage_error(report, f"{flag} {value!r} is not {exc}.") from None
    _require_order(report, given)
    _require_past(report, given, now)
    taken = {**report.takes, **given}
    for name, value in taken.items():
        if value is REQUIRED:
            raise _usage_error(report, f"it needs {PARAMETERS[name].flag}.")
    return Arguments(account=account, now=now, **taken)


def _require_order(report: Report, given: dict[str, Any]) -> None:
    if "since" in given and "days" in given:
        raise _usage_error(report, "give --days or --since, not both.")
    if "since" in given and "until" in given and given["since"] > given["until"]:
        raise _usage_error(report, "--since is later than --until.")
    if "start" in given and "end" in given and given["start"] >= given["end"]:
        raise _usage_error(report, "--from is not earlier than --to.")


def _require_past(report: Report, given: dict[str, Any], now: datetime) -> None:
    """
    Refuse times of which nothing can be known yet; today's date is its end, which is to come.
    """
    if "month" in given and given["month"] > now.date():
        raise _usage_error(report, f"--month is in the future; it is {now:%Y-%m}.")
    tomorrow = now.replace(hour=0, minute=0, second=0, microsecond=0) + ONE_DAY
    for name in PAST.intersection(given):
        end_of_a_day = given[name] + timedelta(microseconds=1)
        if given[name] > now and end_of_a_day != tomorrow:
            raise _usage_error(
                report, f"{PARAMETERS[name].flag} is in the future; it is {now:%Y-%m-%d %H:%M} UTC."
            )


def _known_parameter(report: Report, flag: str) -> Parameter:
    known = {PARAMETERS[name].flag: PARAMETERS[name] for name in report.takes}
    if flag in known:
        return known[flag]
    if not flag.startswith("-"):
        raise _usage_error(report, f"unexpected argument {flag!r}.")
    near = get_close_matches(flag, known, n=1)
    raise _usage_error(
        report, f"it takes no {flag}." + (f" Did you mean {near[0]}?" if near else "")
    )


def _usage_error(report: Report, problem: str) -> ReportUsageError:
    return ReportUsageError(f"{report.name}: {problem} It takes {signature(report)}.")


def signature(report: Report) -> str:
    """
    Format the parameters of a report, with their defaults: `--days N (30), --limit N`.
    """
    parameters = (
        f"{PARAMETERS[name].flag} {PARAMETERS[name].metavar}{_default(default)}"
        for name, default in report.takes.items()
    )
    return ", ".join(parameters) or "no parameters"


def _default(value: object) -> str:
    if value is None:
        return ""
    return " (required)" if value is REQUIRED else f" ({value})"
