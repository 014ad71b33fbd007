from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from support.build import number_row
from syncsvc import clock

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from support.build import Watch

Board = dict[str, Any]

BOARDS = {
    path.stem: json.loads(path.read_text())
    for path in (Path(__file__).parents[2] / "deploy" / "grafana").glob("*.json")
}
INVENTORY = BOARDS["syncsvc-inventory"]
YEARS = timedelta(days=20 * 365)
each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def _targets(board: Board) -> list[dict[str, Any]]:
    return [
        {**target, "title": panel["title"]}
        for panel in board["panels"]
        for target in panel["targets"]
    ]


@pytest.mark.parametrize("kind", ["postgresql"])
def test_every_panel_of_the_inventory_has_an_answer(watch: Watch, engine: Engine) -> None:
    """
    Each query runs on PostgreSQL, finds rows, and gives a series its time first and in order.
    """
    watch.see(number_row(1), number_row(2), {"uuid": "none"})
    watch.see(number_row(1, monthly_charge="9"), number_row(2, status="Cancelled"), {"uuid": "no"})

    for target in _targets(INVENTORY):
        with engine.connect() as connection:
            found = connection.execute(text(_as_grafana_sends_it(target["rawSql"])))
            columns, rows = list(found.keys()), found.all()
        assert rows, target["title"]
        assert ("time" in columns) == (target["format"] == "time_series")
        if target["format"] == "time_series":
            assert columns[:2] == ["time", "metric"]
            assert [row[0] for row in rows] == sorted(row[0] for row in rows)


@pytest.mark.parametrize("kind", ["postgresql"])
def test_the_accounts_to_choose_from(watch: Watch, engine: Engine) -> None:
    """
    The inventory's variable offers every account that ever ran.
    """
    watch.see(number_row(1))
    (account,) = (each for each in INVENTORY["templating"]["list"] if each["name"] == "account")

    with engine.connect() as connection:
        assert list(connection.execute(text(account["query"])).scalars()) == ["default"]


@each_board
def test_panels_have_their_places(board: Board) -> None:
    """
    Every panel has a title and an id of its own, fits the grid, and lies over no other one.
    """
    panels = board["panels"]
    taken = [cell for panel in panels for cell in _cells(panel["gridPos"])]

    assert len(panels) == len({panel["id"] for panel in panels})
    assert all(panel["title"] and panel["targets"] for panel in panels)
    assert len(taken) == len(set(taken))
    assert max(across for across, _down in taken) < 24


@each_board
def test_boards_go_by_their_variables(board: Board) -> None:
    """
    A board is bound to no data source of somebody's own, and every variable in it is one it has.
    """
    has = {each["name"] for each in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(board["panels"])))

    assert {"datasource", "account"} == has == used
    for asked in [*board["panels"], *_targets(board)]:
        assert asked["datasource"]["uid"] == "${datasource}"


def _cells(place: dict[str, int]) -> list[tuple[int, int]]:
    return [
        (place["x"] + across, place["y"] + down)
        for across in range(place["w"])
        for down in range(place["h"])
    ]


def _as_grafana_sends_it(query: str) -> str:
    """
    Put in what Grafana's PostgreSQL source makes of its macros and of several accounts.
    """
    now = clock.now()
    since, until = f"'{now - YEARS:%Y-%m-%dT%H:%M:%SZ}'", f"'{now + YEARS:%Y-%m-%dT%H:%M:%SZ}'"
    query = query.replace("$account", "'default','other'")
    query = re.sub(r"\$__timeFilter\((.+?)\)", rf"\1 BETWEEN {since} AND {until}", query)
    return re.sub(
        r"\$__timeGroupAlias\((\w+), '1d'\)",
        r'floor(extract(epoch from \1)/86400)*86400 AS "time"',
        query,
    )
