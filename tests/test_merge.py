"""Joining results folders: equal cells once, contradictions named, nothing half-done or changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.errors import StoreError
from benchmark.results import Store, npz_writer
from benchmark.results import files as disk
from benchmark.results.merge import merge


def cell(
    folder: Path,
    name: str = "one",
    *,
    suites: dict[str, list[str]] | None = None,
    weights: bytes = b"weights",
    seconds: float = 1.0,
    status: str = "ok",
    accuracy: float | None = 0.5,
    attack_status: str = "ok",
    adapted: bool = False,
    epochs: int = 3,
    threads: int | None = None,
    device: str = "cpu",
    processor: str | None = None,
    versions: dict[str, str] | None = None,
) -> Path:
    """Writes a small cell; returns the results folder."""
    store = Store.create(folder)
    suites = {"quick": ["pgd-1"]} if suites is None else suites
    stages = ["training", "adaptation"] if adapted else ["training"]
    for stage in stages:
        file = f"{stage}.safetensors"
        record = {"seconds": seconds, "steps": 5}
        record |= {} if threads is None else {"threads": threads}
        store.write_stage(name, stage, record, {file: lambda path: put(path, weights)})
    for key in {key for keys in suites.values() for key in keys}:
        record = {"seconds": seconds, "status": attack_status, "robust_accuracy": accuracy}
        arrays = npz_writer({"success": np.arange(4) > 4 * (accuracy or 0)})
        store.write_stage(name, f"attacks/{key}", record, {f"{key}.npz": arrays})
    record = {"config": {"epochs": epochs}, "status": status, "suites": suites, "seconds": seconds}
    record |= {"started": f"{seconds}", "versions": versions or {"python": "3"}}
    record |= {"device": device}
    record |= {} if processor is None else {"processor": processor}
    store.write_cell(name, record)
    return folder


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def content(folder: Path) -> dict[str, bytes]:
    """All files of a results folder but its lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".lock")
    }


def test_cells_of_several_folders_come_together_byte_by_byte(tmp_path: Path) -> None:
    a = cell(tmp_path / "a", "one", adapted=True)
    b = cell(tmp_path / "b", "two", status="failed")
    before = content(a), content(b)

    merged = merge([a, b], tmp_path / "all")

    assert (merged.added, merged.extended, merged.equal) == (["one", "two"], [], [])
    assert merged.left_out == {}
    assert content(tmp_path / "all") == {**before[0], **before[1]}
    assert (content(a), content(b)) == before


@pytest.mark.parametrize("stage", ["given", "trust/quick", "curves/pgd-1", "adaptations/patch"])
def test_every_kind_of_stage_comes_along(tmp_path: Path, stage: str) -> None:
    a = cell(tmp_path / "a")
    Store.open(a).write_stage("one", stage, {"x": 1}, {"x.npz": lambda path: put(path, b"x")})
    merge([a], tmp_path / "all")
    assert content(tmp_path / "all") == content(a)


def test_machines_may_round_trust_checks_differently(tmp_path: Path) -> None:
    a, b = cell(tmp_path / "a"), cell(tmp_path / "b")
    for folder, share in ((a, 0.1), (b, 0.1000001)):
        Store.open(folder).write_stage("one", "trust/quick", {"share": share})
    merge([a, b], tmp_path / "all")
    assert Store.open(tmp_path / "all").read_stage("one", "trust/quick")["share"] == 0.1


def test_the_same_cell_twice_is_fine_if_only_times_differ(tmp_path: Path) -> None:
    a, b = cell(tmp_path / "a"), cell(tmp_path / "b", seconds=2.0)

    merged = merge([a, b], tmp_path / "all")

    assert merged.added == ["one"]
    assert content(tmp_path / "all") == content(a)


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


