from __future__ import annotations

import os
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.build import address, needs, number_row
from syncsvc.output import charts, inventory_page
from syncsvc.output.charts import Words
from syncsvc.sandbox import Inventory
from syncsvc.sync.run import run_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page
    from sqlalchemy import Engine

    from support.build import Clock, Result, Row
    from syncsvc.sandbox import Sandbox
    from syncsvc.sync.run_inputs import Job

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
