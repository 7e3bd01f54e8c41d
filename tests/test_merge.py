"""Joining results folders: equal cells once, contradictions named, nothing half-done or changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from merging import cell, content, put

from benchmark.errors import StoreError
from benchmark.results import Store
from benchmark.results import files as disk
from benchmark.results.merge import merge


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


def test_the_same_cell_twice_is_fine_if_only_times_differ(tmp_path: Path) -> None:
    a, b = cell(tmp_path / "a"), cell(tmp_path / "b", seconds=2.0)

    merged = merge([a, b], tmp_path / "all")

    assert merged.added == ["one"]
    assert content(tmp_path / "all") == content(a)


def test_what_the_target_holds_already_is_kept(tmp_path: Path) -> None:
    a = cell(tmp_path / "a", weights=b"a", threads=1)
    b = cell(tmp_path / "b", weights=b"b", threads=2)
    before = content(a)
    assert merge([b], a).equal == ["one"]
    assert content(a) == before


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
    Store.open(a).write_stage("one", "curves/pgd-1", {"seconds": 1.0})
    before = content(a)

    merged = merge([b], a)

    store = Store.open(a)
    assert merged.extended == ["one"]
    record = store.read_cell("one")
    assert record is not None
    assert record["suites"] == {"quick": ["pgd-1"], "full": ["pgd-1", "square-1"]}
    assert store.read_stage("one", "attacks/square-1") is not None
    known = {path: content(a)[path] for path in before if path != "cells/one/cell.json"}
    assert known == {path: before[path] for path in known}


def test_a_suite_may_name_its_attacks_in_another_order(tmp_path: Path) -> None:
    a = cell(tmp_path / "a", suites={"quick": ["pgd-1", "square-1"]})
    b = cell(tmp_path / "b", suites={"quick": ["square-1", "pgd-1"]})

    assert merge([b], a).equal == ["one"]


def test_a_suite_that_needs_no_other_attack_is_joined_too(tmp_path: Path) -> None:
    a = cell(tmp_path / "a", suites={"quick": ["pgd-1"]})
    b = cell(tmp_path / "b", suites={"short": ["pgd-1"]})

    assert merge([b], a).extended == ["one"]

    record = Store.open(a).read_cell("one")
    assert record is not None
    assert record["suites"] == {"quick": ["pgd-1"], "short": ["pgd-1"]}


def test_a_cell_that_failed_before_any_stage_comes_along(tmp_path: Path) -> None:
    a = Store.create(tmp_path / "a")
    a.write_cell("one", {"config": {}, "status": "failed", "reason": "so", "suites": {}})
    assert merge([a.path], tmp_path / "all").added == ["one"]
    assert content(tmp_path / "all") == content(a.path)


def test_a_path_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="null character"):
        merge([cell(tmp_path / "a")], f"{tmp_path}/a\0b")


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


@pytest.mark.parametrize(
    "suites",
    [None, ["q"], {"q": "pgd"}, {"q": {"pgd-1": 1}}, {"q": ["pgd-1", 1]}, {"q": [], "r": 1}],
    ids=str,
)
def test_suites_may_be_anything_in_a_source(tmp_path: Path, suites: Any) -> None:
    a = Store.create(tmp_path / "a")
    a.write_cell("one", {"config": {}, "status": "ok", "suites": suites})
    merged = merge([a.path], tmp_path / "all")
    assert list(merged.left_out.values()) == ["its cell.json doesn't follow the schema"]


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
    for key in ("ridge-1", "torn-1"):
        Store.open(a).write_stage("one", f"few-shot/{key}", {"seconds": 1.0})
    for name in ("training.safetensors", "few-shot/torn-1.json"):
        (a / "cells/one" / name).write_bytes(b"torn")

    merged = merge([b], a)

    assert merged.added == ["one"]
    assert merged.lost == [str(a / "cells/one/few-shot/ridge-1.json")]
    assert "of other weights" in merged.left_out[merged.lost[0]]


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
