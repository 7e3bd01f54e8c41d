"""The same cell of two machines: what may differ, and what contradicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from merging import cell, content

from benchmark.errors import StoreError
from benchmark.results import CHECKS_VERSION, Store
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.merge import merge


def test_machines_may_round_trust_checks_differently(tmp_path: Path) -> None:
    a, b = cell(tmp_path / "a"), cell(tmp_path / "b")
    for folder, share in ((a, 0.1), (b, 0.1000001)):
        Store.open(folder).write_stage("one", "trust/quick", {"share": share})
    merge([a, b], tmp_path / "all")
    assert Store.open(tmp_path / "all").read_stage("one", "trust/quick")["share"] == 0.1


@pytest.mark.parametrize("into", ["all", "a"], ids=["a new folder", "that of the earlier ones"])
@pytest.mark.parametrize("swapped", [False, True], ids=["earlier first", "those of now first"])
@pytest.mark.parametrize(
    "worse", [{}, {"checks_version": CHECKS_VERSION, "status": "failed"}], ids=["earlier", "failed"]
)
def test_trust_checks_of_now_are_kept(
    tmp_path: Path, into: str, swapped: bool, worse: dict[str, Any]
) -> None:
    a, b = cell(tmp_path / "a"), cell(tmp_path / "b")
    Store.open(a).write_stage("one", "trust/quick", worse)
    Store.open(b).write_stage("one", "trust/quick", {"checks_version": CHECKS_VERSION})
    merge([b, a] if swapped else [a, b], tmp_path / into)
    kept = Store.open(tmp_path / into).read_stage("one", "trust/quick")
    assert (kept["checks_version"], kept.get("status")) == (CHECKS_VERSION, None)


def test_equal_results_of_other_threads_are_equal(tmp_path: Path) -> None:
    a, b = cell(tmp_path / "a", threads=1), cell(tmp_path / "b", threads=2)
    merged = merge([a, b], tmp_path / "all")
    assert (merged.added, merged.left_out) == (["one"], {})
    assert content(tmp_path / "all") == content(a)


MACHINES = {
    "threads": ({"threads": 1}, {"threads": 2}, "2 instead of 1 CPU threads"),
    "devices": ({}, {"device": "cuda:0"}, "device cuda:0 instead of cpu"),
    "processors": ({"processor": "A"}, {"processor": "B"}, "processor B instead of A"),
    "versions": (
        {"versions": {"python": "3.11", "torch": "2.7"}},
        {"versions": {"python": "3.11", "torch": "2.8"}},
        "torch 2.8 instead of 2.7",
    ),
}


@pytest.mark.parametrize(("ours", "theirs", "between"), MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("swapped", [False, True], ids=["first kept", "the other first"])
def test_results_of_other_machines_stand_for_the_same_within_a_tolerance(
    tmp_path: Path, ours: dict[str, Any], theirs: dict[str, Any], between: str, swapped: bool
) -> None:
    a = cell(tmp_path / "a", weights=b"a", accuracy=0.5, **ours)
    suites = {"quick": ["pgd-1"], "full": ["pgd-1", "cw-1"]}
    b = cell(tmp_path / "b", weights=b"b", accuracy=0.515, suites=suites, **theirs)
    first, second = (b, a) if swapped else (a, b)

    merged = merge([first, second], tmp_path / "all")

    assert content(tmp_path / "all") == content(first)
    (reason,) = merged.left_out.values()
    assert list(merged.left_out) == [str(second / "cells" / "one")]
    assert "up to 1.5% apart" in reason
    assert swapped or between in reason
    assert ("its suite full is not taken over" in reason) == (not swapped)


QUICK, FULL = {"quick": ["pgd-1"]}, {"quick": ["pgd-1"], "full": ["pgd-1", "cw-1"]}


def with_full(folder: Path, left: float, **more: Any) -> Path:
    """A copy of `cell` that has an attack more, which leaves so much."""
    store = Store.open(cell(folder, suites=FULL, **more))
    record = {"status": "ok", "clean_accuracy": None, "robust_accuracy": left}
    store.write_stage("one", "attacks/cw-1", record)
    return folder


@pytest.mark.parametrize("order", ["abc", "acb"])
@pytest.mark.parametrize(
    ("left", "threads", "told"),
    [
        (0.9, 4, r"b/.*cw-1.json and .*c/.*cw-1.json differ .* 4 instead of 2 CPU threads"),
        (0.41, 2, r"b/.*cw-1.json and .*c/.*cw-1.json differ .*; find out which one is right"),
    ],
    ids=["too far apart", "of the same machine"],
)
def test_a_copy_is_compared_with_each_that_is_kept(
    tmp_path: Path, left: float, threads: int, told: str, order: str
) -> None:
    """What the first one lacks, another has."""
    folders = {
        "a": cell(tmp_path / "a", suites=QUICK, threads=1),
        "b": with_full(tmp_path / "b", 0.4, threads=2),
        "c": with_full(tmp_path / "c", left, threads=threads, weights=b"c"),
    }
    with pytest.raises(StoreError, match=told):
        merge([folders[name] for name in order], tmp_path / "all")


@pytest.mark.parametrize("order", ["abc", "acb"])
def test_a_suite_that_another_copy_has_is_not_told_as_lost(tmp_path: Path, order: str) -> None:
    folders = {
        "a": cell(tmp_path / "a", suites=QUICK, threads=1),
        "b": with_full(tmp_path / "b", 0.4, threads=1),
        "c": with_full(tmp_path / "c", 0.41, threads=2, weights=b"c", accuracy=0.51),
    }
    merged = merge([folders[name] for name in order], tmp_path / "all")
    assert Store.open(tmp_path / "all").read_cell("one")["suites"] == FULL
    ((path, reason),) = merged.left_out.items()
    assert path == str(tmp_path / "c" / "cells" / "one")
    assert "2 instead of 1 CPU threads" in reason
    assert "not taken over" not in reason


@pytest.mark.parametrize("order", ["abc", "bac"])
def test_a_copy_is_told_apart_from_the_one_that_it_is_farthest_from(
    tmp_path: Path, order: str
) -> None:
    folders = {
        "a": cell(tmp_path / "a", suites=QUICK, threads=1),
        "b": with_full(tmp_path / "b", 0.4, threads=8),
        "c": with_full(tmp_path / "c", 0.415, threads=2, weights=b"c", accuracy=0.505),
    }
    merged = merge([folders[name] for name in order], tmp_path / "all")
    (reason,) = merged.left_out.values()
    assert "2 instead of 8 CPU threads, and accuracies are up to 1.5% apart" in reason
    assert f"{tmp_path / 'b' / 'cells' / 'one'} is kept as a whole" in reason


def test_versions_of_the_project_alone_excuse_nothing(tmp_path: Path) -> None:
    for name, accuracy in (("a", 0.5), ("b", 0.51)):
        cell(tmp_path / name, accuracy=accuracy, versions={"meta-adv-bench": f"0.{name}"})
    with pytest.raises(StoreError, match="find out which one is right"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")


def test_records_of_versions_before_and_after_a_field_are_equal(tmp_path: Path) -> None:
    a, b = cell(tmp_path / "a"), cell(tmp_path / "b")
    store = Store.open(b)
    made_of = store.read_stage("one", "training")["files"]
    Store.open(a).write_stage("one", "curves/pgd-1", {"share": 0.1})
    store.write_stage("one", "curves/pgd-1", {"share": 0.1, "made_of": made_of})
    assert merge([a, b], tmp_path / "all").left_out == {}


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_records_that_tell_of_what_others_lack_are_equal(tmp_path: Path, order: str) -> None:
    for name, seen in (("a", {}), ("b", {"seen_families": ["linf", "l2"]})):
        Store.open(cell(tmp_path / name)).write_stage(
            "one", "adaptations/l1-1", {"seconds": 1.0, **seen}
        )
    assert merge([tmp_path / name for name in order], tmp_path / "all").added == ["one"]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_result_that_one_copy_lacks_is_a_difference(tmp_path: Path, order: str) -> None:
    for name, more in (("a", {}), ("b", {"correct": 0.4})):
        Store.open(cell(tmp_path / name)).write_stage("one", "curves/pgd-1", {"share": 0.1, **more})
    with pytest.raises(StoreError, match=r"curves/pgd-1.json differ \(correct\)"):
        merge([tmp_path / name for name in order], tmp_path / "all")


@pytest.mark.parametrize("name", ["tuning_cost", "measuring_cost", "autoattack_cost"])
def test_costs_that_one_of_two_versions_did_not_count_are_equal(tmp_path: Path, name: str) -> None:
    for folder, costs in (("a", []), ("b", [{"forwards": 1.0}])):
        Store.open(cell(tmp_path / folder)).write_stage("one", "domains/ridge-1", {name: costs})
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all").left_out == {}


def test_records_that_both_tell_of_other_families_differ(tmp_path: Path) -> None:
    for name, seen in (("a", ["linf"]), ("b", ["linf", "l2"])):
        Store.open(cell(tmp_path / name)).write_stage(
            "one", "adaptations/l1-1", {"seen_families": seen}
        )
    with pytest.raises(StoreError, match="seen_families"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")


CIRCUMSTANCES = {
    "memory": ("curves/pgd-1", {"peak_memory": 1000}, {"peak_memory": 2000}),
    "where a training was": ("given", {"taken_from": None}, {"taken_from": "another"}),
    "an attack's identity": ("attacks/pgd-1", {}, {"identity": {"max_iter": 40}}),
    "what was asked for": ("runs/quick", {"options": ["a"]}, {"options": ["b"]}),
}


@pytest.mark.parametrize(("stage", "ours", "theirs"), CIRCUMSTANCES.values(), ids=CIRCUMSTANCES)
def test_circumstances_may_differ(
    tmp_path: Path, stage: str, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    for name, told in (("a", ours), ("b", theirs)):
        Store.open(cell(tmp_path / name)).write_stage("one", stage, told)
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all").left_out == {}


def test_a_failed_cell_may_have_got_less_far(tmp_path: Path) -> None:
    a = cell(tmp_path / "a", status="failed", adapted=True)
    b = cell(tmp_path / "b", status="failed")
    assert merge([a, b], tmp_path / "all").added == ["one"]


@pytest.mark.parametrize(
    "told", [{"processor": "A"}, {"threads": 2}], ids=lambda told: next(iter(told))
)
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_what_one_machine_alone_tells_excuses_nothing(
    tmp_path: Path, told: dict[str, Any], order: str
) -> None:
    for name, more in (("a", {"accuracy": 0.5, **told}), ("b", {"accuracy": 0.51})):
        record = Store.open(cell(tmp_path / name, **more)).read_cell("one")
        assert record is not None
        del record["versions"]
        Store.open(tmp_path / name).write_cell("one", record)
    with pytest.raises(StoreError, match="find out which one is right"):
        merge([tmp_path / name for name in order], tmp_path / "all")


def test_threads_are_those_of_the_cell_where_the_training_tells_none(tmp_path: Path) -> None:
    for threads, accuracy in ((1, 0.5), (2, 0.51)):
        store = Store.open(cell(tmp_path / str(threads), accuracy=accuracy))
        record = store.read_cell("one")
        assert record is not None
        store.write_cell("one", {**record, "threads": threads})
    merged = merge([tmp_path / "1", tmp_path / "2"], tmp_path / "all")
    assert "2 instead of 1 CPU threads" in next(iter(merged.left_out.values()))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"protocol_version": PROTOCOL_VERSION - 1, "robust_accuracy": 0.5}, "protocol_version"),
        ({"status": "failed", "robust_accuracy": None}, "robust_accuracy"),
    ],
    ids=["of another version of the protocol", "of an attack that failed"],
)
def test_no_machine_excuses_results(tmp_path: Path, other: dict[str, Any], told: str) -> None:
    """Though another attack is the same on both."""
    for threads, change in ((1, {}), (2, other)):
        folder = cell(tmp_path / str(threads), threads=threads, suites={"full": ["pgd-1", "cw-1"]})
        record = {"status": "ok", "clean_accuracy": 0.9, "robust_accuracy": 0.5}
        record["protocol_version"] = PROTOCOL_VERSION
        for key, more in (("cw-1", {}), ("pgd-1", change)):
            Store.open(folder).write_stage("one", f"attacks/{key}", {**record, **more})
    with pytest.raises(StoreError, match=rf"pgd-1.json differ \({told}\)"):
        merge([tmp_path / "1", tmp_path / "2"], tmp_path / "all")
