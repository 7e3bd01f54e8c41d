"""Texts in the results are shown as texts: on the page, in the files, in the terminal."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import reports
from benchmark.results.identity import CHECKS_VERSION, PROTOCOL_VERSION
from reports.text import one_line, plain

TEXTS = {
    "script": "<script>alert(1)</script>",
    "attribute": "\" onload='alert(1)' x=\"",
    "end of everything": "--></style></svg></pre></title></table><img src=x onerror=alert(1)>",
    "entity": "&lt;b&gt;&#60;&amp",
    "template": "{{ 7 * 7 }}{% raw %}",
    "formula": "=HYPERLINK(1)",
    "other formula": "@SUM(1+1)|cmd",
    "escape sequences": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "reversed": "abc\u202eexe.\u2066gpj",
    "other controls": "a\x00b\x08c\x7fd\x85e\re\tf",
    "lines": "one\ntwo\r\nthree\u2028four",
    "no Unicode": "a\ud800b\udcff",
    "mathematics": "$\\frac{1}{0}$_{x^{2}}",
    "underscore": "_hidden",
    "other scripts": "防御 🤖 دفاع",
    "long": "very " * 400,
}


class Structure(HTMLParser):
    """A page's elements with the names of their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def results(synthetic: Any, text: str) -> None:
    """Two good cells, one of which holds the text wherever there is a text, and a failed one."""
    synthetic.cell("harmless", robust={"pgd": 0.8}, cell_id="a")
    synthetic.cell(
        text, text, robust={"pgd": 0.7}, parameters={text: text}, dataset=text, cell_id="b"
    )
    record = synthetic.store.read_cell("b")
    config = record["config"]
    config["model"] = config["threat"]["norm"] = config["dataset"]["fingerprint"] = text
    synthetic.change(
        "b",
        config={**config, text: text},
        suites={text: record["suites"]["quick"]},
        versions={text: text},
        git={"commit": text, "dirty": True},
        device=text,
        started=text,
    )
    content = (synthetic.store.cell_folder("b") / "attacks/pgd-1a2b3c4d.npz").read_bytes()
    synthetic.rewrite(
        "b",
        "pgd",
        lambda path: path.write_bytes(content),
        name=text,
        attack=text,
        arguments={text: text},
        reason=text,
    )
    measured(synthetic.store, text)
    synthetic.cell("failing", robust={"pgd": 0.5}, states={"pgd": ("failed", text)}, cell_id="c")
    synthetic.cell(text, text, status="failed", reason=text, dataset=text, cell_id="d")


def measured(store: Any, text: str) -> None:
    """What else a cell may hold with texts in it: checks, security curves, adaptation."""
    check = {"name": text, "status": "flagged", "sentence": text, "evidence": {text: text}}
    store.write_stage(
        "b", "trust/quick", {"suite": text, "checks_version": CHECKS_VERSION, "checks": [check]}
    )
    curve = {"attack": text, "norm": text, "eps": [0.0, 0.1], "robust_accuracy": [0.9, 0.5]}
    store.write_stage(
        "b", "curves/one", {**curve, "from": "bounded", "protocol_version": PROTOCOL_VERSION}
    )
    failed = {"attack": text, "status": "failed", "reason": text}
    store.write_stage("b", "curves/two", failed)
    corrupted = {"corruptions": [text], "constants": text, "accuracy": [[0.5] * 5]}
    corrupted |= {"mean": 0.5, "low": 0.4, "high": 0.6, "clean_accuracy": 0.9, "examples": 200}
    corrupted |= {"protocol_version": PROTOCOL_VERSION}
    store.write_stage("b", "corruptions/common", corrupted)
    certified = {"sigma": 0.1, "n0": 10, "n": 100, "alpha": 0.001, "examples": 3, "abstained": 0}
    certified |= {"radii": [0.0, 0.1], "certified_accuracy": [0.5, 0.5], "certified": 0.5}
    certified |= {"mean_radius": 0.1, "radius_needed": 0.1, "broken": 0}
    store.write_stage("b", "certification/one", certified)
    store.write_stage("b", "certification/two", {"status": "failed", "reason": text})
    family = {
        "family": text,
        "description": text,
        "role": "held-out",
        "rate": 0.1,
        "tuned_steps": 5,
        "shots": [0, 10],
        "steps": [0, 5],
        "episodes": 2,
        "queries": 20,
        "labels_used": 10,
        "status": "failed",
        "reason": text,
    }
    store.write_stage("b", "adaptations/one", family)


