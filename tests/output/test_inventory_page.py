from __future__ import annotations

import csv
import io
import json
import os
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from support.build import address, needs, number_row
from syncsvc.output import charts, inventory_page
from syncsvc.output.charts import Words
from syncsvc.reports import REPORTS, Arguments
from syncsvc.sandbox import Inventory
from syncsvc.sync.run import run_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page
    from sqlalchemy import Engine

    from support.build import Clock, Result, Row, Watch
    from syncsvc.sandbox import Sandbox
    from syncsvc.sync.run_inputs import Job

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "syncsvc-inventory.json"
NOON = datetime(2026, 5, 29, 12, tzinfo=UTC)
# A number has 64 characters at most.
HOSTILE = "</script></style><script>alert(1)</script><img onerror=a(2)>\"'&"
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Read(HTMLParser):
    """
    What a page is made of: its elements with their attributes, and its text.
    """

    def __init__(self, html: str) -> None:
        """
        Read all of it.
        """
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """
        Note an element.
        """
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """
        Note a text.
        """
        self.text += data


def page_of(engine: Engine, currency: str | None = None, **fields: Any) -> str:
    """
    The page of the default account, at noon on the known inventory's last day.
    """
    arguments: Row = {"account": "default", "now": NOON, **fields}
    with engine.connect() as connection:
        return inventory_page.render(connection, currency=currency, **arguments)


def test_the_page_tells_the_state_of_the_inventory(known_inventory: Engine) -> None:
    """
    Figures, gaps with the numbers concerned, latest changes and the verdict are all there.
    """
    page = Read(page_of(known_inventory, "GBP"))

    for told in ("Live numbers", "12.40 GBP", "+33199000009", "Berlin", "cancelled → live", "ok"):
        assert told in page.text, told
    titles = [found["aria-labelledby"] for tag, found in page.elements if tag == "svg"]
    assert len(titles) == 4
    for told in " ".join(filter(None, titles)).split():
        assert told in {found.get("id") for _, found in page.elements}
    assert all(found["role"] == "img" for tag, found in page.elements if tag == "svg")


def tiles_and_badges(page: Read) -> dict[str, int]:
    """
    The figures of the page by what is said beside them.
    """
    tiles = re.findall(r"(Without [a-z ]+[a-z]) *(\d[\d,]*)", page.text)
    badges = re.findall(r"(Emergency|Proof|Address)[a-z ]+ (\d[\d,]*) (without|numbers)", page.text)
    found = {**dict(tiles), **{f"{title} {what}": number for title, number, what in badges}}
    return {name: int(number.replace(",", "")) for name, number in found.items()}


def test_one_label_is_one_figure(engine: Engine, job: Job, sandbox: Sandbox, clock: Clock) -> None:
    """
    A number without an address is counted alike by page, view and dashboard, a number once.
    """
    sandbox.inventory = Inventory.seeded(300, seed=11, clock=clock)
    run_once(job)
    figures = tiles_and_badges(Read(page_of(engine, now=clock.time)))

    with engine.connect() as connection:
        counted = [
            connection.execute(text(query)).scalar_one()
            for query in (
                "SELECT count(*) FROM numbers_without_emergency_address",
                "SELECT count(*) FROM numbers_without_proof_of_address",
            )
        ]
        asked = Arguments("default", clock.time)
        elsewhere = list(REPORTS["address-country-mismatch"].rows(connection, asked))

    assert min(counted) > 0
    assert counted == [figures["Without emergency address"], figures["Without proof of address"]]
    assert counted == [figures["Emergency without"], figures["Proof without"]]
    assert len({row["uuid"] for row in elsewhere}) == figures["Address numbers"] < len(elsewhere)


