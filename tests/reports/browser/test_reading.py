"""A published site for every reader: screens, themes, keyboard, screen readers, paper."""

from __future__ import annotations

import base64
from typing import Any

import pytest

pytest.importorskip("selenium", reason="selenium is not installed; the extra 'test' has it")

from browsing import violations
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

NARROW, WIDE = 375, 1920
PAGES = (
    "index.html",
    "compare.html",
    "frameworks.html",
    "tradeoffs.html",
    "metatest.html",
    "about.html",
)
KINDS = (*PAGES, "compare.html?cell=digits-none-torch-s0-linf&cell=digits-trades-torch-s0-linf")
MODEL_PAGE = "models/digits-pgd-at-torch-s0-linf/index.html"


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("name", [*KINDS, MODEL_PAGE])
def test_pages_fit_their_screen(page: Any, name: str, width: int) -> None:
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


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_a_table_that_is_wider_than_its_place_says_so(page: Any, width: int) -> None:
    page.open("frameworks.html", width=width)
    wide, hint, more = page.run(
        "const one = document.querySelector('.scroll');"
        "return [one.scrollWidth > one.clientWidth + 1,"
        " getComputedStyle(one, '::before').content.includes('scroll'),"
        " getComputedStyle(one).maskImage !== 'none']"
    )
    assert (hint, more) == (wide, wide)
    assert wide or width > NARROW
    page.run("const one = document.querySelector('.scroll'); one.scrollLeft = one.scrollWidth")
    still = "return getComputedStyle(document.querySelector('.scroll')).maskImage"
    page.wait(lambda: page.run(still) == "none")


def test_cards_of_rows_fill_a_phone_and_ask_nobody_to_scroll(page: Any) -> None:
    page.open("index.html", width=NARROW)
    place = "const one = document.querySelector('.league').parentElement;"
    assert page.run(place + "return one.scrollWidth - one.clientWidth") == 0
    assert page.run(place + "return getComputedStyle(one).maskImage") == "none"


def test_names_of_models_break_between_words_on_a_phone(page: Any) -> None:
    page.open("frameworks.html", width=NARROW)
    broken = page.run(
        "const head = document.querySelector('.simple tbody th');"
        "head.innerHTML = '<a href=\"#\"></a>';"
        "const text = document.createTextNode('undefended (tensorflow), seed 0');"
        "head.firstChild.append(text);"
        "return [...text.data.matchAll(/\\S+/g)].filter((word) => {"
        " const range = document.createRange();"
        " range.setStart(text, word.index); range.setEnd(text, word.index + word[0].length);"
        " return range.getClientRects().length > 1; }).map((word) => word[0])"
    )
    assert broken == []


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_names_of_classes_stay_in_one_piece(page: Any, width: int) -> None:
    page.open(MODEL_PAGE, width=width)
    rows = page.run(
        "const head = document.querySelector('.classes tbody th');"
        "head.textContent = 'general_caution';"
        "const range = document.createRange(); range.selectNodeContents(head);"
        "return range.getClientRects().length"
    )
    assert rows == 1


def test_every_group_of_the_leaderboard_has_the_heads_of_its_columns(page: Any) -> None:
    page.open("index.html")
    heads = page.run(
        "return [...document.querySelectorAll('#board tbody')].map((body) =>"
        " [...body.rows].map((row) => row.className).slice(0, 2))"
    )
    assert heads == [["group", "heads"]] * 2


def contrast(first: str, second: str) -> float:
    """WCAG's contrast ratio of two CSS colours rgb(r, g, b)."""

    def luminance(colour: str) -> float:
        parts = [float(p) / 255 for p in colour.strip("rgba()").split(",")[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_read(page: Any, theme: str) -> None:
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


def test_everything_can_be_done_with_the_keyboard(page: Any) -> None:
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


@pytest.mark.parametrize("name", [*KINDS, MODEL_PAGE])
def test_screen_readers_find_landmarks_names_and_heads(page: Any, name: str) -> None:
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


@pytest.mark.parametrize(("width", "theme"), [(NARROW, "light"), (WIDE, "dark")])
@pytest.mark.parametrize("name", [*KINDS, MODEL_PAGE])
def test_axe_finds_nothing_wrong(page: Any, name: str, width: int, theme: str) -> None:
    page.open(name, width=width, theme=theme)
    if "cell=" in name:
        page.wait(lambda: page.texts(".pair"))
    assert violations(page.driver, ("moderate", "serious", "critical")) == []


def test_pages_print_whole_and_without_controls(page: Any) -> None:
    paper = {"index.html": 1040, MODEL_PAGE: 718, "frameworks.html": 1040}  # A4 across, upright
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


def test_the_leaderboard_can_be_read_without_scripts(page: Any) -> None:
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