@pytest.fixture(scope="module")
def harmless(synthetic_in: Any, tmp_path_factory: pytest.TempPathFactory) -> Structure:
    """The leaderboard of the same results with a harmless text."""
    synthetic = synthetic_in(tmp_path_factory.mktemp("harmless") / "out")
    results(synthetic, "usual")
    return Structure(reports.publish(synthetic.store.path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=TEXTS.values(), ids=TEXTS)
def hostile(
    request: pytest.FixtureRequest, synthetic_in: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A results folder with its report, and the text that is everywhere in it."""
    synthetic = synthetic_in(tmp_path_factory.mktemp("hostile") / "out")
    results(synthetic, request.param)
    reports.publish(synthetic.store.path)
    return synthetic.store.path, request.param


def test_the_page_has_the_elements_of_a_harmless_one(
    hostile: tuple[Path, str], harmless: Structure
) -> None:
    out, text = hostile
    page = (out / "report" / "index.html").read_text(encoding="utf-8")

    found = Structure(page)

    assert Counter(found.elements) == Counter(harmless.elements)  # the order is that of names
    assert one_line(text) in one_line(found.text)
    assert not [c for c in page if c != "\n" and unicodedata.category(c) in ("Cc", "Cs")]
    assert "\u202e" not in page


def test_every_page_of_the_site_shows_the_text_and_runs_nothing(
    hostile: tuple[Path, str], tmp_path: Path
) -> None:
    out, text = hostile
    reports.publish(out, tmp_path / "site")
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) == 6 + 4
    for path in pages:
        page = path.read_text(encoding="utf-8")
        found = Structure(page)
        assert not [e for e in found.elements if any(name.startswith("on") for name in e[1:])]
        tags = [element[0] for element in found.elements]
        own = tags.count("script") - page.count('<script type="application/json"')
        assert own == page.count('<script src="assets/') + page.count(
            '<script src="../../assets/site.js"'
        )
        assert {"iframe", "object", "base"}.isdisjoint(tags)
        assert not [c for c in page if c != "\n" and unicodedata.category(c) in ("Cc", "Cs")]
        if path.name == "index.html" and path.parent.name not in ("a", "c"):
            assert one_line(text) in one_line(found.text)


def test_no_cell_of_the_csv_is_a_formula_or_takes_two_lines(hostile: tuple[Path, str]) -> None:
    out, text = hostile
    raw = (out / "report" / "leaderboard.csv").read_text(encoding="utf-8")
    table = list(csv.reader(raw.splitlines()))

    assert len(table) == 1 + 4
    assert len({len(row) for row in table}) == 1
    for value in (value for row in table for value in row):
        assert not value.startswith(("=", "+", "-", "@", "\t"))
        assert plain(value) == value
    (row,) = [row for row in table if row[-1] == "b"]
    shown = one_line(text)
    assert row[table[0].index("defense")] in (shown, f"'{shown}")


def test_the_json_holds_texts_exactly_as_stored(hostile: tuple[Path, str]) -> None:
    out, text = hostile
    content = (out / "report" / "leaderboard.json").read_bytes()

    assert content.isascii()
    (row,) = [row for row in json.loads(content)["rows"] if row["cell_id"] == "b"]
    assert {row[name] for name in ("defense", "framework", "dataset", "model", "suite")} == {text}
    assert row["parameters"] == {text: text}


def test_the_terminal_gets_no_control_characters(hostile: tuple[Path, str]) -> None:
    out, text = hostile
    table = reports.terminal_table(out)

    shown = [*table.columns, *(value for row in table.rows for value in row), *table.notes]
    assert all(one_line(value) == value for value in shown)
    assert one_line(text) in shown


def test_names_of_foreign_files_are_texts(synthetic: Any) -> None:
    name = "\udcff<b>\x1b[2J=1+1\n"
    synthetic.cell()
    (synthetic.store.path / "cells" / name).write_text("")

    index = reports.publish(synthetic.store.path)
    page, notes = index.read_text(), reports.terminal_table(synthetic.store.path).notes

    assert "cells/\ufffd&lt;b&gt;\ufffd[2J=1+1" in page
    assert notes == ["left out: cells/\ufffd<b>\ufffd[2J=1+1: not a cell of this benchmark"]
    (entry,) = json.loads((index.parent / "leaderboard.json").read_text())["left_out"]
    assert entry["path"] == f"cells/{name}"


def test_names_in_what_breaks_the_schema_are_texts(synthetic: Any) -> None:
    cell_id = synthetic.cell()
    synthetic.change(cell_id, suites={"\x1b[2J<b>\n": 3})

    (entry,) = reports.load(synthetic.store.path).attrs["left_out"]
    page = reports.publish(synthetic.store.path).read_text()

    assert "suites.<b>: input should be a valid list" in entry["reason"]
    assert "<b>" not in page
