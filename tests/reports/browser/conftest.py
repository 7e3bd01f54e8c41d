"""A published site in a real browser, from files. Skipped where there is no Chromium."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from browsing import go_to

import reports

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
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
# A name that tests look for, which must run nothing.
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not CHROMIUM or not DRIVER:
        pytest.skip("no Chromium here; the Debian packages chromium and chromium-driver have it")
    from selenium import webdriver

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
    browser.get("about:blank")  # what a new tab asks for by itself is none of the site's
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
        go_to(self.driver, f"{self.site.as_uri()}/{name}")

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        return [one.text for one in self.driver.find_elements("css selector", selector)]

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
        """Until it holds; an element may be drawn anew, or a page be left, while it is read."""
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        waiting = WebDriverWait(self.driver, 10, ignored_exceptions=[WebDriverException])
        waiting.until(lambda _: condition())

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.driver.current_url).query)

    def column(self, name: str) -> list[str]:
        """A column of the leaderboard, without the groups' heads."""
        found: list[str] = self.run(
            "const heads = [...document.querySelectorAll('#board .heads th')];"
            "const place = heads.findIndex((head) => head.innerText.trim() === arguments[0]);"
            "const rows = [...document.querySelectorAll('#board tbody tr:not(.group, .heads)')];"
            "return rows.map((row) => row.cells[place].textContent.trim())",
            name,
        )
        return found