def test_what_the_target_holds_already_is_kept(tmp_path: Path) -> None:
    a = cell(tmp_path / "a", weights=b"a", threads=1)
    b = cell(tmp_path / "b", weights=b"b", threads=2)
    before = content(a)
    assert merge([b], a).equal == ["one"]
    assert content(a) == before


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
        ({"mean": 0.9, "low": 0.8, "high": 0.95}, True),
        (None, True),
    ],
    ids=["within the interval", "far outside of it", "without it"],
)
def test_meta_tests_of_other_machines_are_compared_too(
    tmp_path: Path, theirs: dict[str, float] | None, refused: bool
) -> None:
    for name, robust in (("a", {"mean": 0.5, "low": 0.4, "high": 0.6}), ("b", theirs)):
        folder = cell(tmp_path / name, threads=1 + (name == "b"))
        record = {"seconds": 1.0, "robust": [robust]}
        Store.open(folder).write_stage("one", "few-shot/ridge-1", record)

    if refused:
        with pytest.raises(StoreError, match=r"few-shot/ridge-1.json differ \(robust\)"):
            merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    else:
        assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all").added == ["one"]


def test_versions_of_the_project_alone_excuse_nothing(tmp_path: Path) -> None:
    for name, accuracy in (("a", 0.5), ("b", 0.51)):
        cell(tmp_path / name, accuracy=accuracy, versions={"meta-adv-bench": f"0.{name}"})
    with pytest.raises(StoreError, match="find out which one is right"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")


def test_merging_again_changes_nothing(tmp_path: Path) -> None:
    a, b = cell(tmp_path / "a"), cell(tmp_path / "b", "two")
    merge([a, b], tmp_path / "all")
    before = content(tmp_path / "all")

    merged = merge([a, b, tmp_path / "all"], tmp_path / "all")

    assert (merged.added, merged.extended, merged.equal) == ([], [], ["one", "two"])
    assert content(tmp_path / "all") == before


def test_suites_of_one_cell_are_joined(tmp_path: Path) -> None:
    a = cell(tmp_path / "a", suites={"quick": ["pgd-1"]})
    b = cell(tmp_path / "b", suites={"quick": ["pgd-1"], "full": ["pgd-1", "square-1"]})

    merged = merge([b], a)

    store = Store.open(a)
    assert merged.extended == ["one"]
    record = store.read_cell("one")
    assert record is not None
    assert record["suites"] == {"quick": ["pgd-1"], "full": ["pgd-1", "square-1"]}
    assert store.read_stage("one", "attacks/square-1") is not None


@pytest.mark.parametrize(
    ("change", "file", "what"),
    [
        ({"weights": b"others"}, "training.json", "files"),
        ({"accuracy": 0.25}, "attacks/pgd-1.json", "files"),
        ({"attack_status": "failed"}, "attacks/pgd-1.json", "status"),
        ({"status": "failed"}, "cell.json", "status"),
        ({"epochs": 4}, "cell.json", "config"),
        ({"suites": {"quick": ["pgd-2"]}}, "cell.json", "the attacks of suite 'quick'"),
        ({"adapted": True}, "adaptation.json", "one of them has none"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("into_existing", [False, True], ids=["new folder", "existing folder"])
def test_contradictions_are_refused_and_nothing_is_written(
    tmp_path: Path, change: dict[str, Any], file: str, what: str, into_existing: bool
) -> None:
    a, b = cell(tmp_path / "a"), cell(tmp_path / "b", **change)
    cell(b, "two")
    out = a if into_existing else tmp_path / "all"
    before = content(a)

    with pytest.raises(StoreError) as raised:
        merge([a, b], out)

    for part in (f"{a}/cells/one/{file}", f"{b}/cells/one/{file}", f"({what})", "cell one"):
        assert part in str(raised.value)
    assert content(a) == before
    assert into_existing or not out.exists()


def test_what_is_broken_or_unfinished_is_named_and_left_out(tmp_path: Path) -> None:
    a = cell(tmp_path / "a", "fine", suites={"quick": ["pgd-1", "fgsm-1"]})
    for name in ("unended", "torn", "weightless", "shapeless", "unsafe"):
        cell(a, name)
    (a / "cells/fine/attacks/fgsm-1.npz").write_bytes(b"torn")
    (a / "cells/unended/cell.json").unlink()
    (a / "cells/torn/cell.json").write_text('{"config": ')
    (a / "cells/weightless/training.safetensors").unlink()
    Store.open(a).write_cell("shapeless", {"config": {}, "status": "ok", "suites": [1]})
    Store.open(a).write_cell("unsafe", {"config": {}, "status": "ok", "suites": {"q": ["../x"]}})
    (a / "cells/fine/notes.txt").write_text("foreign")
    (a / "cells/.hidden").mkdir()

    merged = merge([a], tmp_path / "all")

    assert merged.added == ["fine"]
    assert {Path(path).stem for path in merged.lost} == {
        *("fgsm-1", "torn", "weightless", "shapeless", "unsafe")
    }
    reasons = {Path(path).name: reason for path, reason in merged.left_out.items()}
    assert reasons.pop("unsafe").startswith("unknown stage 'attacks/../x'")
    assert reasons == {
        "fgsm-1.json": "it, or a file of it, is damaged",
        "unended": "it hasn't ended",
        "torn": "its cell.json is damaged",
        "weightless": "its training, or a file of it, is damaged",
        "shapeless": "its cell.json doesn't follow the schema",
    }
    assert sorted(content(tmp_path / "all")) == [
        "bench.json",
        "cells/fine/attacks/pgd-1.json",
        "cells/fine/attacks/pgd-1.npz",
        "cells/fine/cell.json",
        "cells/fine/training.json",
        "cells/fine/training.safetensors",
    ]


def test_a_damaged_copy_is_made_good_by_another(tmp_path: Path) -> None:
    a, b = cell(tmp_path / "a"), cell(tmp_path / "b")
    (a / "cells/one/attacks/pgd-1.npz").write_bytes(b"torn")

    merged = merge([b], a)

    assert Store.open(a).read_stage("one", "attacks/pgd-1") is not None
    assert (len(merged.left_out), merged.lost) == (1, [])


def test_what_an_unfinished_cell_measured_is_no_part_of_a_finished_one(tmp_path: Path) -> None:
    a, b = cell(tmp_path / "a", weights=b"a"), cell(tmp_path / "b", weights=b"b")
    Store.open(a).write_stage("one", "few-shot/ridge-1", {"seconds": 1.0})
    (a / "cells/one/cell.json").unlink()

    merged = merge([b], a)

    assert (merged.added, merged.lost) == (["one"], [])
    assert content(a).keys() == content(b).keys()
    assert content(a)["cells/one/training.safetensors"] == b"b"


def test_what_a_damaged_cell_measured_is_told_when_another_takes_its_place(tmp_path: Path) -> None:
    a, b = cell(tmp_path / "a"), cell(tmp_path / "b")
    Store.open(a).write_stage("one", "few-shot/ridge-1", {"seconds": 1.0})
    (a / "cells/one/training.safetensors").write_bytes(b"torn")

    merged = merge([b], a)

    assert merged.added == ["one"]
    assert merged.lost == [str(a / "cells/one/few-shot/ridge-1.json")]
    assert "of other weights" in merged.left_out[merged.lost[0]]


def test_records_that_tell_of_what_others_lack_are_equal(tmp_path: Path) -> None:
    for name, seen in (("a", {}), ("b", {"seen_families": ["linf", "l2"]})):
        Store.open(cell(tmp_path / name)).write_stage(
            "one", "adaptations/l1-1", {"seconds": 1.0, **seen}
        )
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all").added == ["one"]


def test_what_no_folder_has_whole_ends_the_command_with_1(tmp_path: Path) -> None:
    a = cell(tmp_path / "a")
    cell(a, "two")
    (a / "cells/two/training.safetensors").unlink()
    program = [sys.executable, "-m", "benchmark", "merge", str(a), "--out", str(tmp_path / "all")]
    ended = subprocess.run(program, check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "1 of what was left out is damaged" in ended.stderr
    assert (tmp_path / "all" / "cells" / "one" / "cell.json").exists()


@pytest.mark.parametrize("fails_at", range(2, 8))
def test_a_merge_that_is_killed_leaves_no_half_cell_and_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    a = cell(tmp_path / "a", "one")
    cell(a, "two")
    written, write_aside = [], disk.write_aside

    def write_or_die(path: Path, write: disk.Writer, **settings: Any) -> Any:
        written.append(path)
        if len(written) == fails_at:
            path.with_name(f"{disk.TEMPORARY}0-{path.name}").write_bytes(b"half")
            raise KeyboardInterrupt
        return write_aside(path, write, **settings)

    monkeypatch.setattr(disk, "write_aside", write_or_die)
    with pytest.raises(KeyboardInterrupt):
        merge([a], tmp_path / "all")
    monkeypatch.undo()

    if (tmp_path / "all" / "bench.json").exists():
        store = Store.open(tmp_path / "all")
        for name in store.cell_ids():
            if store.read_cell(name) is not None:
                assert store.read_stage(name, "attacks/pgd-1") is not None
    merge([a], tmp_path / "all")
    assert content(tmp_path / "all") == content(a)


def test_a_source_that_changes_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, out = cell(tmp_path / "a"), tmp_path / "all"
    Store.create(out)
    write_stage = Store.write_stage

    def change_and_write(self: Store, *arguments: Any) -> None:
        (a / "cells/one/training.safetensors").write_bytes(b"changed")
        write_stage(self, *arguments)

    monkeypatch.setattr(Store, "write_stage", change_and_write)
    with pytest.raises(StoreError, match="changed while it was read"):
        merge([a], out)

    assert list(content(out)) == ["bench.json"]


def test_a_target_that_is_being_written_is_refused(tmp_path: Path) -> None:
    a, out = cell(tmp_path / "a"), tmp_path / "all"

    with Store.create(out).lock(), pytest.raises(StoreError, match="another run"):
        merge([a], out)


def test_what_is_no_results_folder_is_refused(tmp_path: Path) -> None:
    a = cell(tmp_path / "a")
    shutil.copytree(a, tmp_path / "foreign")
    (tmp_path / "foreign" / "bench.json").unlink()

    with pytest.raises(StoreError, match="not a results folder"):
        merge([a, tmp_path / "foreign"], tmp_path / "all")
    with pytest.raises(StoreError, match="holds other files"):
        merge([a], tmp_path / "foreign")
    assert not (tmp_path / "all").exists()


def versioned(folder: Path, version: int | None, *, few: int = 1) -> Path:
    """A cell whose attack is of this version of the protocol; None as older records are.

    `few` is that of its read-out of new classes.
    """
    told = {} if version is None else {"protocol_version": version}
    cell(folder)
    attack = {"status": "ok", "clean_accuracy": 1.0, "robust_accuracy": 0.5, **told}
    store = Store.open(folder)
    record = store.read_cell("one")
    assert record is not None
    store.write_stage("one", "attacks/again-1", attack)
    store.write_stage("one", "few-shot/ridge-1", {"status": "ok", "protocol_version": few})
    store.write_cell("one", {**record, "suites": {**record["suites"], "more": ["again-1"]}})
    return folder


def test_a_record_without_a_protocol_is_of_the_first(tmp_path: Path) -> None:
    a, b = versioned(tmp_path / "a", 1), versioned(tmp_path / "b", None)

    assert merge([a, b], tmp_path / "all").added == ["one"]


@pytest.mark.parametrize(("version", "few"), [(2, 1), (1, 2)], ids=["attack", "read-out"])
def test_results_of_two_protocols_are_not_joined(tmp_path: Path, version: int, few: int) -> None:
    a, b = versioned(tmp_path / "a", 1), versioned(tmp_path / "b", version, few=few)

    with pytest.raises(StoreError, match="protocol_version"):
        merge([a, b], tmp_path / "all")
