"""The published site in a real browser, from files. Skipped where there is no Chromium."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import reports
from reports import paired, statistics, text
from reports.site import boardpage

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not CHROMIUM or not DRIVER:
    pytest.skip(
        "no Chromium here; the Debian packages chromium and chromium-driver have it",
        allow_module_level=True,
    )
pytest.importorskip("selenium", reason="selenium is not installed; the extra 'test' has it")

from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NARROW, WIDE = 375, 1920
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    downloads = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_AVOID_STATS", "true")
        patch.setenv("no_proxy", "localhost,127.0.0.1")  # the driver listens there
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    browser.downloads = downloads
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def results(synthetic_in: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    synthetic = synthetic_in(tmp_path_factory.mktemp("results") / "out")
    for seed in (0, 1):
        for framework in ("torch", "tensorflow"):
            synthetic.cell("pgd-at", framework, seed=seed, clean=0.95 - 0.05 * seed)
    weaker = {"fgsm": 0.6, "pgd": 0.5, "apgd": 0.45, "square": 0.55}
    synthetic.cell("trades", clean=0.99, robust=weaker)
    synthetic.cell("none", clean=0.97)
    synthetic.cell("pgd-at", dataset="mnist", norm="l2", eps=2.0, robust={"pgd": 0.7, "cw": 0.66})
    synthetic.cell(HOSTILE, cell_id="evil", dataset="mnist", norm="l2", eps=2.0)
    synthetic.cell("mart", status="failed", reason="out of memory", robust={})
    found: Path = synthetic.store.path
    return found


@pytest.fixture(scope="module")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reports.publish(results, tmp_path_factory.mktemp("published") / "site").parent


@pytest.fixture
def page(driver: Any, site: Path) -> Iterator[Page]:
    """Opens pages of the site; at the end nothing may have gone wrong or have left the site."""
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    driver.get_log("browser"), driver.get_log("performance")
    opened = Page(driver, site)
    yield opened
    assert [entry["message"] for entry in driver.get_log("browser")] == []
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"].endswith("BeSent")]
    assert asked
    allowed = (site.as_uri() + "/", "data:", "blob:")
    assert [url for url in asked if not url.startswith(allowed)] == []


class Page:
    """The browser on a page of the site."""

    def __init__(self, driver: Any, site: Path) -> None:
        self.driver, self.site = driver, site

    def open(self, name: str, *, width: int = 1280, theme: str = "light") -> None:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.run("window.isThePageBefore = true")
        self.driver.get(f"{self.site.as_uri()}/{name}")
        # On a busy machine the driver comes back while the page before is still there.
        there = "return !window.isThePageBefore && document.readyState === 'complete'"
        WebDriverWait(self.driver, 10, ignored_exceptions=[WebDriverException]).until(
            lambda _: self.run(there)
        )

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return [one.text for one in self.driver.find_elements(By.CSS_SELECTOR, selector)]

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def heard(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader meets."""
        nodes = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]

    def wait(self, condition: Any) -> None:
        # An element may be drawn anew while it is read.
        stale = [StaleElementReferenceException]
        WebDriverWait(self.driver, 10, ignored_exceptions=stale).until(lambda _: condition())

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.driver.current_url).query)

    def column(self, name: str) -> list[str]:
        """A column of the leaderboard, without the settings' heads."""
        found: list[str] = self.run(
            "const heads = [...document.querySelectorAll('#board thead th')];"
            "const place = heads.findIndex((head) => head.innerText.trim() === arguments[0]);"
            "const rows = [...document.querySelectorAll('#board tbody tr:not(.group)')];"
            "return rows.map((row) => row.cells[place].textContent.trim())",
            name,
        )
        return found


PAGES = (
    "index.html",
    "compare.html",
    "frameworks.html",
    "tradeoffs.html",
    "metatest.html",
    "about.html",
)
KINDS = (*PAGES, "compare.html?cell=digits-none-torch-s0-linf&cell=digits-trades-torch-s0-linf")


def model_page(defense: str = "pgd-at") -> str:
    return f"models/digits-{defense}-torch-s0-linf/index.html"


