from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from support.build import profile
from support.processes import on_terminal, piped_from
from syncsvc.output.formats import csv_json
from syncsvc.reports import PARAMETERS, REPORTS, Column, Kind
from syncsvc.schema.tables import numbers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from support.build import Result

HOSTILE = ["=1+1", "@SUM(A1)", "-2", "\t=1", "\r=1", "+1+cmd|' /C calc'!A0", "＝1", "\0=1"]  # noqa: RUF001 - a wide one
SEPARATORS = [",", ";", "\t", "|", "\n"]
WORDS = Column("words", Kind.TEXT, "What was sent.")


def test_the_list_names_every_report(cli: Callable[..., Result]) -> None:
    """
    Without a name every report is listed with its meaning, and no database is needed.
    """
    listed = cli("report", "--format", "json")
    for_people = cli("report").out

    assert listed.code == 0
    rows = json.loads(listed.out)
    assert list(REPORTS) == [row["name"] for row in rows]
    assert all(name in for_people for name in REPORTS)
    assert "--at DATE, --country CODE" in {row["takes"] for row in rows}


def test_a_report_is_printed_as_a_table(report: Callable[..., Result]) -> None:
    """
    A table shows amounts to the cent, aligned and with no line folded if stdout is no terminal.
    """
    answer = report("spend-by-country")

    assert answer.code == 0
    lines = [line.split() for line in answer.out.splitlines() if line.strip()]
    assert ["GB", "United", "Kingdom", "3", "0", "2.95"] in lines
    assert lines[-1] == ["Total", "9", "0", "12.40"]
    for other in ("csv", "json"):
        assert "Total" not in report("spend-by-country", "--format", other).out


def test_csv_can_be_read_back(report: Callable[..., Result]) -> None:
    """
    CSV has a heading, lines that end in CRLF, exact amounts, one form of time, nothing for NULL.
    """
    answer = report("days-to-provision", "--days", "365", "--format", "csv")

    assert answer.out.count("\r\n") == answer.out.count("\n") == 3
    waiting, provisioned = csv.DictReader(io.StringIO(answer.out, newline=""))
    assert waiting["number_e164"] == "+33199000009"
    assert (waiting["provisioned_at"], waiting["days"]) == ("", "58.0")
    assert provisioned["listed_at"] == "2026-02-01T06:00:00.000000"
    assert provisioned["provisioned_at"] == "2026-02-11T14:00:00.000000"


def test_json_is_exact(report: Callable[..., Result]) -> None:
    """
    JSON is an array of objects with amounts as strings, ISO times and null.
    """
    changed = json.loads(report("charges-changed", "--format", "json").out)
    nothing = json.loads(report("charges-changed", "--days=1", "--format=json").out)

    assert nothing == []
    assert changed == [
        {
            "number_e164": "+493023125005",
            "uuid": "00000000-0000-4000-8000-000000000005",
            "country_alpha2": "DE",
            "valid_from": "2026-03-09T06:00:00Z",
            "event": "changed",
            "monthly_charge_before": "1.2500",
            "monthly_charge_after": "1.5000",
            "monthly_difference": "0.2500",
            "setup_charge_before": None,
            "setup_charge_after": None,
        }
    ]


def test_parameters_may_stand_anywhere(report: Callable[..., Result]) -> None:
    """
    The name may follow a report's parameters and the command's own.
    """
    after = report("latest-changes", "--limit", "2", "--format", "csv")
    before = report("--limit", "2", "--format", "csv", "latest-changes")

    assert after == before
    assert len(after.out.splitlines()) == 3


def test_an_account_is_asked_for(report: Callable[..., Result]) -> None:
    """
    A report looks at one account, but for those over all; one that is not there ends with 1.
    """
    branch = report("spend-by-country", "--account", "branch", "--format", "json")
    nobody = report("spend-by-country", "--account", "brunch", "--format", "json")
    over_all = report("same-number-twice", "--account", "nobody", "--format", "json")

    assert [row["numbers"] for row in json.loads(branch.out)] == [1]
    assert (nobody.code, nobody.out) == (1, "")
    assert "There is no account 'brunch' in this database. There are: branch, …" in nobody.err
    assert {"default", "branch"} == {row["account"] for row in json.loads(over_all.out)}
    assert over_all.err == ""


