"""The plot and the order of the leaderboard: nothing cut off, nothing dropped, failures last."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import reports
import reports.page
from benchmark.results import npz_writer
from reports import plot
from reports.figures import Point, Series, accuracy_by_attack
from reports.statistics import wilson
from reports.text import spreadsheet

POINT = Point(0.5, 0.4, 0.6)


def draw(*labels: str, points: tuple[Point | None, ...] = (POINT,)) -> str:
    series = [Series(label, style, False, points) for style, label in enumerate(labels)]
    return accuracy_by_attack(["clean"], series, prefix="p")


@pytest.mark.parametrize("length", [5, 32, 33, 60])
def test_no_row_of_the_legend_falls_off_the_plot(length):
    svg = draw("a" * length, "b" * length, "c" * length)
    width = float(re.search(r'viewBox="0 0 ([\d.]+) ', svg)[1])
    for style, letter in enumerate("abc"):
        marks = re.findall(rf"<use [^>]*fill: var\(--series-{style}\)", svg)
        assert len(marks) == 2, "one in the plot, one in the legend: what falls off is not drawn"
        (start,) = re.findall(rf'<text [^>]*\bx="(-?[\d.]+)"[^>]*>{letter * length}</text>', svg)
        assert float(start) + 5.5 * length < width, "5.5: points per letter of this size"


@pytest.mark.parametrize(
    "label", ["plain", "_underscore", r"$x_{$", r"$\bad{$", "日本 🤖", "a & <b>"]
)
def test_every_label_is_drawn_as_text(label):
    shown = label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f"{shown}</text>" in draw("other", label)


def test_each_interval_is_of_the_examples_that_the_attack_was_run_on(synthetic, monkeypatch):
    cell_id = synthetic.cell(clean=0.5, robust={"pgd": 0.5, "square": 0.5}, examples=100)
    arrays = synthetic.arrays(cell_id, "square")
    attacked = np.arange(100) < 20
    success = np.arange(100) < 2  # 18 of the 20 hold
    arrays |= {"attacked": attacked, "success": success, "clean_correct": np.arange(100) < 50}
    synthetic.rewrite(cell_id, "square", npz_writer(arrays))
    drawn = []
    monkeypatch.setattr(plot, "accuracy_by_attack", lambda _, series, **__: drawn.extend(series))

    reports.page.build(synthetic.store.path)

    ((clean, pgd, square, worst),) = [one.points for one in drawn]
    assert clean == Point(0.5, *wilson(50, 100))
    assert pgd == Point(0.5, *wilson(50, 100))
    assert square == Point(0.9, *wilson(18, 20))
    assert worst == Point(0.48, 0.0, wilson(48, 100)[1], bound=True)


def test_a_row_without_any_point_keeps_its_place_in_the_legend():
    assert "failed everywhere</text>" in draw("failed everywhere", points=(None,))


def test_attacks_stand_in_the_order_of_their_suite(synthetic):
    synthetic.cell("pgd-at")
    columns = reports.leaderboard(synthetic.store.path).columns
    attacks = [name for name in columns if name.startswith("robust_accuracy.")]
    assert attacks == [f"robust_accuracy.{name}" for name in ("fgsm", "pgd", "apgd", "square")]


def test_cells_that_no_suite_attacked_come_last(synthetic):
    synthetic.cell("a-diverged", dataset="digits", robust={}, status="diverged")
    synthetic.cell("pgd-at", dataset="digits")
    synthetic.cell("pgd-at", dataset="mnist")
    board = reports.leaderboard(synthetic.store.path)
    assert list(board["status"]) == ["ok", "ok", "diverged"]


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'=1"),
        ("  =1", "'=1"),
        ("pgd-at", "pgd-at"),
        ("a\nb", "a b"),
        ("\x1b[31mred", "\ufffd[31mred"),
    ],
)
def test_no_text_is_a_formula_to_a_spreadsheet(stored, shown):
    assert spreadsheet(stored) == shown


def test_twenty_defenses_have_marks_of_their_own():
    from reports.website import charts

    assert len({str(charts.marker(style)) for style in range(-1, 20)}) == 21


@pytest.mark.parametrize(
    "backend", ["module://matplotlib_inline.backend_inline", "nonsense", "tkagg", "agg"]
)
def test_no_backend_of_the_environment_stops_or_changes_a_report(synthetic, backend):
    synthetic.cell("pgd-at")
    out = synthetic.store.path
    program = (
        # Cells of synthetic results have names of their own.
        "import os, sys, reports, reports.records; reports.records.fits = lambda *_: True; "
        "reports.write(sys.argv[1]); import matplotlib; "
        "print(os.environ['MPLBACKEND'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(out)],
        env={**os.environ, "MPLBACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == (f"{backend}\n", "")
    page = (out / "report/index.html").read_text()
    reports.write(out)
    assert page == (out / "report/index.html").read_text()


def test_style_of_a_notebook_does_not_change_the_figure():
    import matplotlib as mpl

    usual = draw("a", "b")
    with mpl.rc_context({"axes.grid": True, "font.size": 20, "lines.linewidth": 9}):
        assert draw("a", "b") == usual
        assert mpl.rcParams["font.size"] == 20
