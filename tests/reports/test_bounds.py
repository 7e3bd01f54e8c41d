"""Worst cases that are only upper bounds, rows without rank: marked in every output."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import reports
from benchmark.results import CHECKS_VERSION, npz_writer
from reports.statistics import wilson

RUN_ON = 15
UNFIT = {
    "name": "clean accuracy",
    "status": "flagged",
    "sentence": "The model is right on 10 of 100 examples, as chance is; try --input-range 0..255.",
    "evidence": {"clean_accuracy": 0.1},
}


def partly(synthetic: Any, cell_id: str, name: str, attacked: np.ndarray) -> None:
    """Makes an attack one that was run on some examples and broke all of them."""
    arrays = synthetic.arrays(cell_id, name)
    success = attacked & arrays["clean_correct"]
    synthetic.rewrite(
        cell_id, name, npz_writer({**arrays, "attacked": attacked, "success": success})
    )


@pytest.fixture
def bounded(synthetic: Any) -> tuple[Any, str, str]:
    """Two cells of 100 examples: pgd on all, square on 15, which it breaks."""
    cells = [
        synthetic.cell(name, clean=1.0, robust={"pgd": share, "square": 1.0}, examples=100)
        for name, share in (("a", 0.98), ("b", 0.60))
    ]
    for cell_id in cells:
        partly(synthetic, cell_id, "square", np.arange(100) < RUN_ON)
    return synthetic, cells[0], cells[1]


def test_an_attack_on_some_examples_leaves_an_upper_bound(bounded: Any) -> None:
    synthetic, cell_id, _ = bounded

    row = reports.leaderboard(synthetic.store.path).set_index("cell_id").loc[cell_id]

    assert row["worst_case"] == 0.83
    assert not row["worst_case_complete"]
    assert row["bound_reason"] == "square ran on 15 of 100 examples"
    assert (row["worst_case_low"], row["worst_case_high"]) == (0.0, wilson(83, 100)[1])
    assert (row["common_examples"], row["common_worst_case"]) == (15, 0.0)
    assert (row["common_low"], row["common_high"]) == wilson(0, 15)


def test_rows_whose_attacks_ran_on_the_same_examples_are_ranked(bounded: Any) -> None:
    synthetic, first, second = bounded

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")

    assert dict(board["rank"]) == {first: 1, second: 2}


def test_a_row_whose_attack_ran_on_other_examples_has_no_rank(bounded: Any) -> None:
    synthetic, first, second = bounded
    spared = synthetic.cell("c", clean=1.0, robust={"pgd": 1.0, "square": 1.0}, examples=100)
    partly(synthetic, spared, "square", np.arange(100) >= 98)

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")
    compared = reports.compare(synthetic.store.path, first, spared).set_index("attack")

    assert dict(board["rank"].loc[[first, second]]) == {first: 1, second: 2}
    assert pd.isna(board.loc[spared, "rank"])
    assert board.loc[spared, "unranked_reason"] == "square ran on other examples than most rows"
    assert pd.isna(compared.loc["worst case", "p_corrected"])


def test_over_seeds_a_bound_stays_one(bounded: Any) -> None:
    synthetic, first, _ = bounded
    again = synthetic.cell(
        "a", seed=1, clean=1.0, robust={"pgd": 0.98, "square": 1.0}, examples=100
    )
    partly(synthetic, again, "square", np.arange(100) < RUN_ON)

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")
    notes = reports.terminal_table(synthetic.store.path).notes

    assert (board.loc[first, "seeds"], board.loc[first, "seeds_low"]) == (2, 0.0)
    assert [note for note in notes if "worst case ≤ 83.0 % over 2 seeds" in note]


def site(out: Path, name: str) -> str:
    reports.publish(out, out.parent / "site")
    return (out.parent / "site" / name).read_text()


def robustbench(out: Path) -> str:
    return "".join(path.read_text() for path in reports.write_robustbench(out, out.parent / "rb"))


OUTPUTS: dict[str, tuple[Callable[[Path], str], str]] = {
    "terminal": (lambda out: str(reports.terminal_table(out).rows), "≤ 83.0"),
    "markdown": (lambda out: reports.formatted(out, "markdown"), "≤ 83.0"),
    "latex": (lambda out: reports.formatted(out, "latex"), "$\\leq$ 83.0"),
    "csv": (lambda out: reports.formatted(out, "csv"), "square ran on 15 of 100 examples"),
    "json": (lambda out: reports.formatted(out, "json"), '"worst_case_complete": false'),
    "headline": (lambda out: reports.publish(out).read_text(), "with ≤ 83.0 % (an upper bound"),
    "chart": (lambda out: reports.publish(out).read_text(), ">≤</text>"),
    "chart in words": (lambda out: reports.publish(out).read_text(), "worst case ≤ 83.0"),
    "site": (lambda out: site(out, "index.html"), "≤</abbr> <b>83.0"),
    "model page": (
        lambda out: site(out, "models/digits-a-torch-s0-linf/index.html"),
        "≤</abbr> 83.0",
    ),
    "trade-offs": (lambda out: site(out, "tradeoffs.html"), "worst case ≤ 83.0"),
    "RobustBench": (robustbench, '"worst_case_is": "\\u2264"'),
    "comparison": (
        lambda out: str(
            reports.comparison_table(
                reports.compare(out, "digits-a-torch-s0-linf", "digits-b-torch-s0-linf")
            ).rows
        ),
        "≤ 83.0",
    ),
}


@pytest.mark.parametrize(("output", "mark"), OUTPUTS.values(), ids=OUTPUTS)
def test_an_upper_bound_is_marked_in_every_output(
    bounded: Any, output: Callable[[Path], str], mark: str
) -> None:
    assert mark in output(bounded[0].store.path)


COMMON = {name: OUTPUTS[name][0] for name in ("terminal", "markdown", "headline", "site")}


@pytest.mark.parametrize("output", COMMON.values(), ids=COMMON)
def test_the_worst_case_of_common_examples_stands_beside_it(
    bounded: Any, output: Callable[[Path], str]
) -> None:
    assert "0.0 (0.0–20.4) of 15" in output(bounded[0].store.path)


def test_both_frameworks_are_compared_by_their_bounds(bounded: Any) -> None:
    synthetic, *_ = bounded
    other = synthetic.cell(
        "a", "tensorflow", clean=1.0, robust={"pgd": 0.98, "square": 1.0}, examples=100
    )
    partly(synthetic, other, "square", np.arange(100) < RUN_ON)

    page = site(synthetic.store.path, "frameworks.html")

    assert page.count(">≤ 83.0</a>") == 2


def text_table(out: Path) -> str:
    table = reports.terminal_table(out)
    return "\n".join(" | ".join(row) for row in [table.columns, *table.rows])


# Each with what it shows of an attack that failed and of a row whose clean accuracy is flagged.
TABLES: dict[str, tuple[Callable[[Path], str], str, str]] = {
    "terminal": (text_table, "| failed |", "– (clean accuracy) |"),
    "markdown": (
        lambda out: reports.formatted(out, "markdown"),
        "| failed |",
        "– (clean accuracy) |",
    ),
    "latex": (lambda out: reports.formatted(out, "latex"), "{failed}", "{-- (clean accuracy)}"),
    "csv": (lambda out: reports.formatted(out, "csv"), ",failed,", "try --input-range"),
    "json": (
        lambda out: reports.formatted(out, "json"),
        '"attack_status.cw": "failed"',
        "try --input-range",
    ),
    "site": (
        lambda out: site(out, "index.html"),
        '<b class="bad">failed</b>',
        "– (clean accuracy)<",
    ),
}
SHOWN = {name: output for name, (output, *_) in TABLES.items()}


@pytest.mark.parametrize("name", TABLES)
def test_a_failed_attack_is_a_visible_cell(synthetic: Any, name: str) -> None:
    output, mark, _ = TABLES[name]
    synthetic.cell(robust={"pgd": 0.5, "cw": 0.5}, states={"cw": ("failed", "no memory")})

    text = output(synthetic.store.path)

    assert mark in text
    assert "cw" in text


@pytest.mark.parametrize("output", SHOWN.values(), ids=SHOWN)
def test_labels_and_trust_are_columns(synthetic: Any, output: Callable[[Path], str]) -> None:
    cell_id = synthetic.cell("meta-adv")
    adapted = {"seconds": 1.0, "labels_used": 137, "steps": 5}
    synthetic.store.write_stage(cell_id, "adaptation", adapted)
    flagged = {"name": "finite outputs", "status": "flagged", "sentence": "No.", "evidence": {}}
    synthetic.store.write_stage(
        cell_id,
        "trust/quick",
        {"suite": "quick", "checks_version": CHECKS_VERSION, "checks": [flagged]},
    )

    text = output(synthetic.store.path)

    assert "137" in text.split("Versions and machine")[0]
    assert "labels" in text.lower()
    assert "trust" in text.lower()
    assert "! 3 of 4" in text or "finite outputs" in text.split("Notes")[0]


@pytest.fixture
def unfit(synthetic: Any) -> Any:
    """A sound cell, and one whose clean accuracy is that of chance."""
    synthetic.cell("sound", robust={"pgd": 0.5})
    cell_id = synthetic.cell("wrong-scale", clean=0.1, robust={"pgd": 0.1})
    synthetic.store.write_stage(
        cell_id,
        "trust/quick",
        {"suite": "quick", "checks_version": CHECKS_VERSION, "checks": [UNFIT]},
    )
    return synthetic


def test_a_row_whose_clean_accuracy_is_flagged_has_no_rank(unfit: Any) -> None:
    board = reports.leaderboard(unfit.store.path).set_index("defense")

    assert board.loc["sound", "rank"] == 1
    assert pd.isna(board.loc["wrong-scale", "rank"])
    assert "try --input-range 0..255" in board.loc["wrong-scale", "unranked_reason"]


@pytest.mark.parametrize("name", TABLES)
def test_the_reason_stands_in_every_table(unfit: Any, name: str) -> None:
    output, _, mark = TABLES[name]

    assert mark in output(unfit.store.path)


def test_a_lone_row_whose_clean_accuracy_is_flagged_is_not_called_best(synthetic: Any) -> None:
    cell_id = synthetic.cell("wrong-scale", clean=0.1, robust={"pgd": 0.1})
    synthetic.store.write_stage(
        cell_id,
        "trust/quick",
        {"suite": "quick", "checks_version": CHECKS_VERSION, "checks": [UNFIT]},
    )

    page = reports.publish(synthetic.store.path).read_text()

    assert "No row has a rank." in page
    assert "none for this row: clean accuracy" in page


def test_the_same_pair_has_the_same_p_and_interval_everywhere(synthetic: Any) -> None:
    first, second, third = (
        synthetic.cell("a", framework, seed=seed, robust={"pgd": share})
        for framework, seed, share in (
            ("torch", 0, 0.80),
            ("tensorflow", 0, 0.75),
            ("torch", 1, 0.40),
        )
    )
    out = synthetic.store.path

    board = reports.leaderboard(out).set_index("cell_id").loc[second]
    compared = reports.compare(out, second, first).set_index("attack").loc["worst case"]
    (group,) = json.loads(site(out, "data/frameworks.json"))["groups"]
    (pair,) = group["pairs"]

    # 10 discordant examples on one side, three pairs of three rows
    assert compared["p_corrected"] == pytest.approx(3 * 2 / 2**10)
    assert board["best_p"] == pair["p_corrected"] == compared["p_corrected"]
    assert (board["best_low"], board["best_high"]) == (compared["low"], compared["high"])
    assert (-pair["high"], -pair["low"]) == pytest.approx((compared["low"], compared["high"]))
    assert "p" not in pair
    assert third in set(reports.leaderboard(out)["cell_id"])


def test_the_headline_ties_with_the_best_only_what_the_test_ties(synthetic: Any) -> None:
    # `nested` shares the best rank, for it is more accurate than `scattered`, which no test tells
    # from the best; it differs from the best in 10 examples, all on one side
    places = np.arange(60)
    held = {
        "best": places < 40,
        "nested": places < 30,
        "scattered": (places < 9) | (places >= 40),
    }
    for name, right in held.items():
        cell_id = synthetic.cell(name, clean=1.0, robust={"pgd": 1.0}, examples=60)
        arrays = {**synthetic.arrays(cell_id, "pgd"), "success": ~right}
        synthetic.rewrite(cell_id, "pgd", npz_writer(arrays))

    board = reports.leaderboard(synthetic.store.path)
    page = reports.publish(synthetic.store.path).read_text()

    assert list(board["rank"]) == [1, 1, 1]
    assert "The data can&#39;t tell scattered (torch) from the best." in page