def test_heads_sort_within_settings_and_the_address_keeps_it(page: Page) -> None:
    page.open("index.html?dataset=digits")
    shown = page.column("Clean")
    assert shown != sorted(shown, reverse=True)

    page.find('th[data-sort="clean"] button').click()
    assert page.column("Clean") == sorted(shown, reverse=True)
    assert page.find('th[data-sort="clean"]').get_attribute("aria-sort") == "descending"
    assert page.query == {"dataset": ["digits"], "sort": ["clean"]}

    page.find('th[data-sort="clean"] button').click()
    assert page.column("Clean") == sorted(shown)
    assert page.query["order"] == ["reversed"]

    address = page.driver.current_url
    page.open("about.html")
    page.driver.get(address)
    assert page.column("Clean") == sorted(shown)


def test_filters_choose_rows_and_the_address_keeps_them(page: Page) -> None:
    page.open("index.html")
    everything = len(page.column("Defense"))
    Select(page.find("select[name=framework]")).select_by_visible_text("tensorflow")
    assert set(page.column("Framework")) == {"tensorflow"}
    assert page.query == {"framework": ["tensorflow"]}
    Select(page.find("select[name=defense]")).select_by_visible_text("trades")
    assert page.column("Defense") == []
    assert page.find("#empty").is_displayed()
    page.find("#clear").click()
    page.wait(lambda: len(page.column("Defense")) == everything)
    assert page.query == {}

    Select(page.find("select[name=threat]")).select_by_visible_text("L∞ ε = 0.15")
    assert "cw" not in page.texts("#board thead th")
    Select(page.find("select[name=threat]")).select_by_visible_text("L2 ε = 2")
    assert page.find("tr.group").text.startswith("mnist")
    assert "cw" in page.texts("#board thead th")
    page.find("input[name=q]").send_keys("pgd-at")
    assert page.column("Defense") == ["pgd-at"]
    assert page.find("#count").text.startswith("1 of ")


def test_a_long_leaderboard_keeps_its_columns_in_line_and_its_sorting(page: Page) -> None:
    document = json.loads((page.site / "data" / "index.json").read_text())
    digits = document["groups"][0]
    digits["rows"] = [{**row, "seed": n} for n in range(60) for row in digits["rows"]]
    long = page.site / "long.html"
    long.write_text(boardpage.write(document))
    page.open("long.html?dataset=digits&sort=seed")
    assert page.column("Seed") == [str(n) for n in range(60) for _ in range(6)]
    assert "long" in page.find("#board").get_attribute("class").split()
    edges = page.run(
        "return [...document.querySelectorAll('#board tr:not(.group)')].slice(0, 5).map((row) =>"
        " [...row.cells].filter((c) => c.getClientRects().length)"
        ".map((c) => Math.round(c.getBoundingClientRect().right)))"
    )
    assert len(edges[0]) > 10
    assert edges[1:] == edges[:1] * 4
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert page.run("return getComputedStyle(document.querySelector('#board')).display") == "table"
    long.unlink()


def test_what_the_address_should_not_hold_is_ignored(page: Page) -> None:
    page.open("index.html?framework=jax&sort=__proto__&order=x&q=")
    assert len(page.column("Defense")) > 4
    assert page.find("select[name=sort]").get_attribute("value") == "rank"


def test_a_row_opens_its_models_page(page: Page) -> None:
    page.open("index.html?dataset=digits&defense=trades")
    page.find("#board tbody tr:not(.group) td.w").click()
    page.wait(lambda: "models/" in page.driver.current_url)
    assert page.find("h1").text == "trades in torch"
    page.find(".crumbs a").click()
    assert page.query["dataset"] == ["digits"]


def test_chosen_rows_are_compared(page: Page, results: Path) -> None:
    page.open("index.html?dataset=digits&framework=torch&q=0")
    ids = []
    for defense in ("trades", "none"):
        box = page.find(f'input[value^="digits-{defense}-"]')
        ids.append(box.get_attribute("value"))
        box.click()
    assert page.find("#chosen a").text == "Compare 2 rows"
    page.find("#chosen a").click()
    page.wait(lambda: page.texts(".pair"))

    assert page.query == {"cell": ids}
    compared = reports.compare(results, ids[1], ids[0])
    shown = {row.split()[0]: row for row in page.texts(".pair tbody tr")}
    for one in compared.to_dict("records"):
        row = shown[one["attack"].split()[0]]
        sign = "−" if one["difference"] < 0 else "+"
        assert f"{sign}{abs(100 * one['difference']):.1f} " in row
        for count in (one["only_a"], one["only_b"]):
            assert f" {count}" in row
        assert f" {text.points(one['low'])} to {text.points(one['high'])} " in row
        assert f" {text.p_value(one['p_corrected'])} " in row
        assert ("can't be told apart" in row) == (one["low"] <= 0 <= one["high"])
    worst = compared.iloc[-1]
    assert f"{100 * worst['accuracy_b']:.1f} (" in page.find("#side").text


