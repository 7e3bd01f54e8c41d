"""The published site: its numbers, what it never does, and what it rewrites."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reports
from benchmark.errors import StoreError
from benchmark.results import Store, npz_writer
from reports import text

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x1b[31m{{ 7*7 }}"
PAGES = (
    "index.html",
    "compare.html",
    "frameworks.html",
    "tradeoffs.html",
    "metatest.html",
    "about.html",
)
VOID = {"meta", "link", "input", "img", "br", "wbr"}


class Page(HTMLParser):
    """What a reader sees of a page's main part, its elements, and the rows of its tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "main" in self.open and not {"script", "style", "svg"} & set(self.open):
            self.seen.append(data)
            if {"td", "th"} & set(self.open):
                self.rows[-1][-1] += data


def files(site: Path) -> dict[str, bytes]:
    return {
        path.relative_to(site).as_posix(): path.read_bytes()
        for path in sorted(site.rglob("*"))
        if path.is_file()
    }


def document(site: Path, name: str) -> Any:
    return json.loads((site / name).read_text())


def recomputed(synthetic: Any, cell_id: str) -> dict[str, Any]:
    """Counts from the stored outcomes, in no other way than by their definition."""
    store = synthetic.store
    found: dict[str, Any] = {"attacks": {}}
    held = None
    for key in store.read_cell(cell_id)["suites"]["quick"]:
        arrays = store.read_arrays(cell_id, f"attacks/{key}", f"{key}.npz")
        robust = arrays["clean_correct"] & ~arrays["success"]
        held = robust if held is None else held & robust
        found["attacks"][key.rpartition("-")[0]] = int(robust.sum())
        found |= {"clean": int(arrays["clean_correct"].sum()), "label": arrays["label"]}
    assert held is not None
    return found | {"held": held, "worst_case": int(held.sum()), "attacked": len(held)}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def test_the_pages_numbers_are_those_of_the_stored_outcomes(synthetic: Any, site: Path) -> None:
    cell_id = synthetic.cell("pgd-at")
    synthetic.cell("none")
    reports.publish(synthetic.store.path, site)
    expected = recomputed(synthetic, cell_id)
    n = expected["attacked"]

    row = next(
        row for row in Page((site / "index.html").read_text()).rows if row[1:2] == ["pgd-at"]
    )
    shares = [expected["clean"], expected["worst_case"], *expected["attacks"].values()]
    assert [*row[4:6], *row[-4:]] == [text.percent(count / n) for count in shares]

    suite = document(site, f"models/{cell_id}/data.json")["suites"][0]
    assert suite["worst_case"]["correct"] == expected["worst_case"]
    assert {a["name"]: a["robust"]["correct"] for a in suite["attacks"]} == expected["attacks"]
    for one in suite["classes"]:
        mine = expected["label"] == one["label"]
        assert one["examples"] == mine.sum()
        assert one["worst_case"]["correct"] == (expected["held"] & mine).sum()
    strongest = suite["confusion"]["attack"]
    right = sum(p["count"] for p in suite["confusion"]["pairs"] if p["label"] == p["prediction"])
    assert right == expected["attacks"][strongest] == min(expected["attacks"].values())


def test_the_numbers_between_models_are_those_of_the_stored_outcomes(
    synthetic: Any, site: Path
) -> None:
    first = synthetic.cell("pgd-at", "torch", clean=0.95)
    second = synthetic.cell("pgd-at", "tensorflow", clean=0.85)
    synthetic.cell("none", clean=0.99)
    reports.publish(synthetic.store.path, site)
    a, b = recomputed(synthetic, first), recomputed(synthetic, second)
    only = [int((a["held"] & ~b["held"]).sum()), int((b["held"] & ~a["held"]).sum())]
    difference = (only[0] - only[1]) / len(a["held"])

    (pair,) = document(site, "data/frameworks.json")["groups"][0]["pairs"]
    assert pair["only"] == only
    assert pair["difference"] == pytest.approx(difference)
    assert pair["agreement"] == pytest.approx(1 - sum(only) / len(a["held"]))
    row = Page((site / "frameworks.html").read_text()).rows[2]
    shown = [text.percent(one[kind] / 200) for kind in ("clean", "worst_case") for one in (a, b)]
    assert row[2:7] == [*shown, text.points(difference)]

    points = document(site, "data/tradeoffs.json")["groups"][0]["points"]
    found = {p["cell_id"]: (p["clean_accuracy"], p["worst_case"]) for p in points}
    assert found[first] == pytest.approx((a["clean"] / 200, a["worst_case"] / 200))
    assert [p["cell_id"] for p in points if p["front_clean"]] == [
        first,
        "digits-none-torch-s0-linf",
    ]


