"""Figures for papers and notebooks, and the chart of the same numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reports
from benchmark import cli
from benchmark.errors import ConfigError
from benchmark.results import npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from reports.accuracies import Point, Series, series
from reports.groups import board
from reports.records import read
from reports.site.charts import bands, marker
from reports.statistics import wilson
from reports.text import clipped

POINT = Point(0.5, 0.4, 0.6)
LABELS = ["plain", "_underscore", r"$x_{$", r"$\bad{$", "日本 🤖", "a & <b>"]
SIGNATURES = {"pdf": b"%PDF", "png": b"\x89PNG", "svg": b"<?xml"}


def adapt(synthetic: Any, cell_id: str) -> None:
    """A security curve and a family of the meta-test."""
    curve = {"attack": "pgd", "norm": "linf", "eps": [0.0, 0.1], "robust_accuracy": [0.9, 0.5]}
    synthetic.store.write_stage(
        cell_id, "curves/one", {**curve, "from": "bounded", "protocol_version": PROTOCOL_VERSION}
    )
    table = [[0.4, 0.4], [0.4, 0.6]]
    family = {
        **{"family": "patch", "role": "held-out", "status": "ok", "rate": 0.03, "tuned_steps": 5},
        **{"shots": [0, 13], "steps": [0, 5], "episodes": 2, "queries": 20, "labels_used": 13},
        **{"accuracy": table, "low": table, "high": table, "clean_accuracy": table},
        "seen_accuracy": [0.5, 0.4],
        "protocol_version": PROTOCOL_VERSION,
    }
    arrays = {"correct": np.array([table] * 2), "seen": np.array([[0.5, 0.4]] * 2)}
    files = {"patch-1.npz": npz_writer(arrays)}
    synthetic.store.write_stage(cell_id, "adaptations/patch-1", family, files)


def drawn(out: Path) -> list[Series]:
    (group,) = board(read(out)).groups
    return series(group.rows, group.attacks)


def labels(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_interval_is_of_the_examples_that_the_attack_was_run_on(synthetic: Any) -> None:
    cell_id = synthetic.cell(clean=0.5, robust={"pgd": 0.5, "square": 0.5}, examples=100)
    arrays = synthetic.arrays(cell_id, "square")
    attacked = np.arange(100) < 20
    success = np.arange(100) < 2  # 18 of the 20 hold
    arrays |= {"attacked": attacked, "success": success, "clean_correct": np.arange(100) < 50}
    synthetic.rewrite(cell_id, "square", npz_writer(arrays))

    ((clean, pgd, square, worst),) = [one.points for one in drawn(synthetic.store.path)]

    assert clean == Point(0.5, *wilson(50, 100))
    assert pgd == Point(0.5, *wilson(50, 100))
    assert square == Point(0.9, *wilson(18, 20))
    assert worst == Point(0.48, 0.0, wilson(48, 100)[1], bound=True)


def test_the_chart_has_a_mark_and_an_interval_for_each_point() -> None:
    rows = [
        Series("first <b>", 0, False, (POINT, None)),
        Series("second", 1, True, (POINT, Point(0.4, 0, 0.5, bound=True))),
    ]
    chart = bands(["clean", "a <attack> " * 9], rows, words="told")
    assert chart.count('class="span s0"') == 1
    assert chart.count('class="span s1"') == 2
    assert chart.count('<path class="s1 hollow" transform') == 2
    assert chart.count(">≤</text>") == 1
    assert "first &lt;b&gt;</li>" in chart
    assert "a &lt;attack&gt; …&gt; a &lt;attack&gt;</text>" in chart


def test_long_names_that_differ_at_their_end_are_told_apart_in_charts() -> None:
    long = "pgd-at+spatial-smoothing+jpeg-compression"
    rows = [Series(f"{long} (torch), seed {n}", 0, False, (POINT, POINT)) for n in (0, 1)]
    chart = bands([f"projected-gradient-descent-{n}" for n in (1, 2)], rows, words="told")
    for n in (1, 2):
        assert f"projected-g…nt-descent-{n}</text>" in chart
    for n in (0, 1):
        assert f"pgd-at+spatial-smoothin…pression (torch), seed {n}</li>" in chart
    assert [clipped("x" * n, 24) for n in (24, 25)] == ["x" * 24, "x" * 11 + "…" + "x" * 12]


def test_twenty_defenses_have_marks_of_their_own() -> None:
    assert len({str(marker(style)) for style in range(-1, 20)}) == 21


@pytest.mark.parametrize("label", LABELS)
def test_every_label_is_drawn_as_text(synthetic: Any, tmp_path: Path, label: str) -> None:
    synthetic.cell(label, robust={label: 0.5}, cell_id="a")
    synthetic.cell("other", robust={label: 0.4}, cell_id="b")

    paths = reports.write_figures(synthetic.store.path, tmp_path / "figures")

    shown = label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    (accuracy,) = [path for path in paths if path.match("accuracy-*.svg")]
    content = accuracy.read_text()
    assert re.search(rf">\u200b?{re.escape(shown)} \(torch\)</text>", content)
    assert f"{shown}</text>" in content


def test_every_figure_of_every_group_is_written_in_each_format(
    synthetic: Any, tmp_path: Path
) -> None:
    adapt(synthetic, synthetic.cell("pgd-at"))
    synthetic.cell("pgd-at", dataset="mnist")
    synthetic.cell("mart", status="failed", robust={})

    paths = reports.write_figures(synthetic.store.path, tmp_path / "figures")

    names = {path.name for path in paths}
    of_digits = {f"{kind}-digits" for kind in ("accuracy", "tradeoffs", "security", "metatest")}
    stems = {name.partition("-cnn")[0] for name in names}
    assert stems == of_digits | {"accuracy-mnist", "tradeoffs-mnist"}
    assert len(names) == 3 * len(stems)
    for path in paths:
        assert path.read_bytes().startswith(SIGNATURES[path.suffix[1:]])


def test_groups_whose_names_look_alike_have_files_of_their_own(
    synthetic: Any, tmp_path: Path
) -> None:
    for number, name in enumerate(("a+b", "a*b")):
        synthetic.cell(dataset=name, cell_id=f"cell-{number}")
    paths = reports.write_figures(synthetic.store.path, tmp_path / "figures")
    assert len({path for path in paths if path.match("accuracy-*.pdf")}) == 2


def test_the_same_results_give_the_same_bytes_in_any_style(synthetic: Any, tmp_path: Path) -> None:
    import matplotlib as mpl

    adapt(synthetic, synthetic.cell("pgd-at"))
    usual = reports.write_figures(synthetic.store.path, tmp_path / "usual")
    with mpl.rc_context({"axes.grid": True, "font.size": 20, "lines.linewidth": 9}):
        styled = reports.write_figures(synthetic.store.path, tmp_path / "styled")
        assert mpl.rcParams["font.size"] == 20
    assert [path.read_bytes() for path in styled] == [path.read_bytes() for path in usual]


def test_a_plot_shows_one_group_in_the_readers_style(synthetic: Any) -> None:
    import matplotlib as mpl

    synthetic.cell("none")
    synthetic.cell("pgd-at", "tensorflow")
    with mpl.rc_context({"font.size": 17}):
        figure = reports.plot_accuracy(synthetic.store.path)

    assert labels(figure) == ["pgd-at (tensorflow)", "undefended (torch)"]
    (axes,) = figure.axes
    ticks = [tick.get_text() for tick in axes.get_yticklabels()]
    assert ticks == ["clean", "fgsm", "pgd", "apgd", "square", "worst case"]
    assert axes.xaxis.label.get_size() == 17
    assert figure._repr_png_().startswith(SIGNATURES["png"])


def test_a_plot_of_curves_has_their_numbers(synthetic: Any) -> None:
    adapt(synthetic, synthetic.cell("pgd-at"))
    (line,) = reports.plot_security(synthetic.store.path).axes[0].lines
    assert line.get_xydata().tolist() == [[0.0, 90.0], [0.1, 50.0]]
    (line,) = reports.plot_metatest(synthetic.store.path).axes[0].lines
    assert line.get_xydata().tolist() == [[0.0, 40.0], [5.0, 60.0]]
    (dot,) = reports.plot_tradeoffs(synthetic.store.path).axes[0].lines
    assert dot.get_xydata().tolist() == [[95.0, pytest.approx(77.5)]]


@pytest.mark.parametrize(
    ("group", "told"),
    [
        (None, "holds 2 groups; give one of: digits, cnn, L∞ ε = 0.15, quick; mnist,"),
        ("cifar", "holds no group that begin with 'cifar'; give one of: digits"),
    ],
)
def test_a_plot_of_several_groups_asks_which(synthetic: Any, group: str | None, told: str) -> None:
    synthetic.cell()
    synthetic.cell(dataset="mnist")
    with pytest.raises(ConfigError, match=re.escape(told)):
        reports.plot_accuracy(synthetic.store.path, group)
    assert labels(reports.plot_accuracy(synthetic.store.path, "mnist")) == ["pgd-at (torch)"]


def test_a_plot_without_results_is_an_error(synthetic: Any) -> None:
    synthetic.cell()
    with pytest.raises(ConfigError, match=r"digits, .*, quick has no results for this figure"):
        reports.plot_metatest(synthetic.store.path)


@pytest.mark.parametrize(
    "backend", ["module://matplotlib_inline.backend_inline", "nonsense", "tkagg", "agg"]
)
def test_no_backend_of_the_environment_stops_or_changes_a_figure(
    synthetic: Any, tmp_path: Path, backend: str
) -> None:
    synthetic.cell("pgd-at")
    program = (
        # Cells of synthetic results have names of their own.
        "import os, sys, reports, reports.records; reports.records.fits = lambda *_: True; "
        "reports.write_figures(*sys.argv[1:]); "
        "reports.plot_accuracy(sys.argv[1]).savefig('x.png'); "
        "print(os.environ['MPLBACKEND'], 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(synthetic.store.path), str(tmp_path / "named")],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == (f"{backend} False\n", "")
    for path in reports.write_figures(synthetic.store.path, tmp_path / "usual"):
        assert path.read_bytes() == (tmp_path / "named" / path.name).read_bytes()


def test_the_command_writes_them_and_says_where(
    synthetic: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    synthetic.cell("pgd-at")
    to = tmp_path / "figures"
    monkeypatch.setattr(
        "sys.argv", ["bench", "report", str(synthetic.store.path), "--figures", str(to)]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert capsys.readouterr().out == f"6 files in {to}\n"
    assert len(os.listdir(to)) == 6
    assert not (synthetic.store.path / "report").exists()
