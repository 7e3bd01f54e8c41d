"""A browser that goes to a page, and what axe finds wrong with the page that it shows."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

_ASK = """
const [impacts, done] = arguments;
const options = {resultTypes: ["violations"], preload: false};
axe.run(document, options).then((found) => done(found.violations
  .filter((one) => impacts.includes(one.impact))
  .map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`)));
"""


def go_to(driver: Any, url: str) -> None:
    """Opens a page, and waits until it is there with all that it loads."""
    from selenium.webdriver.support.ui import WebDriverWait

    driver.execute_script("window.isThePageBefore = true")
    driver.get(url)
    # On a busy machine the driver comes back while the page before is still there.
    there = "return !window.isThePageBefore && document.readyState === 'complete'"
    WebDriverWait(driver, 20).until(lambda shown: shown.execute_script(there))


def violations(driver: Any, impacts: tuple[str, ...]) -> list[str]:
    """The rules that the page breaks, with the elements that break them.

    The script is that of the package axe-playwright-python, whose own way to a browser isn't used.
    """
    package = find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        pytest.skip("axe is not installed; the extra 'test' has it")
    driver.execute_script(Path(package.origin).with_name("axe.min.js").read_text("utf-8"))
    driver.set_script_timeout(60)
    found: list[str] = driver.execute_async_script(_ASK, list(impacts))
    return found