@pytest.mark.parametrize("stored_by", ["torch", "tensorflow"])
def test_transfer_is_shown_from_either_framework(
    synthetic: Any, site: Path, stored_by: str
) -> None:
    cells = {name: synthetic.cell("pgd-at", name) for name in ("torch", "tensorflow")}
    other = "tensorflow" if stored_by == "torch" else "torch"
    from_torch = [[0.5, 0.25], [0.125, 0.75]]  # made on, tried on; torch first
    success = from_torch if stored_by == "torch" else [[0.75, 0.125], [0.25, 0.5]]
    record = {"twin": cells[other], "attack": "PGD", "examples": 8, "success": success}
    synthetic.store.write_stage(cells[stored_by], f"transfers/{other}", record)

    reports.publish(synthetic.store.path, site)

    (pair,) = document(site, "data/frameworks.json")["groups"][0]["pairs"]
    assert pair["transfer"] == {"attack": "PGD", "examples": 8, "success": from_torch}
    row = Page((site / "frameworks.html").read_text()).rows[-1]
    assert row == ["pgd-at", "0", "PGD", "8", "50.0", "25.0", "12.5", "75.0"]


def test_every_number_of_a_page_is_in_its_data(synthetic: Any, site: Path) -> None:
    for seed in (0, 1, 2):
        for framework in ("torch", "tensorflow"):
            cell_id = synthetic.cell(
                "trades",
                framework,
                seed=seed,
                clean=0.9 + 0.01 * seed - 0.02 * (framework == "torch"),
            )
    synthetic.cell("none")
    synthetic.cell("mart", states={"square": ("failed", "12 out of memory")})
    store_measured(synthetic.store, cell_id)
    reports.publish(synthetic.store.path, site)
    folder = f"models/{cell_id}"
    pages = {
        "index.html": "data/index.json",
        "frameworks.html": "data/frameworks.json",
        "tradeoffs.html": "data/tradeoffs.json",
        f"{folder}/index.html": f"{folder}/data.json",
    }
    for name, data in pages.items():
        shown = numbers(" ".join(Page((site / name).read_text()).seen))
        assert len(shown) > 5
        missing = shown - numbers(" ".join(told(document(site, data))))
        assert missing <= {"95", "0", "1"}, name  # of "95 % interval" and "[0, 1]"


def store_measured(store: Store, cell_id: str) -> None:
    """Trust checks, a security curve and a family of the adaptation protocol."""
    evidence = {"share": 0.98437, "examples": 64}
    check = {"name": "one", "status": "flagged", "sentence": "98.4 % vanish", "evidence": evidence}
    store.write_stage(cell_id, "trust/quick", {"suite": "quick", "checks": [check]})
    curve = {"attack": "pgd", "norm": "l2", "eps": [0.0, 0.123], "robust_accuracy": [0.91, 0.457]}
    store.write_stage(cell_id, "curves/pgd-1", {**curve, "from": "bounded", "examples": 77})
    correct = np.array([0.417, 0.523])[:, None, None] + np.array([[0.0, 0.0], [0.0, 0.211]])
    table = correct.mean(axis=0).tolist()
    family = {
        **{"family": "patch", "role": "held-out", "status": "ok", "rate": 0.03, "tuned_steps": 5},
        **{"shots": [0, 13], "steps": [0, 5], "episodes": 2, "queries": 20, "labels_used": 13},
        **{"accuracy": table, "low": table, "high": table, "clean_accuracy": table},
        "seen_accuracy": [0.5, 0.431],
    }
    arrays = {"correct": correct, "seen": np.array([[0.5, 0.431]] * 2)}
    files = {"patch-1.npz": npz_writer(arrays)}
    store.write_stage(cell_id, "adaptations/patch-1", family, files)


