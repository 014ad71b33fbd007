from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING

import pytest
from openpyxl import load_workbook
from pyarrow import parquet as pq
from sqlalchemy import insert, update

from support.build import NEW_YEAR
from syncsvc.schema.tables import accounts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from support.build import Result


def fleet(engine: Engine, **currencies: str | None) -> None:
    """
    Make these the accounts of a fleet, each with its currency.
    """
    times = {"labels": {}, "added_at": NEW_YEAR, "changed_at": NEW_YEAR}
    with engine.begin() as connection:
        for name, currency in currencies.items():
            own = {"currency": currency} if currency else {}
            row = {"account": name, "enabled": True, "settings": own, **times}
            connection.execute(insert(accounts).values(row))


@pytest.mark.parametrize("output_format", ["csv", "json", "xlsx", "parquet", "table"])
def test_all_accounts_are_in_one_file(
    report: Callable[..., Result], tmp_path: Path, output_format: str
) -> None:
    """
    In every format the account comes first, and the rows of each follow one another.
    """
    file = tmp_path / f"spend.{output_format}"
    words = ("spend-by-country", "--account", "all", "--format", output_format)

    answer = report(*words, "--output", str(file))

    assert (answer.code, answer.err) == (0, "")
    heading, *rows = _cells(file, output_format)
    assert heading[:4] == ["account", "currency", "country_alpha2", "country_name"]
    assert [row[0] for row in rows] == ["branch", *["default"] * 4]
    assert [row[2] for row in rows] == ["GB", "DE", "FR", "GB", "US"]


def _cells(file: Path, output_format: str) -> list[list[str]]:
    """
    The heading and the rows of a file, but for the totals.
    """
    match output_format:
        case "csv":
            return list(csv.reader(file.read_text().splitlines()))
        case "json":
            rows = json.loads(file.read_text())
            return [[*rows[0]], *([*row.values()] for row in rows)]
        case "xlsx":
            sheet = load_workbook(file).active
            return [list(row) for row in sheet.values][:-1]
        case "parquet":
            found = pq.read_table(file)
            return [found.column_names, *([*row.values()] for row in found.to_pylist())]
    lines = [re.split(r" {2,}", line.strip()) for line in file.read_text().splitlines()]
    words = [line for line in lines if len(line) > 1]
    return [words[0], *words[1:-1]]


def test_totals_of_all_accounts(report: Callable[..., Result], known_inventory: Engine) -> None:
    """
    Amounts are added up over accounts of one currency, and not if they have different ones.
    """
    fleet(known_inventory, default="GBP", branch="GBP")
    one = report("spend-by-country", "--account", "all")
    with known_inventory.begin() as connection:
        branch = accounts.c.account == "branch"
        connection.execute(update(accounts).where(branch).values(settings={"currency": "EUR"}))
    two = report("spend-by-country", "--account", "all")
    rows = report("accounts", "--format", "json")

    assert one.err == ""
    assert "monthly_charge (GBP)" in one.out
    assert one.out.strip().splitlines()[-1].split() == ["Total", "10", "0", "13.65"]
    assert "different currencies: EUR, GBP." in two.err
    assert "monthly_charge (" not in two.out
    assert two.out.strip().splitlines()[-1].split() == ["Total", "10", "0"]
    assert {"branch", "EUR", "GB"} < {*two.out.split()}
    assert [
        (row["account"], row["currency"], row["monthly_charge"]) for row in json.loads(rows.out)
    ] == [("branch", "EUR", "1.2500"), ("default", "GBP", "12.4000")]


def test_what_all_accounts_leave_out_is_told(
    report: Callable[..., Result], known_inventory: Engine
) -> None:
    """
    Accounts that ran without a row, have published nothing, or were not known then are named.
    """
    fleet(known_inventory, branch=None, new=None)

    answer = report("spend-by-country", "--account", "all", "--format", "json")
    then = report("spend-by-country", "--account", "all", "--at", "2026-03-01", "--format", "json")
    every = report("accounts", "--format", "json")

    assert {row["account"] for row in json.loads(answer.out)} == {"branch"}
    assert "Left out, as they have no row in accounts: default." in answer.err
    assert "No run has published anything yet of: new." in answer.err
    assert json.loads(then.out) == []
    assert "Nothing was known by then of: branch, new." in then.err
    assert "no row in accounts: default." in every.err
    states = {row["account"]: row["state"] for row in json.loads(every.out)}
    assert (sorted(states), states["new"]) == (["branch", "new"], "never")


def test_an_account_that_is_named_all(
    report: Callable[..., Result], known_inventory: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    If one has that name, the flag is refused, and the variable names that one.
    """
    fleet(known_inventory, all=None, default=None)

    refused = report("spend-by-country", "--account", "all")
    monkeypatch.setenv("SYNCSVC_ACCOUNT", "all")
    named = report("spend-by-country", "--format", "json")
    every = report("accounts", "--account", "all", "--format", "json")

    assert (refused.code, refused.out) == (2, "")
    assert "one is named 'all'. For that one, set SYNCSVC_ACCOUNT=all" in refused.err
    assert (named.code, json.loads(named.out)) == (0, [])
    assert [row["account"] for row in json.loads(every.out)] == ["all", "default"]


def test_an_address_of_any_account(report: Callable[..., Result]) -> None:
    """
    An address is looked for in all accounts, and unknown if none has it.
    """
    words = ("numbers-at-address", "--account", "all", "--format", "json", "--address")

    assert {row["account"] for row in json.loads(report(*words, "2").out)} == {"default"}
    unknown = report(*words, "99")
    assert (unknown.code, unknown.out) == (1, "")
    assert "No address 99 in any account." in unknown.err


def test_the_page_is_of_one_account(report: Callable[..., Result], tmp_path: Path) -> None:
    """
    There is no page of all accounts.
    """
    page = tmp_path / "page.html"

    answer = report("--html", str(page), "--account", "all")

    assert (answer.code, page.exists()) == (2, False)
    assert "--html writes the page of one account; name it with --account." in answer.err
