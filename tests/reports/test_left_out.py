"""What can't be read is named and left out; the rest is reported, and nothing stored changes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reports
from benchmark.errors import StoreError
from benchmark.results import npz_writer

ATTACK = "attacks/pgd-1a2b3c4d"
Breakage = Callable[[Any, str, Path], object]


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def set_config(synthetic: Any, cell_id: str, **values: Any) -> None:
    config = synthetic.store.read_cell(cell_id)["config"]
    synthetic.change(cell_id, config={**config, **values})


def without(synthetic: Any, cell_id: str, name: str) -> None:
    arrays = synthetic.arrays(cell_id, "pgd")
    del arrays[name]
    synthetic.rewrite(cell_id, "pgd", npz_writer(arrays))


def with_array(synthetic: Any, cell_id: str, **changed: np.ndarray) -> None:
    arrays = {**synthetic.arrays(cell_id, "pgd"), **changed}
    synthetic.rewrite(cell_id, "pgd", npz_writer(arrays))


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


# What happens to the cell (results, cell id, its folder), and the path that is named below it.
WHOLE_CELL: dict[str, tuple[Breakage, str]] = {
    "not ended": (lambda s, c, f: (f / "cell.json").unlink(), ""),
    "half-written": (lambda s, c, f: cut(f / "cell.json"), "/cell.json"),
    "edited by hand": (
        lambda s, c, f: (f / "cell.json").write_text(
            (f / "cell.json").read_text().replace("cnn", "mlp")
        ),
        "/cell.json",
    ),
    "a folder": (lambda s, c, f: as_folder(f / "cell.json"), "/cell.json"),
    "unknown status": (lambda s, c, f: s.change(c, status="great"), "/cell.json"),
    "seed as text": (lambda s, c, f: set_config(s, c, seed="0"), "/cell.json"),
    "seed too large": (lambda s, c, f: set_config(s, c, seed=2**80), "/cell.json"),
    "negative eps": (
        lambda s, c, f: set_config(s, c, threat={"norm": "linf", "eps": -1}),
        "/cell.json",
    ),
    "absurd eps": (
        lambda s, c, f: set_config(s, c, threat={"norm": "linf", "eps": 1e307}),
        "/cell.json",
    ),
    "number beyond floats": (lambda s, c, f: s.change(c, seconds=10**400), "/cell.json"),
    "suites no lists": (lambda s, c, f: s.change(c, suites={"quick": 3}), "/cell.json"),
}
ONE_ATTACK: dict[str, Breakage] = {
    "half-written record": lambda s, c, f: cut(f / f"{ATTACK}.json"),
    "half-written outcomes": lambda s, c, f: cut(f / f"{ATTACK}.npz"),
    "outcomes removed": lambda s, c, f: (f / f"{ATTACK}.npz").unlink(),
    "outcomes no archive": lambda s, c, f: s.rewrite(c, "pgd", lambda p: p.write_bytes(b"PK")),
    "no success": lambda s, c, f: without(s, c, "success"),
    "no index": lambda s, c, f: without(s, c, "test_index"),
    "other lengths": lambda s, c, f: with_array(s, c, success=np.zeros(3, dtype=bool)),
    "no example": lambda s, c, f: with_array(
        s,
        c,
        test_index=np.zeros(0, dtype=int),
        success=np.zeros(0, dtype=bool),
        clean_correct=np.zeros(0, dtype=bool),
    ),
    "success as numbers": lambda s, c, f: with_array(s, c, success=np.full(200, 0.5)),
    "unknown status": lambda s, c, f: s.rewrite(
        c, "pgd", npz_writer(s.arrays(c, "pgd")), status="won"
    ),
}


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every stored file outside of the report."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != "report"
    }


def left_out(synthetic: Any) -> list[str]:
    """The paths that the report names, which must be the same everywhere."""
    before = snapshot(synthetic.store.path)
    index = reports.publish(synthetic.store.path)
    assert snapshot(synthetic.store.path) == before

    entries = json.loads((index.parent / "leaderboard.json").read_text())["left_out"]
    assert reports.load(synthetic.store.path).attrs["left_out"] == entries
    page, notes = index.read_text(), reports.terminal_table(synthetic.store.path).notes
    for entry in entries:
        assert f"<code>{entry['path']}</code>" in page
        assert entry["reason"]
        assert f"left out: {entry['path']}: {entry['reason']}" in notes
    return [entry["path"] for entry in entries]


@pytest.mark.parametrize(("breakage", "named"), WHOLE_CELL.values(), ids=WHOLE_CELL)
def test_a_cell_that_cannot_be_read(synthetic: Any, breakage: Breakage, named: str) -> None:
    good, bad = synthetic.cell("good"), synthetic.cell("bad")
    breakage(synthetic, bad, synthetic.store.cell_folder(bad))

    assert left_out(synthetic) == [f"cells/{bad}{named}"]
    assert list(reports.leaderboard(synthetic.store.path)["cell_id"]) == [good]


@pytest.mark.parametrize("breakage", ONE_ATTACK.values(), ids=ONE_ATTACK)
def test_an_attack_that_cannot_be_read_is_missing_and_never_robustness(
    synthetic: Any, breakage: Breakage
) -> None:
    good, bad = synthetic.cell("good"), synthetic.cell("bad")
    breakage(synthetic, bad, synthetic.store.cell_folder(bad))

    assert left_out(synthetic) == [f"cells/{bad}/{ATTACK}.json"]
    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")
    assert dict(board["worst_case_complete"]) == {good: True, bad: False}
    assert board["rank"].notna().to_dict() == {good: True, bad: False}
    page = reports.publish(synthetic.store.path).read_text()
    assert '<b class="bad">missing</b>' in page
    assert "≤</abbr>" in page


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: path.symlink_to("/dev/zero")],
    ids=["pipe", "device"],
)
@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("cell.json", "cell.json"),
        ("training.json", "training.json"),
        ("weights.safetensors", "training.json"),
        (f"{ATTACK}.json", f"{ATTACK}.json"),
        (f"{ATTACK}.npz", f"{ATTACK}.json"),
    ],
)
def test_a_pipe_or_a_device_is_not_opened(
    synthetic: Any, file: str, named: str, make: Callable[[Path], object], tmp_path: Path
) -> None:
    bad = synthetic.cell("bad")
    path = synthetic.store.cell_folder(bad) / file
    path.unlink()
    make(path)

    found = reports.load(synthetic.store.path).attrs["left_out"]

    assert f"cells/{bad}/{named}" in [entry["path"] for entry in found]
    reports.publish(synthetic.store.path, tmp_path / "site")


def test_a_results_folder_with_a_pipe_for_a_marker_is_refused(synthetic: Any) -> None:
    marker = synthetic.store.path / "bench.json"
    marker.unlink()
    os.mkfifo(marker)
    with pytest.raises(StoreError, match=r"bench\.json can't be understood"):
        reports.load(synthetic.store.path)


@pytest.mark.parametrize(
    "foreign",
    [
        "cells/notes.txt",
        "cells/.tmp-7-x",
        "cells/{cell}/notes.txt",
        "cells/{cell}/.tmp-7-weights.safetensors",
        "cells/{cell}/attacks/notes.txt",
        "cells/{cell}/attacks/.tmp-7-pgd-1a2b3c4d.npz",
        "cells/{cell}/attacks/pgd-00000000.npz",
        "cells/{cell}/attacks/notes.json",
    ],
)
def test_foreign_and_half_written_files(synthetic: Any, foreign: str) -> None:
    cell_id = synthetic.cell()
    path = foreign.format(cell=cell_id)
    (synthetic.store.path / path).write_text("{}")

    assert left_out(synthetic) == [path]
    assert list(reports.leaderboard(synthetic.store.path)["rank"]) == [1]


@pytest.mark.parametrize("stage", ["training", "adaptation"])
def test_a_damaged_stage_costs_its_time_only(synthetic: Any, stage: str) -> None:
    cell_id = synthetic.cell()
    synthetic.store.write_stage(cell_id, stage, {"seconds": "long"})

    named = left_out(synthetic)

    assert f"cells/{cell_id}/{stage}.json" in named
    (row,) = reports.leaderboard(synthetic.store.path).to_dict("records")
    assert row["rank"] == 1


def test_attacks_of_earlier_settings_are_not_called_foreign(synthetic: Any) -> None:
    cell_id = synthetic.cell(robust={"fgsm": 0.8, "pgd": 0.7})
    synthetic.change(cell_id, suites={"quick": ["pgd-1a2b3c4d"]})

    assert left_out(synthetic) == []


def test_a_cell_that_was_never_attacked_is_named(synthetic: Any) -> None:
    cell_id = synthetic.cell(robust={})

    assert left_out(synthetic) == [f"cells/{cell_id}"]


def test_keys_cannot_lead_out_of_the_results(synthetic: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('{"name": "secret"}')
    cell_id = synthetic.cell(robust={})
    synthetic.change(cell_id, suites={"quick": ["../../../../secret"]})

    assert left_out(synthetic) == [f"cells/{cell_id}/attacks/../../../../secret.json"]
    assert '"secret"' not in reports.publish(synthetic.store.path).read_text()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no results folder at"),
        (lambda p: p.mkdir(), "is not a results folder"),
        (lambda p: p.write_text("x"), "no results folder at"),
    ],
    ids=["nothing", "an empty folder", "a file"],
)
@pytest.mark.parametrize(
    "call", [reports.publish, reports.load, reports.leaderboard, reports.terminal_table]
)
def test_what_is_no_results_folder_is_refused(
    tmp_path: Path, make: Callable[[Path], object], message: str, call: Callable[[Path], object]
) -> None:
    make(tmp_path / "out")

    with pytest.raises(StoreError, match=message):
        call(tmp_path / "out")
    assert not (tmp_path / "out" / "report").exists()


@pytest.mark.parametrize("to", ["cells", "cells/{cell}", "cells/{cell}/attacks"])
def test_a_report_is_never_written_among_the_results(synthetic: Any, to: str) -> None:
    cell_id = synthetic.cell()
    before = snapshot(synthetic.store.path)

    with pytest.raises(StoreError, match="stored results are in there"):
        reports.publish(synthetic.store.path, synthetic.store.path / to.format(cell=cell_id))
    assert snapshot(synthetic.store.path) == before


def test_a_report_that_cannot_be_written_is_an_error(synthetic: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    with pytest.raises(StoreError, match=r"can't write to .*; give another folder"):
        reports.publish(synthetic.store.path, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