def test_an_address_that_is_not_known(report: Callable[..., Result]) -> None:
    """
    The numbers at an address are listed; one that the account never had ends with 1.
    """
    known = report("numbers-at-address", "--address", "2", "--format", "json")
    unknown = report("numbers-at-address", "--address", "99")

    assert {row["country_alpha2"] for row in json.loads(known.out)} == {"DE"}
    assert (unknown.code, unknown.out) == (1, "")
    assert "No address 99 in account 'default'." in unknown.err


@pytest.mark.parametrize(
    "words", [("runs",), ("history", "+442079460001"), ("report", "--html", "page.html")]
)
def test_every_command_refuses_an_account_that_is_not_there(
    report: Callable[..., Result], cli: Callable[..., Result], words: tuple[str, ...]
) -> None:
    """
    A misspelt account is no empty answer, but an error with the nearest names.
    """
    assert report("trust").code == 0

    answer = cli(*words, "--account", "Default")

    assert (answer.code, answer.out) == (1, "")
    assert "There is no account 'Default' in this database. There are: default" in answer.err


def test_today_is_no_future(report: Callable[..., Result]) -> None:
    """
    Today's date, whose end is to come, is the state as of now.
    """
    today = report("spend-by-country", "--at", "2026-05-29", "--format", "csv")

    assert (today.code, today.err) == (0, "")
    assert today.out == report("spend-by-country", "--format", "csv").out


@pytest.mark.parametrize("name", ["month-end", "churn-by-month"])
def test_a_running_month_is_named(report: Callable[..., Result], name: str) -> None:
    """
    The figures of a month that has not ended are no month's end.
    """
    assert "2026-05 is still running: its figures are those until now." in report(name).err
    assert "still running" not in report("spend-by-country").err


def test_a_date_before_everything_is_told(report: Callable[..., Result]) -> None:
    """
    An answer that is empty because nothing was known yet says so.
    """
    answer = report("spend-by-country", "--at", "2025-12-31", "--format", "csv")

    assert answer.out.splitlines() == [
        "country_alpha2,country_name,numbers,without_charge,monthly_charge"
    ]
    assert "Nothing was known before 2026-02-01 06:00:00 UTC." in answer.err


@pytest.mark.parametrize(
    "words", [("spned",), ("--limit", "3", "spned"), ("--limit=3", "spned"), ("spned", "--x", "1")]
)
def test_an_unknown_report_is_told_before_a_missing_database(
    cli: Callable[..., Result], words: tuple[str, ...]
) -> None:
    """
    The name is looked up first, whether the parameters come after it or before.
    """
    answer = cli("report", *words)

    assert answer.code == 2
    assert "Unknown report 'spned'. Did you mean spend-by-country?" in answer.err


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["spned"], "Unknown report 'spned'. Did you mean spend-by-country?"),
        (["trust", "--days", "3"], "trust: it takes no --days. It takes --hours N (24)."),
        (
            ["month-end", "--months", "none"],
            "--months 'none' is not a whole number from 1 to 1,200",
        ),
        (
            ["spend-by-country", "--at", "2026-05-30"],
            "--at is in the future; it is 2026-05-29 06:00 UTC.",
        ),
        (["spend-by-range", "--at=2026-05-29T06:01Z"], "--at is in the future"),
        (["charges-changed", "--since", "2026-06-01"], "--since is in the future"),
        (["--limit", "3"], "--limit belongs to a report: name the report."),
        (
            ["trust", "--html", "x.html"],
            "--html writes one page with all reports; leave 'trust' out.",
        ),
    ],
)
def test_what_can_not_be_answered_ends_with_2(
    report: Callable[..., Result], words: list[str], complaint: str
) -> None:
    """
    An unknown name or a wrong parameter is a misuse, and says what would do.
    """
    answer = report(*words)

    assert answer.code == 2
    assert complaint in answer.err
    assert answer.out == ""


