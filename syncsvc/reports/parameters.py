"""
What reports may be told, read from the words of a command line.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec

from syncsvc.errors import ReportUsageError
from syncsvc.payloads.values import alpha2
from syncsvc.reports.report import Asked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from syncsvc.reports.report import Report

A_CENTURY = {"days": 36_500, "months": 1_200, "hours": 876_000}
MANY = 1_000_000_000


class Parameter(msgspec.Struct, frozen=True):
    """
    One thing that reports may be told.

    Attributes:
        read: Gives its value, or raises a ValueError that says what it should be.
    """

    name: str
    metavar: str
    meaning: str
    read: Callable[[str], Any]

    @property
    def flag(self) -> str:
        """
        As it is written on a command line.
        """
        return f"--{self.name.replace('_', '-')}"


def _moment(text: str) -> datetime:
    """
    A time, or the end of a day.
    """
    try:
        if len(text) == len("2026-03-31"):
            day = date.fromisoformat(text) + timedelta(days=1)
            return datetime.combine(day, time.min, UTC) - timedelta(microseconds=1)
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("a date such as 2026-03-31, or a time such as 2026-03-31T12:00Z") from None


def _whole(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and 0 < int(text[:20]) <= most:
            return int(text)
        raise ValueError(f"a whole number from 1 to {most:,}")

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
            "The state as it was known then: at the end of that day (UTC), or at a time.",
            _moment,
        ),
        Parameter("days", "N", "So many days.", _whole(A_CENTURY["days"])),
        Parameter("months", "N", "So many months, this one included.", _whole(A_CENTURY["months"])),
        Parameter("country", "CODE", "Only numbers of this country.", _country),
        Parameter("at_least", "N", "How many are many.", _whole(MANY)),
        Parameter("hours", "N", "How old the last success may be.", _whole(A_CENTURY["hours"])),
        Parameter("limit", "N", "No more rows than this.", _whole(MANY)),
    )
}


def read_parameters(report: Report, words: Sequence[str], account: str, now: datetime) -> Asked:
    """
    What a command line tells a report: `--days 30`, or `--days=30`.

    Raises:
        ReportUsageError: It does not take that; with what it takes.
    """
    given = dict(report.takes)
    rest = list(words)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        parameter = _taken(report, flag)
        if not equals:
            if not rest:
                raise _refusal(report, f"{flag} needs a value.")
            value = rest.pop(0)
        try:
            given[parameter.name] = parameter.read(value)
        except ValueError as exc:
            raise _refusal(report, f"{flag} {value!r} is not {exc}.") from None
    return Asked(account=account, now=now, **given)


def _taken(report: Report, flag: str) -> Parameter:
    known = {PARAMETERS[name].flag: PARAMETERS[name] for name in report.takes}
    if flag in known:
        return known[flag]
    if not flag.startswith("-"):
        raise _refusal(report, f"unexpected argument {flag!r}.")
    near = get_close_matches(flag, known, n=1)
    raise _refusal(report, f"it takes no {flag}." + (f" Did you mean {near[0]}?" if near else ""))


def _refusal(report: Report, problem: str) -> ReportUsageError:
    return ReportUsageError(f"{report.name}: {problem} It takes {signature(report)}.")


def signature(report: Report) -> str:
    """
    What a report takes, with its defaults: `--days N (30), --limit N`.
    """
    told = (
        f"{PARAMETERS[name].flag} {PARAMETERS[name].metavar}"
        + (f" ({default})" if default is not None else "")
        for name, default in report.takes.items()
    )
    return ", ".join(told) or "no parameters"
