"""The documentation in a real browser, from files: quiet, readable at any width, searched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium", reason="selenium is not installed; the extra 'test' has it")

from browsing import go_to, violations
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).parents[3]
PAGES = ("index", "start", "concepts/index", "how-to/defense", "reference/bench", "faq")
WIDTHS = (375, 1280, 1920)


def requests(driver: Any) -> set[str]:
    """The addresses that were asked for since the last call, beside files."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    return {url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))}


def show(driver: Any, documentation: Path, page: str, width: int) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    go_to(driver, f"file://{documentation}/{page}.html")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_for_nothing_and_complains_of_nothing(
    driver: Any, documentation: Path, page: str
) -> None:
    driver.get_log("browser")
    requests(driver)
    show(driver, documentation, page, 1280)
    assert driver.get_log("browser") == []
    assert requests(driver) == set()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_its_window(driver: Any, documentation: Path, page: str, width: int) -> None:
    show(driver, documentation, page, width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_one_title_and_its_landmarks(
    driver: Any, documentation: Path, page: str
) -> None:
    show(driver, documentation, page, 1280)
    count = "return document.querySelectorAll(arguments[0]).length"
    assert [driver.execute_script(count, one) for one in ("h1", "main", "header")] == [1, 1, 1]
    assert driver.execute_script(count, "nav") >= 1


EVERY_PAGE = sorted(
    str(path.relative_to(ROOT / "docs").with_suffix("")) for path in (ROOT / "docs").rglob("*.md")
)


LOOKS = ((375, "light"), (1920, "dark"))


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_axe_finds_no_serious_fault(driver: Any, documentation: Path, page: str) -> None:
    """Of a page of each kind in both looks, of the others, which have the same parts, by turns."""
    turn = EVERY_PAGE.index(page) % 2
    for width, theme in LOOKS if page in PAGES else LOOKS[turn : turn + 1]:
        features = [{"name": "prefers-color-scheme", "value": theme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        show(driver, documentation, page, width)
        assert violations(driver, ("serious", "critical")) == [], theme


def test_the_search_finds_a_page(driver: Any, documentation: Path) -> None:
    show(driver, documentation, "index", 1280)
    wait = WebDriverWait(driver, 20)
    opened = "return document.activeElement.shadowRoot?.querySelector('dialog[open]')?.innerText"

    def is_open(driver: Any) -> bool:
        driver.execute_script("document.querySelector('.md-search__button').click()")
        return driver.execute_script(opened) is not None

    wait.until(is_open)
    ActionChains(driver).send_keys("normalisation").perform()
    wait.until(lambda shown: "Where does the normalisation go" in shown.execute_script(opened))