@pytest.mark.parametrize("name", REPORTS)
def test_help_tells_what_a_report_takes(cli: Callable[..., Result], name: str) -> None:
    """
    With a name, --help tells meaning, parameters, columns and an example; without one, the command.
    """
    told = cli("report", name, "--help").out

    assert REPORTS[name].meaning in told
    for parameter in REPORTS[name].takes:
        assert PARAMETERS[parameter].flag in told
    assert all(column.meaning in told for column in REPORTS[name].columns)
    assert f"Example: syncsvc report {name}" in told
    assert "Example: syncsvc report spend-by-country" in cli("report", "-h").out


def test_a_file_is_written_whole_or_not_at_all(
    report: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file is replaced in the end, keeps its permissions, and is left alone by what fails.
    """
    path = tmp_path / "spend.csv"
    path.write_text("as it was")
    path.chmod(0o640)
    with monkeypatch.context() as broken:
        broken.setattr(csv_json, "csv_lines", _break_off)
        with pytest.raises(ZeroDivisionError):
            report("spend-by-country", "--format", "csv", "--output", str(path))
    before = path.read_text()

    answer = report("spend-by-country", "--format", "csv", "--output", str(path))

    assert before == "as it was"
    assert (answer.code, answer.out) == (0, "")
    assert path.read_bytes().startswith(b"country_alpha2,country_name,numbers")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [path] == list(tmp_path.glob("*spend*"))


def _break_off(*_: object) -> Any:
    yield "country"
    raise ZeroDivisionError


def test_a_new_file_is_as_readable_as_any(report: Callable[..., Result], tmp_path: Path) -> None:
    """
    A new file has the permissions that the umask leaves, and a table in it is not folded.
    """
    mask = os.umask(0o027)
    try:
        report("latest-changes", "--output", str(tmp_path / "changes.txt"))
    finally:
        os.umask(mask)

    assert stat.S_IMODE((tmp_path / "changes.txt").stat().st_mode) == 0o640
    lines = (tmp_path / "changes.txt").read_text().splitlines()
    assert any("+12125550108" in line and "cancelled → live" in line for line in lines)


def test_a_place_that_can_not_be_written_is_named(
    report: Callable[..., Result], tmp_path: Path
) -> None:
    """
    A directory that is not there is a misuse that names the file.
    """
    answer = report("trust", "--format", "csv", "--output", str(tmp_path / "gone" / "trust.csv"))

    assert answer.code == 2
    assert "gone/trust.csv can't be written: No such file or directory." in answer.err


def test_a_device_is_written_to(report: Callable[..., Result]) -> None:
    """
    What is no file is written to, and not replaced.
    """
    assert report("trust", "--format", "csv", "--output", "/dev/null").code == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116 - as the shell sees it


@pytest.mark.parametrize("text", HOSTILE)
def test_a_spreadsheet_runs_nothing_that_was_sent(text: str) -> None:
    """
    A cell that a spreadsheet would take for a formula is given a leading apostrophe.
    """
    _, line = csv_json.csv_lines([WORDS], [{"words": text}])

    [[cell]] = csv.reader(io.StringIO(line, newline=""))
    assert (cell[0], cell.replace("'", "")) == ("'", text.replace("'", ""))


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_has_one_form_in_csv(moment: datetime) -> None:
    """
    Every time has as many digits as any other, and is read back as it was.
    """
    _, line = csv_json.csv_lines([Column("at", Kind.MOMENT, "")], [{"at": moment}])

    assert len(line) == len("2026-03-31T12:00:00.000000\r\n")
    assert datetime.fromisoformat(line.strip()).replace(tzinfo=UTC) == moment


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("output_format", ["csv", "json"])
def test_only_a_terminal_gets_controls_escaped(known_inventory: Engine, output_format: str) -> None:
    """
    CSV and JSON of a text that would colour a terminal are escaped there, and exact in a pipe.
    """
    with known_inventory.begin() as connection:
        connection.execute(update(numbers).values(range_name="\x9b31m\x1b[31m"))
    url = known_inventory.url.render_as_string(hide_password=False)
    environ = {**os.environ, "SYNCSVC_DATABASE_URL": url, "TERM": "xterm"}
    words = ("report", "spend-by-range", "--format", output_format)

    seen = on_terminal(words, 80, environ)
    piped = piped_from(words, environ)

    assert "\\u009b31m\\u001b[31m" in seen
    assert not {"\x1b", "\x9b"} & set(seen)
    assert "\x9b31m" in piped


@given(st.text(st.characters(codec="utf-8")))
def test_a_terminal_gets_no_control_characters(text: str) -> None:
    """
    What was sent never commands a terminal, and JSON says the same escaped.
    """
    lines = csv_json.json_lines([WORDS], [{"words": text}])
    shown = "".join(csv_json.without_controls(lines))
    (line,) = csv_json.without_controls([text])

    for printed in (shown, line):
        assert not any(unicodedata.category(c) == "Cc" and c not in "\t\r\n" for c in printed)
    assert json.loads(shown) == [{"words": text}]


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("before", ["Office", "", " ", '"', "\r", "'"])
@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", ' "=1+1"', "\t=1", "\0=1"])
def test_no_separator_makes_a_formula_of_a_part(separator: str, before: str, formula: str) -> None:
    """
    Wherever a spreadsheet splits a cell, no part of it begins as a formula.
    """
    assert formulas(f"{before}{separator}{formula}{separator}x", separator) == []


@profile
@given(st.text("=+-@＝,;|\t\n\r\0 \"'x1"), st.sampled_from(SEPARATORS))  # noqa: RUF001 - a wide one
def test_no_text_hides_a_formula(text: str, separator: str) -> None:
    """
    Nor is there a formula in any other text of such characters, E.164 numbers apart.
    """
    assert re.fullmatch(r"\+\d+", text) or formulas(text, separator) == []


def formulas(text: str, separator: str) -> list[str]:
    """
    The cells that begin as formulas where a text is written as CSV and split at a separator.
    """
    _, line = csv_json.csv_lines([WORDS], [{"words": text}])
    parts = [part.strip(' "\0') for row in line.splitlines() for part in row.split(separator)]
    return [part for part in parts if part[:1] in {*"=+-@＝"}]  # noqa: RUF001 - a wide one


@pytest.mark.parametrize("text", ["+441245123456", "plain", "a=b", "", "'quoted"])
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    """
    An E.164 number and other harmless texts are written as they are.
    """
    _, line = csv_json.csv_lines([WORDS], [{"words": text}])

    assert [[text]] == list(csv.reader(io.StringIO(line, newline=""))) or text == ""


@profile
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_any_text_survives_csv_and_json(texts: list[str]) -> None:
    """
    Whatever was sent is read back, but for apostrophes before formulas in CSV.
    """
    columns = [Column(f"c{place}", Kind.TEXT, "") for place in range(len(texts))]
    row = {column.name: text for column, text in zip(columns, texts, strict=True)}

    _, line = csv_json.csv_lines(columns, [row])
    (read,) = csv.reader(io.StringIO(line, newline=""))

    assert [text.replace("'", "") for text in texts] == [cell.replace("'", "") for cell in read]
    assert [row] == json.loads("".join(csv_json.json_lines(columns, [row])))


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (Decimal("1234.5000"), Kind.AMOUNT, "1,234.50"),
        (Decimal("0.0125"), Kind.AMOUNT, "0.0125"),
        (Decimal("-0.3000"), Kind.AMOUNT, "-0.30"),
        (1234567, Kind.NUMBER, "1,234,567"),
        (date(2026, 3, 1), Kind.MONTH, "2026-03"),
        (datetime(2026, 3, 1, 7, 8, 9, 10, tzinfo=UTC), Kind.MOMENT, "2026-03-01 07:08:09"),
        (Decimal("3.8"), Kind.DAYS, "3.8"),
        (None, Kind.AMOUNT, ""),
    ],
)
def test_people_read_values_at_a_glance(value: object, kind: Kind, expected: str) -> None:
    """
    Amounts have cents, or more if there is more; counts have separators; months are months.
    """
    assert expected == csv_json.shown(value, kind)
