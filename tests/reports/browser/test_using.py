"""A published site in use: sorting, filtering, choosing, comparing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reports
from reports import paired, statistics, text
from reports.groups import board
from reports.records import read
from reports.site import boardpage

pytest.importorskip("selenium", reason="selenium is not installed; the extra 'test' has it")

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">"


def test_heads_sort_within_groups_and_the_address_keeps_it(page: Any) -> None:
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

    address = page.driver.current_url.rpartition("/")[2]
    page.open("about.html")
    page.open(address)
    assert page.column("Clean") == sorted(shown)


def test_filters_choose_rows_and_the_address_keeps_them(page: Any) -> None:
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
    assert "cw" not in page.texts("#board .heads th")
    Select(page.find("select[name=threat]")).select_by_visible_text("L2 ε = 2")
    assert page.find("tr.group").text.startswith("mnist")
    assert "cw" in page.texts("#board .heads th")
    page.find("input[name=q]").send_keys("pgd-at")
    assert page.column("Defense") == ["pgd-at"]
    assert page.find("#count").text.startswith("1 of ")


def test_a_long_leaderboard_keeps_its_columns_in_line_and_its_sorting(
    page: Any, results: Path
) -> None:
    whole = board(read(results))
    digits, *others = whole.groups
    seeds = [
        replace(one, values=replace(one.values, seed=n)) for n in range(60) for one in digits.rows
    ]
    whole = replace(whole, groups=[replace(digits, rows=seeds), *others])
    long = page.site / "long.html"
    long.write_text(boardpage.write(whole, whole.document()))
    page.open("long.html?dataset=digits&sort=seed")
    assert page.column("Seed") == [str(n) for n in range(60) for _ in range(6)]
    assert "long" in page.find("#board").get_attribute("class").split()
    edges = page.run(
        "return [...document.querySelectorAll('#board tr:not(.group, .heads)')].slice(0, 5)"
        ".map((row) =>"
        " [...row.cells].filter((c) => c.getClientRects().length)"
        ".map((c) => Math.round(c.getBoundingClientRect().right)))"
    )
    assert len(edges[0]) > 10
    assert edges[1:] == edges[:1] * 4
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert page.run("return getComputedStyle(document.querySelector('#board')).display") == "table"
    long.unlink()


def test_what_the_address_should_not_hold_is_ignored(page: Any) -> None:
    page.open("index.html?framework=jax&sort=__proto__&order=x&q=")
    assert len(page.column("Defense")) > 4
    assert page.find("select[name=sort]").get_attribute("value") == "rank"


def test_a_row_opens_its_models_page(page: Any) -> None:
    page.open("index.html?dataset=digits&defense=trades")
    page.find("#board tbody tr:not(.group, .heads) td.w").click()
    page.wait(lambda: "models/" in page.driver.current_url)
    assert page.find("h1").text == "trades in torch"
    page.find(".crumbs a").click()
    assert page.query["dataset"] == ["digits"]


def test_chosen_rows_are_compared(page: Any, results: Path) -> None:
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


def test_a_comparison_can_be_changed_and_downloaded(page: Any) -> None:
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


def test_models_with_other_examples_are_not_paired(page: Any) -> None:
    page.open("compare.html?cell=digits-pgd-at-torch-s0-linf&cell=mnist-pgd-at-torch-s0-l2")
    # The data sets have other names but the same fingerprint and examples, so they are paired.
    page.wait(lambda: page.texts(".pair"))
    page.run(
        "benchOutcomes('mnist-pgd-at-torch-s0-l2', "
        "{fingerprint: 'other', test_index: [1], clean: '1', suites: {}})"
    )
    Select(page.find("#candidates")).select_by_value("evil")
    page.wait(lambda: "No paired test" in page.find("#tables").text)


def test_statistics_of_pairs_are_those_of_the_library(page: Any) -> None:
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


def test_hostile_names_run_nothing(page: Any) -> None:
    page.open("index.html?dataset=mnist")
    assert HOSTILE in page.column("Defense")
    page.open("models/evil/index.html")
    assert page.find("h1").text.startswith(HOSTILE)
    page.open("compare.html?cell=evil&cell=mnist-pgd-at-torch-s0-l2")
    page.wait(lambda: page.texts(".pair"))
    assert HOSTILE in page.find("#side").text
    assert page.driver.title.startswith("Compare")
    assert page.run("return document.querySelectorAll('main img').length") == 0
