"""How far numbers of the same cell may be apart where two machines round otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from merging import cell

from benchmark.errors import StoreError
from benchmark.results import Store
from benchmark.results.merge import merge


@pytest.mark.parametrize("name", ["clean_accuracy", "robust_accuracy"])
@pytest.mark.parametrize(("accuracy", "refused"), [(0.52, False), (0.521, True), (0.479, True)])
def test_clean_and_robust_accuracies_may_be_two_points_apart(
    tmp_path: Path, name: str, accuracy: float, refused: bool
) -> None:
    for threads, folder in enumerate((tmp_path / "a", tmp_path / "b")):
        accuracies = {"clean_accuracy": 0.5, "robust_accuracy": 0.5}
        store = Store.open(cell(folder, threads=threads))
        record = {"status": "ok", **accuracies, **({name: accuracy} if threads else {})}
        store.write_stage("one", "attacks/pgd-1", record)
    if refused:
        with pytest.raises(StoreError, match="accuracies are more than 2% and one example apart"):
            merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    else:
        merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
        assert "up to 2.0% apart" in next(iter(merged.left_out.values()))


@pytest.mark.parametrize(
    ("examples", "right", "refused"),
    [
        (7, 4, False),
        (20, 11, False),
        (20, 12, True),
        (49, 26, False),
        (90, 47, True),
        (99, 51, True),
        (100, 52, False),
    ],
)
def test_of_few_examples_one_may_differ(
    tmp_path: Path, examples: int, right: int, refused: bool
) -> None:
    for threads, folder in enumerate((tmp_path / "a", tmp_path / "b")):
        store = Store.open(cell(folder, threads=threads))
        count = right if threads else examples // 2 + (examples == 49)
        record = {"status": "ok", "examples": examples, "robust_accuracy": count / examples}
        store.write_stage("one", "attacks/pgd-1", record)
    if refused:
        with pytest.raises(StoreError, match="more than 2% and one example apart"):
            merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    else:
        merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
        assert merged.added == ["one"]
        assert len(merged.left_out) == 1


@pytest.mark.parametrize(
    "change",
    [{"accuracy": 0.53}, {"attack_status": "failed", "accuracy": None}, {"suites": {"q": ["x-1"]}}],
    ids=["further apart", "failed", "nothing to compare"],
)
def test_results_of_other_threads_that_are_too_far_apart_are_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    a = cell(tmp_path / "a", weights=b"a", threads=1)
    b = cell(tmp_path / "b", weights=b"b", threads=2, **change)
    with pytest.raises(StoreError, match=r"2 instead of 1 CPU threads, .* the same --threads"):
        merge([a, b], tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize(
    ("theirs", "refused"),
    [
        ({"mean": 0.55, "low": 0.45, "high": 0.65}, False),
        ({"mean": 0.62, "low": 0.5, "high": 0.7}, False),
        ({"mean": 0.621, "low": 0.5, "high": 0.7}, True),
        ({"mean": 0.9, "low": 0.8, "high": 0.95}, True),
        ({"mean": 0.3, "low": 0.1, "high": 0.9}, True),
        ({"mean": 0.55, "low": 0.54, "high": 0.56}, True),
        (None, True),
    ],
    ids=[
        "within",
        "two points outside",
        "by more",
        "far outside",
        "alone outside",
        "within, the first one outside",
        "without it",
    ],
)
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_meta_tests_of_other_machines_are_compared_too(
    tmp_path: Path, theirs: dict[str, float] | None, refused: bool, order: str
) -> None:
    for name, robust in (("a", {"mean": 0.5, "low": 0.4, "high": 0.6}), ("b", theirs)):
        folder = cell(tmp_path / name, threads=1 + (name == "b"))
        tried = [{"rate": 0.1, "mean": 0.5, "low": 0.4}, {"low": 0.4, "high": 0.6}, {"mean": None}]
        record = {"seconds": 1.0, "robust": [robust], "tried": [*tried, {"high": 0.6, "mean": 0.5}]}
        Store.open(folder).write_stage("one", "few-shot/ridge-1", record)

    if refused:
        with pytest.raises(StoreError, match=r"few-shot/ridge-1.json differ \(robust\)"):
            merge([tmp_path / name for name in order], tmp_path / "all")
    else:
        assert merge([tmp_path / name for name in order], tmp_path / "all").added == ["one"]


def test_each_mean_of_a_meta_test_is_compared(tmp_path: Path) -> None:
    """Not the last of a list alone."""
    even = {"mean": 0.5, "low": 0.4, "high": 0.6}
    for name, first in (("a", even), ("b", {"mean": 0.9, "low": 0.8, "high": 0.95})):
        folder = cell(tmp_path / name, threads=1 + (name == "b"))
        Store.open(folder).write_stage("one", "few-shot/ridge-1", {"robust": [first, even]})
    with pytest.raises(StoreError, match=r"few-shot/ridge-1.json differ \(robust\)"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")


OTHER_STAGES = {
    "curve": ("curves/pgd-1", "robust_accuracy", [0.6, 0.5], [0.6, 0.48], [0.6, 0.47]),
    "corruptions": ("corruptions/common", "accuracy", [[0.6, 0.5]], [[0.6, 0.52]], [[0.6, 0.53]]),
    "mean": ("corruptions/common", "mean", 0.5, 0.52, 0.53),
    "clean": ("corruptions/common", "clean_accuracy", 0.5, 0.52, 0.53),
    "certificate": ("certification/smoothing-1", "certified", 0.5, 0.48, 0.47),
    "radii": ("certification/smoothing-1", "certified_accuracy", [0.5, 0.2], [0.5, 0.18], [0.5, 0]),
    "transfers": ("transfers/torch", "success", [[1, 0.5], [0, 1]], [[1, 0.52], [0, 1]], None),
    "claims": ("claims/someone-1", "robust_accuracy", 0.5, 0.48, 0.47),
}


@pytest.mark.parametrize("far", [False, True], ids=["near", "too far"])
@pytest.mark.parametrize("what", OTHER_STAGES)
def test_accuracies_of_every_stage_are_compared(tmp_path: Path, what: str, far: bool) -> None:
    """And of those that are too far apart one is named, not the attack that is a little."""
    stage, field, one, *others = OTHER_STAGES[what]
    for name, value in (("a", one), ("b", others[far])):
        folder = cell(tmp_path / name, threads=1 + (name == "b"), accuracy=0.5 + (name == "b") / 99)
        Store.open(folder).write_stage("one", stage, {"status": "ok", field: value})
    if far:
        told = rf"{stage}.json differ \({field}\); .*2 instead of 1 CPU threads"
        with pytest.raises(StoreError, match=told):
            merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    else:
        merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
        assert "accuracies are up to 2.0% apart" in next(iter(merged.left_out.values()))


@pytest.mark.parametrize(("count", "fooled", "refused"), [(21, 10, False), (21, 13, True)])
def test_of_few_transfers_one_may_be_more(
    tmp_path: Path, count: int, fooled: int, refused: bool
) -> None:
    """How many are tried is what came out, too: of those that both models get right."""
    for name, examples, share in (("a", 20, 0.5), ("b", count, fooled / count)):
        folder = cell(tmp_path / name, threads=1 + (name == "b"))
        record = {"examples": examples, "success": [[1.0, share], [0.0, 1.0]]}
        Store.open(folder).write_stage("one", "transfers/tensorflow", record)
    if refused:
        with pytest.raises(StoreError, match=r"tensorflow.json differ \(success\)"):
            merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    else:
        assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all").added == ["one"]


@pytest.mark.parametrize(("right", "refused"), [(11, False), (12, True)])
def test_of_a_curve_on_few_examples_one_may_differ(
    tmp_path: Path, right: int, refused: bool
) -> None:
    for name, count in (("a", 10), ("b", right)):
        folder = cell(tmp_path / name, threads=1 + (name == "b"))
        curve = {"examples": 20, "robust_accuracy": [0.9, count / 20]}
        Store.open(folder).write_stage("one", "curves/pgd-1", curve)
    if refused:
        with pytest.raises(StoreError, match="more than 2% and one example apart"):
            merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    else:
        assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all").added == ["one"]


def test_attacks_that_failed_on_both_machines_show_nothing_to_be_rounding(tmp_path: Path) -> None:
    for threads in (1, 2):
        weights, failed = str(threads).encode(), {"attack_status": "failed", "accuracy": None}
        folder = cell(tmp_path / str(threads), weights=weights, threads=threads, **failed)
        record = {"status": "failed", "clean_accuracy": None, "robust_accuracy": None}
        Store.open(folder).write_stage("one", "attacks/pgd-1", record)
    with pytest.raises(StoreError, match="2 instead of 1 CPU threads"):
        merge([tmp_path / "1", tmp_path / "2"], tmp_path / "all")


@pytest.mark.parametrize("examples", [(20, 40), (40, 20), ("20", "20"), (None, 20)], ids=str)
def test_of_examples_that_are_not_as_many_no_single_one_may_differ(
    tmp_path: Path, examples: tuple[Any, Any]
) -> None:
    """They may be anything: a record of another folder was written by anybody."""
    for threads, count in enumerate(examples, 1):
        store = Store.open(cell(tmp_path / str(threads), threads=threads))
        record = {"status": "ok", "examples": count, "robust_accuracy": 0.5 + 0.025 * threads}
        store.write_stage("one", "attacks/pgd-1", record)
    with pytest.raises(StoreError, match="more than 2% and one example apart"):
        merge([tmp_path / "1", tmp_path / "2"], tmp_path / "all")