def test_page_and_dashboard_agree(engine: Engine, job: Job, sandbox: Sandbox, clock: Clock) -> None:
    """
    A panel of the dashboard that has the title of a figure of the page has that figure.
    """
    sandbox.inventory = Inventory.seeded(300, seed=11, clock=clock)
    run_once(job)
    page = Read(page_of(engine, now=clock.time))
    board = json.loads(DASHBOARD.read_text())
    titled = {panel["title"]: panel["targets"][0]["rawSql"] for panel in board["panels"]}

    for title in ("Live numbers", "Monthly charges", "Without emergency address"):
        with engine.connect() as connection:
            query = titled[title].replace("$account", "'default'")
            figure = connection.execute(text(query)).scalar_one()
        shown = f"{figure:,.2f}" if title == "Monthly charges" else f"{figure:,}"
        assert re.search(rf"{title}\s*{re.escape(shown)}\b", page.text), (title, shown)


def test_a_cut_table_names_the_command_that_has_all(
    watch: Watch,
    clock: Clock,
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    The commands on the page print as many rows as it says that there are.
    """
    watch.sandbox.inventory = Inventory.seeded(130, seed=11, clock=clock)
    watch.run()
    capsys.readouterr()  # what the run said
    page = Read(page_of(watch.engine, now=clock.time))
    monkeypatch.setenv(
        "SYNCSVC_DATABASE_URL", watch.engine.url.render_as_string(hide_password=False)
    )

    told = re.findall(
        r"The first \d+ of ([\d,]+) rows;\s+syncsvc (report [^\n]+ csv) has", page.text
    )

    assert "latest-changes" in {command.split()[1] for _, command in told}
    for total, command in told:
        rows = list(csv.reader(io.StringIO(cli(*command.split()).out, newline="")))
        assert len(rows) - 1 == int(total.replace(",", ""))


def test_a_running_month_is_marked(known_inventory: Engine) -> None:
    """
    This month's row says that it is no whole month.
    """
    page = Read(page_of(known_inventory))

    assert "2026-05, so far" in page.text
    assert "2026-04, so far" not in page.text


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([1], ["0", "1"]),
        ([0, 0], ["0", "1"]),
        ([3, 5], ["0", "1", "2", "3", "4", "5"]),
        ([439, 1003], ["0", "200", "400", "600", "800", "1,000", "1,200"]),
        ([-7, 12], ["-10", "-5", "0", "5", "10", "15"]),
    ],
)
def test_whole_things_have_whole_ticks(values: list[int], ticks: list[str]) -> None:
    """
    No axis of numbers shows half of one.
    """
    months = [f"2026-{place:02}" for place, _ in enumerate(values, 1)]
    drawn = str(charts.up_and_down(Words("churn", "Churn", "."), months, {"came": values}))

    assert ticks == re.findall(r"<text[^>]*>(-?[\d,.]+)</text>", drawn.partition("axis x")[0])


def test_the_page_refers_to_nothing_elsewhere(known_inventory: Engine) -> None:
    """
    No element loads or links anything but a place in the page, and no style imports anything.
    """
    html = page_of(known_inventory)

    for tag, attributes in Read(html).elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        for name in ("src", "href", "xlink:href", "action", "style", "onclick", "onload"):
            assert name not in attributes or (attributes[name] or "").startswith("#"), (tag, name)
    assert not re.search(r"@import|url\(|@font-face", html)
    assert re.findall(r"https?://[^\"'<\s]+", html) == ["http://www.w3.org/2000/svg"] * 4


def test_what_the_provider_sent_is_escaped(
    engine: Engine, job: Job, sandbox: Sandbox, clock: Clock
) -> None:
    """
    Names that are markup are shown as they were sent, and make no element.
    """
    hostile = address(1, name=HOSTILE, addressLine1=HOSTILE, addressCity=HOSTILE)
    fields = dict.fromkeys(("number_e164", "range_name", "country_name", "status"), HOSTILE)
    details = {"number_address": hostile, "emergency_number_address": hostile}
    for charge in ("1", "2"):
        clock.pass_by(days=1)
        rows = [
            number_row(place, details, monthly_charge=charge, **fields, country_iso=iso)
            for place, iso in enumerate(["UK", "DE", HOSTILE] * 4)
        ]
        sandbox.inventory = Inventory(rows)
        run_once(job)

    html = page_of(engine, account="default", now=clock.time)

    assert "<script>alert" not in html
    assert "<img" not in html
    page = Read(html)
    assert page.text.count(HOSTILE) > 10
    assert [tag for tag, _ in page.elements].count("script") == 1


def test_an_account_that_is_not_known_has_a_page(engine: Engine) -> None:
    """
    Without anything known the page says so, draws nothing and trusts nothing.
    """
    page = Read(page_of(engine, account=HOSTILE))

    assert "Nothing is known of this account yet" in page.text
    assert HOSTILE in page.text
    assert "svg" not in {tag for tag, _ in page.elements}
    assert "verdict wrong card" in {found.get("class") for _, found in page.elements}


def test_the_policy_lets_only_the_pages_own_style_and_script_work(known_inventory: Engine) -> None:
    """
    The Content-Security-Policy names the hashes of the one style and the one script.
    """
    html = page_of(known_inventory)

    policy = next(
        found["content"]
        for tag, found in Read(html).elements
        if found.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert html.count("<style>") == html.count("<script>") == 1


def test_the_command_writes_the_page(
    known_inventory: Engine,
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """
    `syncsvc report --html FILE` writes the page of the account, and says nothing.
    """
    url = known_inventory.url.render_as_string(hide_password=False)
    monkeypatch.setenv("SYNCSVC_DATABASE_URL", url)

    cli("report", "--html", "page.html", "--account", "branch")

    html = (tmp_path / "page.html").read_text()
    assert "<title>Number inventory of branch</title>" in html
    assert html.startswith("<!DOCTYPE html>")


def test_a_chart_says_in_words_what_it_shows() -> None:
    """
    A chart has a title, a description and the value of each point, and no style or script.
    """
    words = Words("spend", "Spend & more", "From 1 to <2>")
    drawn = str(charts.over_time(words, ["2026-01", "2026-02"], [1, 2]))

    assert '<title id="spend-title">Spend &amp; more</title>' in drawn
    assert '<desc id="spend-desc">From 1 to &lt;2&gt;</desc>' in drawn
    assert "<title>2026-02: 2</title>" in drawn
    assert not re.search("<style|<script|style=|<!--", drawn)


def test_many_countries_are_drawn_as_the_dearest_and_the_others(
    engine: Engine, job: Job, sandbox: Sandbox, clock: Clock
) -> None:
    """
    More countries than a chart has room for are drawn as one bar; the table has them all.
    """
    codes = ["AT", "BE", "CH", "DE", "DK", "ES", "FI", "FR", "IE", "IT", "NL", "SE"]
    sandbox.inventory = Inventory(
        number_row(place, country_iso=code, country_name=code, monthly_charge=place + 1)
        for place, code in enumerate(codes)
    )
    run_once(job)

    html = page_of(engine, now=clock.time)

    assert "<title>others: 6</title>" in html
    assert all(code in Read(html).text for code in codes)


@contextmanager
def opened(html: str, tmp_path: Path, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """
    The page in a real browser, and what went wrong or was asked for beside it.
    """
    chromium = needs("chromium")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - where there is a browser

    path = tmp_path / "page.html"
    path.write_text(html)
    noticed: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page(**options)
        page.on("console", lambda message: noticed.append(message.text))
        page.on("pageerror", lambda error: noticed.append(str(error)))
        page.on("request", lambda request: noticed.append(request.url))
        page.goto(path.as_uri())
        yield page, [each for each in noticed if each != path.as_uri()]
        browser.close()


@pytest.fixture
def html(known_inventory: Engine) -> str:
    """
    The page of the known inventory.
    """
    return page_of(known_inventory, "GBP")


COLUMN = """[...document.querySelector("#changes ~ .scroll").querySelectorAll("tbody tr")]
    .map((row) => row.cells[0].innerText)"""
CONTRAST = """() => {
  const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => {
    v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (c !== "rgba(0, 0, 0, 0)") return c; } return "rgb(255, 255, 255)"; };
  return [...document.querySelectorAll("h1,h2,h3,p,a,dt,dd,td,th,summary,.badge,li span")]
    .filter((e) => e.innerText.trim() && e.checkVisibility())
    .map((e) => { const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 80)]; })
    .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_browser_asks_for_nothing_and_sorts(html: str, tmp_path: Path) -> None:
    """
    In Chromium there is no error and no request, and a click on a heading sorts, each way.
    """
    with opened(html, tmp_path, viewport={"width": 1200, "height": 900}) as (page, noticed):
        heading = page.locator("#changes ~ .scroll").first.locator("th button").first
        heading.click()
        up = page.evaluate(COLUMN)
        heading.focus()
        page.keyboard.press("Enter")
        down = page.evaluate(COLUMN)
        sorted_by = heading.locator("..").get_attribute("aria-sort")

    assert noticed == []
    assert sorted(up) == up
    assert sorted(up, reverse=True) == down
    assert sorted_by == "descending"


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_shows_it_without_scrolling_sideways(
    html: str, tmp_path: Path, scheme: str
) -> None:
    """
    At 360 pixels nothing is wider than the screen, in the reader's colours, with enough contrast.
    """
    size = {"width": 360, "height": 740}
    with opened(html, tmp_path, viewport=size, color_scheme=scheme) as (page, noticed):
        width = page.evaluate("document.documentElement.scrollWidth")
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        pale = page.evaluate(CONTRAST)

    assert width <= 360
    assert {"light": "rgb(245, 246, 248)", "dark": "rgb(17, 21, 28)"}[scheme] == paper
    assert pale == []
    assert noticed == []


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_without_scripts_and_on_paper_it_is_whole(html: str, tmp_path: Path) -> None:
    """
    Without scripts there is no dead button; in print the numbers concerned are unfolded.
    """
    with opened(html, tmp_path, java_script_enabled=False) as (page, _noticed):
        buttons = page.locator("button").count()
        page.emulate_media(media="print")
        concerned = page.locator("details.card").first.locator("tbody tr").first
        shown = concerned.is_visible()

    assert buttons == 0
    assert shown


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_printed_tables_repeat_their_head(html: str, tmp_path: Path) -> None:
    """
    In print a head is one that browsers repeat: a group that stays whole, without form controls.
    """
    with opened(html, tmp_path) as (page, _noticed):
        page.emulate_media(media="print")
        heads = page.evaluate(
            """[...document.querySelectorAll("thead")].map((head) => [
              getComputedStyle(head).display, getComputedStyle(head).breakInside,
              ...new Set([...head.querySelectorAll("button")].map(
                (button) => getComputedStyle(button).display))
            ].join(" "))"""
        )

    assert "table-header-group avoid contents" in heads
    assert set(heads) <= {"table-header-group avoid contents", "table-header-group avoid"}


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_the_picture_in_the_readme_can_be_renewed(
    engine: Engine, job: Job, sandbox: Sandbox, clock: Clock, tmp_path: Path
) -> None:
    """
    A page of months of made-up life is drawn; PICTURES names the directory to keep its picture in.
    """
    kept = Path(os.environ.get("PICTURES", tmp_path)).absolute() / "report.png"
    sandbox.inventory = inventory = Inventory.seeded(300, seed=7, clock=clock)
    for _ in range(12 if "PICTURES" in os.environ else 2):
        run_once(job)
        clock.pass_by(days=15)
        inventory.step(24)
        inventory.provision(9)
    run_once(job)
    html = page_of(engine, "EUR", now=clock.time)

    with opened(html, tmp_path, viewport={"width": 1200, "height": 1000}) as (page, noticed):
        page.screenshot(path=kept)

    assert noticed == []
    assert 20_000 < kept.stat().st_size < 200_000
