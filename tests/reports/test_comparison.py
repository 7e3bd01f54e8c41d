"""Two cells side by side, and tables as text for documents."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

import reports
from benchmark.errors import ConfigError
from benchmark.results import npz_writer
from reports.formats import as_latex, as_markdown
from reports.paired import differences
from reports.terminal import TerminalTable

HOSTILE = "a|b\x1b[31m<script>`_*$x$\\\n=1+1 {}%&#~^[x](y)@all http://x"


@pytest.fixture
def pair(synthetic: Any) -> tuple[Any, str, str]:
    """Of 200 examples A keeps the first 160 and B the first 140; A has 190 right before, B 180."""
    a = synthetic.cell("a", clean=0.95, robust={"pgd": 0.8})
    b = synthetic.cell("b", clean=0.90, robust={"pgd": 0.7}, parameters={"rate": 0.1})
    return synthetic, a, b


def test_each_number_of_a_comparison_worked_by_hand(pair: Any) -> None:
    synthetic, a, b = pair

    compared = reports.compare(synthetic.store.path, a, b)

    assert list(compared["attack"]) == ["clean", "pgd", "worst case"]
    assert list(compared["accuracy_a"]) == [0.95, 0.8, 0.8]
    assert list(compared["accuracy_b"]) == [0.9, 0.7, 0.7]
    assert list(compared["difference"]) == pytest.approx([0.05, 0.1, 0.1])
    assert list(compared["only_a"]) == [10, 20, 20]
    assert list(compared["only_b"]) == [0, 0, 0]
    # two rows in the group, so one comparison
    assert list(compared["p_corrected"]) == pytest.approx([2 / 2**10, 2 / 2**20, 2 / 2**20])
    expected = differences(np.array([20]), np.array([0]), examples=200, comparisons=1)
    assert (compared["low"][1], compared["high"][1]) == (expected.low[0], expected.high[0])
    assert compared.attrs["differs"] == {
        "defense.name": ("a", "b"),
        "defense.parameters.rate": (None, 0.1),
    }
    assert list(compared.attrs["columns"]) == list(compared.columns)


def test_the_beginnings_of_ids_are_taken(pair: Any) -> None:
    synthetic, a, b = pair
    whole = reports.compare(synthetic.store.path, a, b)

    compared = reports.compare(synthetic.store.path, a[:-3], b[:-3])

    assert (compared.attrs["a"], compared.attrs["b"]) == (a, b)
    assert compared.equals(whole)
    with pytest.raises(ConfigError, match="is not unique in"):
        reports.compare(synthetic.store.path, a[:2], b)


def test_the_other_way_round_only_the_signs_change(pair: Any) -> None:
    synthetic, a, b = pair

    there, back = (reports.compare(synthetic.store.path, *ids) for ids in ((a, b), (b, a)))

    assert list(there["difference"]) == pytest.approx(list(-back["difference"]))
    assert list(there["p_corrected"]) == list(back["p_corrected"])


@pytest.mark.parametrize(
    ("share", "verdict"),
    [
        (0.70, "worst case of quick: A is right more often, by 10.0 points (p < 0.001)"),
        (0.78, "worst case of quick: the data can't tell A and B apart (p = 0.125)"),
    ],
)
def test_the_verdict_in_words(synthetic: Any, share: float, verdict: str) -> None:
    # of 4 discordant examples p = 2/2**4
    a = synthetic.cell("a", robust={"pgd": 0.8})
    b = synthetic.cell("b", robust={"pgd": share})

    shown = reports.comparison_table(reports.compare(synthetic.store.path, a, b))

    assert shown.notes[:2] == [f"A: {a}", f"B: {b}"]
    assert shown.notes[-1] == verdict
    assert shown.rows[-1][:3] == ["worst case", "80.0", f"{100 * share:.1f}"]


def test_an_incomplete_worst_case_is_not_compared(synthetic: Any) -> None:
    a = synthetic.cell("a", robust={"pgd": 0.8, "fgsm": 0.8})
    b = synthetic.cell(
        "b", robust={"pgd": 0.8, "fgsm": 0.8}, states={"fgsm": ("failed", "no memory")}
    )

    compared = reports.compare(synthetic.store.path, a, b)
    shown = reports.comparison_table(compared)

    worst = compared.set_index("attack").loc["worst case"]
    assert (worst["bound_a"], worst["bound_b"]) == (False, True)
    assert compared["p_corrected"].isna().tolist() == [False, False, True, True]
    assert shown.rows[-1][:4] == ["worst case", "79.5", "≤ 80.0", "–"]
    assert shown.notes[-1].endswith("not compared, an attack failed, is missing, or ran otherwise")


def test_cells_of_other_examples_are_not_compared(pair: Any) -> None:
    synthetic, a, b = pair
    arrays = synthetic.store.read_arrays(b, "attacks/pgd-1a2b3c4d", "pgd-1a2b3c4d.npz")
    record = synthetic.store.read_stage(b, "attacks/pgd-1a2b3c4d")
    moved = npz_writer({**arrays, "test_index": arrays["test_index"] + 1})
    synthetic.store.write_stage(b, "attacks/pgd-1a2b3c4d", record, {"pgd-1a2b3c4d.npz": moved})

    with pytest.raises(ConfigError, match="different test examples"):
        reports.compare(synthetic.store.path, a, b)


def test_cells_without_a_common_attack_are_not_compared(synthetic: Any) -> None:
    a = synthetic.cell("a", robust={"pgd": 0.8})
    b = synthetic.cell("b", robust={"fgsm": 0.8})

    with pytest.raises(ConfigError, match="no attack in common"):
        reports.compare(synthetic.store.path, a, b)


def test_a_damaged_cell_is_named(pair: Any) -> None:
    synthetic, a, b = pair
    (synthetic.store.cell_folder(b) / "cell.json").write_text("{")

    with pytest.raises(ConfigError, match=f"cell '{b}' has no results .* damaged"):
        reports.compare(synthetic.store.path, a, b)


@pytest.mark.parametrize("form", ["csv", "json", "markdown", "latex"])
def test_what_is_stored_stays_text_in_every_format(synthetic: Any, form: str) -> None:
    a = synthetic.cell("a", robust={HOSTILE: 0.8})
    b = synthetic.cell(HOSTILE, robust={HOSTILE: 0.7}, cell_id="hostile")
    synthetic.cell("=1+1", status="failed", reason=HOSTILE, cell_id="failed")
    out = synthetic.store.path

    texts = [reports.formatted(out, form)]
    texts.append(reports.formatted_comparison(reports.compare(out, a, b), form))

    for text in texts:
        assert "\x1b" not in text
        if form == "markdown":
            assert "<script>" not in text
            assert "http://" not in text
            table = [line for line in text.splitlines() if line.startswith("|")]
            bars = {line.replace("\\|", "").count("|") for line in table}
            assert len(bars) == 1
        if form == "latex":
            rows = [line for line in text.splitlines() if line.endswith("\\\\")]
            assert len({row.replace("\\&", "").count("&") for row in rows}) == 1
            assert "$x$" not in "\n".join(rows)
        if form == "csv":
            assert not any(
                cell.startswith(("=", "+", "@"))
                for row in csv.reader(io.StringIO(text))
                for cell in row
            )


def test_csv_and_json_hold_every_number_in_full(pair: Any) -> None:
    synthetic, a, b = pair
    out = synthetic.store.path
    board = reports.leaderboard(out)

    told = json.loads(reports.formatted(out, "json"))
    lines = list(csv.DictReader(io.StringIO(reports.formatted(out, "csv"))))

    for place, low in enumerate(board["worst_case_low"]):
        assert told["rows"][place]["worst_case_low"] == low
        assert float(lines[place]["worst_case_low"]) == low
    compared = reports.compare(out, a, b)
    told = json.loads(reports.formatted_comparison(compared, "json"))
    assert [row["p_corrected"] for row in told["rows"]] == list(compared["p_corrected"])
    assert (told["a"], told["b"]) == (a, b)
    lines = list(csv.DictReader(io.StringIO(reports.formatted_comparison(compared, "csv"))))
    assert [float(line["high"]) for line in lines] == list(compared["high"])


TABLE = TerminalTable(["defense", "rank"], [["a_b|<i>", "1"], ["50 % & ≤", "2"]], ["note_1"])


def test_markdown() -> None:
    assert as_markdown(TABLE).splitlines() == [
        "| defense | rank |",
        "| --- | ---: |",
        "| a\\_b\\|&#60;i&#62; | 1 |",
        "| 50 % &#38; ≤ | 2 |",
        "",
        "- note\\_1",
    ]


def test_latex() -> None:
    assert as_latex(TABLE).splitlines() == [
        "\\begin{tabular}{lr}",
        "\\toprule",
        "{defense} & {rank} \\\\",
        "\\midrule",
        "{a\\_b|\\textless{}i\\textgreater{}} & {1} \\\\",
        "{50 \\% \\& $\\leq$} & {2} \\\\",
        "\\bottomrule",
        "\\end{tabular}",
        "% note_1",
    ]


def test_the_same_results_give_the_same_bytes(pair: Any) -> None:
    synthetic, a, b = pair
    out = synthetic.store.path

    for form in ("csv", "json", "markdown", "latex"):
        assert reports.formatted(out, form) == reports.formatted(out, form)
        again = [reports.formatted_comparison(reports.compare(out, a, b), form) for _ in "12"]
        assert again[0] == again[1]