def test_a_comparison_can_be_changed_and_downloaded(page: Page) -> None:
    cells = [f"digits-pgd-at-{one}-linf" for one in ("torch-s0", "torch-s1", "tensorflow-s0")]
    page.open(f"compare.html?cell={cells[0]}&cell=nothing&cell=constructor")
    page.wait(lambda: page.texts("#side"))
    Select(page.find("#candidates")).select_by_value(cells[1])
    page.wait(lambda: len(page.texts(".pair")) == 1)
    Select(page.find("#candidates")).select_by_value(cells[2])
    page.wait(lambda: len(page.texts(".pair")) == 2)
    assert page.query == {"cell": cells}

    page.find("#download").click()
    path = page.driver.downloads / "comparison.json"
    page.wait(path.exists)
    downloaded = json.loads(path.read_text())
    assert [one["cell"] for one in downloaded["side"]] == cells
    assert len(downloaded["pairs"][0]["rows"]) == 6

    page.driver.find_elements(By.CSS_SELECTOR, "#side button")[0].click()
    page.wait(lambda: len(page.texts(".pair")) == 1)
    assert page.query == {"cell": cells[1:]}


def test_models_with_other_examples_are_not_paired(page: Page) -> None:
    page.open("compare.html?cell=digits-pgd-at-torch-s0-linf&cell=mnist-pgd-at-torch-s0-l2")
    # The data sets have other names but the same fingerprint and examples, so they are paired.
    page.wait(lambda: page.texts(".pair"))
    page.run(
        "benchOutcomes('mnist-pgd-at-torch-s0-l2', "
        "{fingerprint: 'other', test_index: [1], clean: '1', suites: {}})"
    )
    Select(page.find("#candidates")).select_by_value("evil")
    page.wait(lambda: "No paired test" in page.find("#tables").text)


