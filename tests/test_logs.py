"""
Logs: one form for all records, on a terminal and elsewhere, and nothing in them that is secret.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from syncsvc.logs import QUIET, set_up_logging

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "hunter2-never-show-this"


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """
    The loggers of the process are put back after each test.
    """
    loggers = [logging.getLogger(), *map(logging.getLogger, QUIET)]
    before = [(logger, logger.level, logger.handlers) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.handlers = handlers
        logger.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """
    The JSON records on stderr, while nothing stands on stdout.
    """
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def fail_with_secret() -> None:
    """
    Fail if a variable holds a secret.
    """
    token = SECRET
    raise RuntimeError(f"after {len(token)} characters")


def test_a_record_is_one_json_object_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Off a terminal, a record has its event, its fields, a level and a time in UTC.
    """
    set_up_logging()

    structlog.get_logger("syncsvc").info("sync.started", run_id=7, name="Zürich\n")

    [record] = lines(capsys)
    stamp = datetime.fromisoformat(record.pop("timestamp"))
    assert UTC.utcoffset(None) == stamp.utcoffset()
    assert record == {
        "event": "sync.started",
        "run_id": 7,
        "name": "Zürich\n",
        "level": "info",
    }


def test_other_libraries_records_have_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A record of the standard library passes through the same pipeline, fields bound before included.
    """
    set_up_logging("info", "json")
    structlog.contextvars.bind_contextvars(run_id=7)

    logging.getLogger("some.library").warning("%d pages", 3)
    structlog.get_logger("syncsvc").warning("ours")

    theirs, ours = lines(capsys)
    assert (theirs["event"], theirs["level"], theirs["run_id"]) == ("3 pages", "warning", 7)
    assert theirs.keys() == ours.keys()


def test_records_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The level holds for the service's own records and everybody else's.
    """
    set_up_logging("warning", "json")

    structlog.get_logger("syncsvc").info("no")
    logging.getLogger("some.library").info("no")
    structlog.get_logger("syncsvc").error("yes")

    assert [record["event"] for record in lines(capsys)] == ["yes"]


@pytest.mark.parametrize("name", QUIET)
def test_chatty_libraries_are_heard_from_warnings_on(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Even at debug, libraries that log each request (and so addresses) keep to warnings.
    """
    set_up_logging("debug", "json")

    logging.getLogger(f"{name}.part").info("no")
    logging.getLogger(f"{name}.part").warning("yes")

    assert [record["event"] for record in lines(capsys)] == ["yes"]


def test_chatty_libraries_are_not_louder_than_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    """
    At a level above warning, their warnings are left out as well.
    """
    set_up_logging("error", "json")

    logging.getLogger("httpx").warning("no")

    assert lines(capsys) == []


def test_auto_is_for_people_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    On a terminal a record is a coloured line of text.
    """
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    set_up_logging()

    structlog.get_logger("syncsvc").info("sync.started", run_id=7)

    text = capsys.readouterr().err
    assert "sync.started" in text
    assert "\x1b[" in text
    assert not text.startswith("{")


def test_json_can_be_asked_for_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The form that was asked for wins over what stderr is.
    """
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    set_up_logging("info", "json")

    structlog.get_logger("syncsvc").info("sync.started")

    assert [record["event"] for record in lines(capsys)] == ["sync.started"]


def test_console_can_be_asked_for_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Text that goes into a file bears no colours.
    """
    set_up_logging("info", "console")

    structlog.get_logger("syncsvc").info("sync.started", run_id=7)
    logging.getLogger("some.library").warning("%d pages", 3)

    ours, theirs = capsys.readouterr().err.splitlines()
    assert ours.endswith("[info     ] sync.started run_id=7")
    assert theirs.endswith("[warning  ] 3 pages")
    assert "\x1b[" not in ours + theirs


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("own", ["structlog", "standard library"])
def test_a_traceback_shows_no_variables(
    log_format: str, own: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A traceback says where it happened, and never what the variables held.
    """
    set_up_logging("info", log_format)
    log = structlog.get_logger("ours") if own == "structlog" else logging.getLogger("theirs")

    try:
        fail_with_secret()
    except RuntimeError:
        log.exception("failed")

    text = capsys.readouterr().err
    assert "RuntimeError: after 23 characters" in text
    assert "fail_with_secret" in text
    assert SECRET not in text


def test_setting_up_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A second set-up replaces the first.
    """
    set_up_logging("info", "json")
    set_up_logging("info", "json")

    structlog.get_logger("syncsvc").info("once")

    assert [record["event"] for record in lines(capsys)] == ["once"]
