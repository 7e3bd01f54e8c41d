"""The pages of a published site: what they show, what they never do, and who can read them."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from site_pages import Page, document, files

import reports

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x1b[31m{{ 7*7 }}"
PAGES = (
    "index.html",
    "compare.html",
    "frameworks.html",
    "tradeoffs.html",
    "metatest.html",
    "about.html",
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def test_hostile_texts_are_text_on_every_page(synthetic: Any, site: Path) -> None:
    for framework in ("torch", "tensorflow"):
        synthetic.cell(
            HOSTILE,
            framework,
            dataset=HOSTILE,
            parameters={HOSTILE: HOSTILE},
            robust={HOSTILE: 0.5, "pgd": 0.4},
            states={"pgd": ("failed", HOSTILE)} if framework == "torch" else None,
            cell_id=f"evil-{framework}",
        )
    synthetic.cell("=1+1", status="failed", reason=HOSTILE, cell_id="failed", robust={})
    reports.publish(synthetic.store.path, site)
    pages = [name for name in files(site) if name.endswith(".html")]
    assert len(pages) == len(PAGES) + 3
    for name in pages:
        html = (site / name).read_text()
        assert "\x1b" not in html
        assert "<script>" not in html
        parsed = Page(html)
        assert not [tag for tag, attrs in parsed.elements if "onerror" in attrs]
        scripts = [attrs for tag, attrs in parsed.elements if tag == "script"]
        assert all(
            attrs.get("type") == "application/json"
            or str(attrs["src"]).removeprefix("../../").startswith("assets/")
            for attrs in scripts
        )
    assert "alert(1)" in " ".join(Page((site / "index.html").read_text()).seen)
    assert "'=1+1" in (site / "leaderboard.csv").read_text()


def test_broken_results_are_named_and_nothing_stored_is_changed(synthetic: Any, site: Path) -> None:
    good = synthetic.cell("pgd-at")
    bad = synthetic.cell("trades")
    folder = synthetic.store.cell_folder(bad)
    (folder / "cell.json").write_bytes((folder / "cell.json").read_bytes()[:-9])
    next((synthetic.store.cell_folder(good) / "attacks").glob("*.npz")).write_bytes(b"no zip")
    (synthetic.store.path / "cells" / "notes.txt").write_text("mine")
    before = files(synthetic.store.path)
    reports.publish(synthetic.store.path, site)
    assert files(synthetic.store.path) == before
    seen = " ".join(Page((site / "index.html").read_text()).seen)
    for name in (f"cells/{bad}/cell.json", "cells/notes.txt"):
        assert name in seen
    assert "≤" in seen
    assert not (site / "models" / bad).exists()


def test_failed_cells_are_shown_with_their_reason(synthetic: Any, site: Path) -> None:
    cell_id = synthetic.cell("trades", status="diverged", reason="loss is not finite", robust={})
    reports.publish(synthetic.store.path, site)
    for name in ("index.html", f"models/{cell_id}/index.html"):
        assert "loss is not finite" in " ".join(Page((site / name).read_text()).seen)


def test_an_empty_results_folder_gives_a_site_that_says_so(synthetic: Any, site: Path) -> None:
    index = reports.publish(synthetic.store.path, site)
    assert "No finished cell" in index.read_text()
    assert all((site / name).exists() for name in PAGES)


def test_pages_have_landmarks_titles_and_alternatives(synthetic: Any, site: Path) -> None:
    synthetic.cell("pgd-at")
    synthetic.cell("pgd-at", "tensorflow")
    reports.publish(synthetic.store.path, site)
    titles = set()
    for name in [name for name in files(site) if name.endswith(".html")]:
        html = (site / name).read_text()
        elements = Page(html).elements
        tags = [tag for tag, _ in elements]
        assert [tags.count(tag) for tag in ("main", "h1", "nav", "header", "footer")] == [1] * 5
        titles.add(re.search("<title>(.*)</title>", html).group(1))  # type: ignore[union-attr]
        assert '<html lang="en">' in html
        identifiers = [attrs["id"] for _, attrs in elements if "id" in attrs]
        assert len(identifiers) == len(set(identifiers))
        for tag, attrs in elements:
            if tag == "img":
                assert attrs["alt"]
            if attrs.get("role") in ("img", "region", "search"):
                assert attrs.get("aria-label") or attrs.get("aria-labelledby") in identifiers
        levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
        assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert len(titles) >= len(PAGES) + 1


def test_nothing_refers_to_another_host(synthetic: Any, site: Path) -> None:
    synthetic.cell("pgd-at")
    reports.publish(synthetic.store.path, site)
    for name, content in files(site).items():
        if not name.endswith((".html", ".css", ".js")):
            continue
        page = content.decode()
        found = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)|url\(([^)]*)\)""", page)
        for link in (part for parts in found for part in parts if part):
            assert not re.match(r"[a-z]+:|//", link.replace("data:", "")), (name, link)
            target = link.partition("?")[0].partition("#")[0]
            if name.endswith(".html") and target and not link.startswith("data:"):
                assert (site / name).parent.joinpath(target).exists(), (name, link)


def test_the_command_of_a_page_makes_the_same_cell(
    synthetic: Any, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from benchmark import cells
    from benchmark.cli.app import app
    from benchmark.config import read
    from benchmark.plans.run import make_plan

    given = {"defense": ["meta-adv"], "framework": ["torch"], "seed": [3], "epochs": 2}
    plan = make_plan(read({**given, "baseline": False, "out": synthetic.store.path}), dry_run=True)
    cell = plan.jobs[0].cell
    record = cells.cell_record(
        cell, status="ok", suites={}, device="cpu", threads=1, seconds=1.0, started=""
    )
    synthetic.store.write_cell(cell.cell_id, record)
    reports.publish(synthetic.store.path, site)
    command = document(site, f"models/{cell.cell_id}/data.json")["reproduce"][0]

    words = shlex.split(command.replace("\\\n", ""))
    assert words[:2] == ["bench", "run"]
    options = [*words[1:], "--dry-run", f"--out={synthetic.store.path}"]
    done = CliRunner().invoke(app, options)
    assert cell.cell_id in done.output, done.output


def test_the_command_publishes_and_says_where(
    synthetic: Any, site: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from benchmark import cli

    synthetic.cell("pgd-at")
    arguments = ["bench", "report", str(synthetic.store.path), "--publish", str(site)]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert capsys.readouterr().out == f"{site / 'index.html'}\n"