def test_statistics_of_pairs_are_those_of_the_library(page: Page) -> None:
    page.open("compare.html")
    n, random = 500, np.random.default_rng(0)
    for better, worse in ((0, 0), (5, 0), (7, 3), (40, 60), (200, 1), (0, n), (250, 250)):
        a = np.arange(n) < better
        b = (np.arange(n) >= better) & (np.arange(n) < better + worse)
        order = random.permutation(n)
        for comparisons in (1, 45):
            found = page.run(
                "const found = benchPaired.difference(...arguments); "
                "return [found.difference, found.low, found.high, found.p_corrected]",
                *(better, worse, n, comparisons),
            )
            one = paired.compare(a[order], b[order], comparisons=comparisons)
            expected = [one.difference, one.low, one.high, one.p]
            assert found == pytest.approx(expected, rel=1e-8, abs=1e-12)
    for correct in (0, 3, 250, n):
        found = page.run("return benchPaired.wilson(arguments[0], arguments[1])", correct, n)
        assert found == pytest.approx(statistics.wilson(correct, n), abs=1e-12)


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("name", [*KINDS, model_page()])
def test_pages_fit_their_screen(page: Page, name: str, width: int) -> None:
    page.open(name, width=width, theme="dark" if width == NARROW else "light")
    if "cell=" in name:
        page.wait(lambda: page.texts(".pair"))
    assert page.run("return document.documentElement.scrollWidth") <= width
    smallest = page.run(
        "return Math.min(...[...document.querySelectorAll('main *')].filter((e) =>"
        " e.getClientRects().length && [...e.childNodes].some((n) => n.nodeType === 3 &&"
        " n.textContent.trim()) && !e.closest('svg')).map((e) =>"
        " parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 12
    if width == NARROW and name == "index.html":
        assert page.find("#board tbody td.w").is_displayed()


def contrast(first: str, second: str) -> float:
    """WCAG's contrast ratio of two CSS colours rgb(r, g, b)."""

    def luminance(colour: str) -> float:
        parts = [float(p) / 255 for p in colour.strip("rgba()").split(",")[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_read(page: Page, theme: str) -> None:
    page.open("tradeoffs.html", theme=theme)
    colours = page.run(
        "const s = document.createElement('span'); document.body.append(s);"
        "return Object.fromEntries(arguments[0].map((n) => {"
        " s.style.color = `var(--${n})`; return [n, getComputedStyle(s).color]; }))",
        ["page", "panel", "accent-soft", "text", "muted", "accent", "bad"]
        + [f"series-{i}" for i in range(6)],
    )
    for name in ("text", "muted", "accent", "bad"):
        for ground in ("page", "panel", "accent-soft"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for i in range(6):
        assert contrast(colours[f"series-{i}"], colours["page"]) >= 3


def test_everything_can_be_done_with_the_keyboard(page: Page) -> None:
    page.open("index.html?dataset=digits")
    page.find("body").send_keys(Keys.TAB)
    assert page.run("return document.activeElement.className") == "skip"
    assert page.run("return document.activeElement.getBoundingClientRect().width") > 50
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.run("return document.activeElement.id") == "main"
    assert page.query == {"dataset": ["digits"]}

    head = page.find('th[data-sort="clean"] button')
    page.run("arguments[0].focus()", head)
    head.send_keys(Keys.ENTER)
    assert page.query["sort"] == ["clean"]
    page.find("#board tbody input").send_keys(Keys.SPACE)
    assert page.find("#chosen").is_displayed()
    link = page.find("#board tbody th a")
    link.send_keys(Keys.ENTER)
    page.wait(lambda: "models/" in page.driver.current_url)


@pytest.mark.parametrize("name", [*KINDS, model_page()])
def test_screen_readers_find_landmarks_names_and_heads(page: Page, name: str) -> None:
    page.open(name)
    if "cell=" in name:
        page.wait(lambda: page.texts(".pair"))
    # Chromium makes the tree some time after the page; the footer is the last of it.
    page.wait(lambda: "contentinfo" in dict(page.heard()))
    seen = page.heard()
    roles = [role for role, _ in seen]
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert roles.count(landmark) == 1, landmark
    named = {"button", "link", "combobox", "searchbox", "checkbox", "region", "img", "image"}
    assert [role for role, label in seen if role in named and not label.strip()] == []
    if page.texts("table"):
        assert {"columnheader", "rowheader"} <= set(roles)


def test_pages_print_whole_and_without_controls(page: Page) -> None:
    paper = {"index.html": 1040, model_page(): 718, "frameworks.html": 1040}  # A4 across, upright
    for name, width in paper.items():
        page.open(name, width=width)
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert not any(
            one.is_displayed()
            for one in page.driver.find_elements(By.CSS_SELECTOR, "nav, form, input, .no-print")
        )
        assert page.find("h1").is_displayed()
        assert page.run("return document.documentElement.scrollWidth") <= width
        clipped = page.run(
            "return [...document.querySelectorAll('pre, .scroll')].filter((e) =>"
            " e.scrollHeight > e.clientHeight + 1 && getComputedStyle(e).overflowY !== 'visible')"
            ".length"
        )
        assert clipped == 0
        printed = page.driver.execute_cdp_cmd("Page.printToPDF", {})["data"]
        assert base64.b64decode(printed).startswith(b"%PDF")


def test_hostile_names_run_nothing(page: Page) -> None:
    page.open("index.html?dataset=mnist")
    assert HOSTILE in page.column("Defense")
    page.open("models/evil/index.html")
    assert page.find("h1").text.startswith(HOSTILE)
    page.open("compare.html?cell=evil&cell=mnist-pgd-at-torch-s0-l2")
    page.wait(lambda: page.texts(".pair"))
    assert HOSTILE in page.find("#side").text
    assert page.driver.title.startswith("Compare")
    assert page.run("return document.querySelectorAll('main img').length") == 0


def test_the_leaderboard_can_be_read_without_scripts(page: Page) -> None:
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.open("index.html")
        html = page.driver.execute_cdp_cmd("DOM.getDocument", {"depth": 0})
        assert html["root"]["nodeName"] == "#document"
        nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        names = {node.get("name", {}).get("value") for node in nodes}
        assert {"trades", "out of memory"} <= names
        assert "Reverse" not in names
    finally:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