def numbers(shown: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", shown))


def told(value: Any) -> list[str]:
    """Every text and every number of a document, in each form that a page gives to numbers."""
    if isinstance(value, dict):
        return [one for pair in value.items() for part in pair for one in told(part)]
    if isinstance(value, list):
        return [one for part in value for one in told(part)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return [str(value)]
    forms = [text.percent, text.amount, text.duration, text.budget, text.p_value]
    plain = [str(value), f"{value:.3g}", text.points(value)]
    return [*plain, *(form(value) for form in forms if value >= 0)]


def test_the_same_results_give_the_same_bytes(synthetic: Any, tmp_path: Path) -> None:
    synthetic.cell("pgd-at")
    synthetic.cell("pgd-at", "tensorflow")
    reports.publish(synthetic.store.path, tmp_path / "one")
    reports.publish(synthetic.store.path, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_one_new_cell_rewrites_only_what_changed(
    synthetic: Any, site: Path, tmp_path: Path
) -> None:
    kept = [
        synthetic.cell(name, seed=s, examples=50) for name in ("none", "trades") for s in (0, 1)
    ]
    reports.publish(synthetic.store.path, site)
    before = {name: (site / name).stat().st_ino for name in files(site)}

    new = synthetic.cell("mart")
    reports.publish(synthetic.store.path, site)

    after = {name: (site / name).stat().st_ino for name in files(site)}
    written = {name for name, node in after.items() if before.get(name) != node}
    assert not [name for name in written if any(cell in name for cell in kept)]
    assert f"models/{new}/index.html" in written
    assert "index.html" in written
    assert not written & {"about.html", "assets/site.css", "assets/leaderboard.js"}

    reports.publish(synthetic.store.path, site)
    assert {name: (site / name).stat().st_ino for name in files(site)} == after
    reports.publish(synthetic.store.path, tmp_path / "anew")
    assert files(tmp_path / "anew") == files(site)


def test_a_page_that_was_damaged_is_written_again(synthetic: Any, site: Path) -> None:
    cell_id = synthetic.cell("pgd-at")
    reports.publish(synthetic.store.path, site)
    before = files(site)
    (site / f"models/{cell_id}/index.html").write_text("cut sho")
    (site / f"models/{cell_id}/data.json").unlink()
    reports.publish(synthetic.store.path, site)
    assert files(site) == before


def test_pages_of_cells_that_are_gone_are_removed_and_others_files_stay(
    synthetic: Any, site: Path
) -> None:
    gone = synthetic.cell("pgd-at")
    synthetic.cell("trades")
    reports.publish(synthetic.store.path, site)
    (site / "CNAME").write_text("bench.example.org")
    (synthetic.store.cell_folder(gone) / "cell.json").unlink()
    reports.publish(synthetic.store.path, site)
    assert not (site / "models" / gone).exists()
    assert (site / "CNAME").exists()
    assert gone not in (site / "compare.html").read_text()


def test_a_page_that_can_not_be_removed_is_told(synthetic: Any, site: Path) -> None:
    gone = synthetic.cell("pgd-at")
    synthetic.cell("trades")
    reports.publish(synthetic.store.path, site)
    (synthetic.store.cell_folder(gone) / "cell.json").unlink()
    stale = site / "models" / gone / "index.html"
    stale.unlink()
    stale.mkdir()

    with pytest.raises(StoreError, match=r"can't write to .*index.html"):
        reports.publish(synthetic.store.path, site)


def test_a_folder_that_holds_something_else_is_refused(synthetic: Any, tmp_path: Path) -> None:
    synthetic.cell("pgd-at")
    out = synthetic.store.path
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    for path in (tmp_path / "photos", out, out / "cells", out / "cells" / "site"):
        with pytest.raises(StoreError, match=r"other files|stored results"):
            reports.publish(out, path)
    assert os.listdir(tmp_path / "photos") == ["cat.jpg"]
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="give another folder"):
        reports.publish(out, tmp_path / "file")


@pytest.mark.parametrize("name", ["../kept.txt", "/kept.txt", "models/../../kept.txt", "way/kept"])
def test_a_forged_marker_removes_nothing_outside(
    synthetic: Any, site: Path, tmp_path: Path, name: str
) -> None:
    synthetic.cell("pgd-at")
    reports.publish(synthetic.store.path, site)
    (tmp_path / "kept.txt").write_text("kept")
    (tmp_path / "kept").write_text("kept")
    (site / "way").symlink_to(tmp_path)
    marker = document(site, "site.json")
    marker["files"][name] = "0" * 64
    (site / "site.json").write_text(json.dumps(marker))
    with pytest.raises(StoreError, match="leads out of the site"):
        reports.publish(synthetic.store.path, site)
    assert (tmp_path / "kept.txt").exists()
    assert (tmp_path / "kept").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"version": 99}', '{"version": 1, "files": [1]}'])
def test_a_broken_marker_is_an_error_or_harmless(synthetic: Any, site: Path, content: str) -> None:
    synthetic.cell("pgd-at")
    reports.publish(synthetic.store.path, site)
    before = files(site)
    (site / "site.json").write_text(content)
    if '"version": 1,' in content:
        reports.publish(synthetic.store.path, site)
        assert files(site) == before
    else:
        with pytest.raises(StoreError, match="give another folder"):
            reports.publish(synthetic.store.path, site)


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
            attrs.get("type") == "application/json" or str(attrs["src"]).startswith("assets/")
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


def test_the_marker_tells_what_was_written(synthetic: Any, site: Path) -> None:
    synthetic.cell("pgd-at")
    reports.publish(synthetic.store.path, site)
    marker = document(site, "site.json")
    found = {n: hashlib.sha256(c).hexdigest() for n, c in files(site).items() if n != "site.json"}
    assert marker["files"] == found
