"""The folder of results: what is made one, what is taken for one, and what is left alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.errors import StoreError
from benchmark.results import SCHEMA_VERSION, Store

CELL = "digits-cnn-torch-none-s0-0123456789"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_create_makes_parents_and_keeps_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    Store.create(out).write_cell(CELL, {"status": "ok"})
    assert json.loads((out / "bench.json").read_text()) == {"schema_version": SCHEMA_VERSION}
    again = Store.create(out)
    assert again.cell_ids() == [CELL]
    assert Store.open(out).read_cell(CELL) == {
        "status": "ok",
        "cell_id": CELL,
        "schema_version": SCHEMA_VERSION,
    }


def test_create_goes_on_where_a_kill_stopped_it(tmp_path: Path) -> None:
    (tmp_path / ".tmp-77-bench.json").write_text("{")
    assert Store.create(tmp_path).cell_ids() == []


def foreign(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").touch()


def other_schema(path: Path) -> None:
    path.mkdir()
    (path / "bench.json").write_text('{"schema_version": 7}')


def garbled(path: Path) -> None:
    path.mkdir()
    (path / "bench.json").write_text('{"schema_ver')


def a_file(path: Path) -> None:
    path.touch()


def dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def cells_is_a_file(path: Path) -> None:
    Store.create(path)
    (path / "cells").rmdir()
    (path / "cells").touch()


@pytest.mark.parametrize("check", [Store.create, Store.check_writable], ids=["create", "check"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign, "holds other files .'thesis.tex'. and no results"),
        (other_schema, "schema version 7, this bench reads and writes version 1"),
        (garbled, "can't be understood"),
        (a_file, "is not a folder"),
        (dangling_link, "is not a folder"),
        (cells_is_a_file, "cells is not a folder"),
    ],
)
def test_unusable_output_folder_is_refused_and_left_alone(
    tmp_path: Path, check: Callable[[Path], object], make: Callable[[Path], None], message: str
) -> None:
    out = tmp_path / "out"
    make(out)
    before = tree(tmp_path)
    with pytest.raises(StoreError, match=message) as caught:
        check(out)
    assert "\n" not in str(caught.value)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["a\0b", "x" * 300], ids=["null character", "name too long"])
def test_impossible_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError):
        Store.check_writable(tmp_path / name)


def test_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may all
    with pytest.raises(StoreError, match="no permission for"):
        Store.create(tmp_path / "new" / "out")
    assert list(tmp_path.iterdir()) == []


def test_check_writable_writes_nothing(tmp_path: Path) -> None:
    Store.check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no results folder"),
        (foreign, "is not a results folder"),
        (other_schema, "version 7"),
        (garbled, "can't be understood"),
    ],
    ids=["missing", "foreign", "other schema", "garbled"],
)
def test_open_says_why_a_folder_is_not_one(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "out")
    with pytest.raises(StoreError, match=message):
        Store.open(tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["bench.json", ".lock-1", ".lock-12", ".checksums", "cells", "logs"]
)
def test_a_link_where_results_will_be_written_is_refused_before_any_work(
    tmp_path: Path, name: str
) -> None:
    out, elsewhere = Store.create(tmp_path / "out").path, tmp_path / "elsewhere"
    there = out / name
    if there.exists():
        there.rename(elsewhere)
    there.symlink_to(elsewhere)
    with pytest.raises(StoreError, match=f"{name} is a link, which is not followed"):
        Store.check_writable(out)


def test_a_folder_that_can_not_be_entered_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.X_OK)
    with pytest.raises(StoreError, match="no permission for"):
        Store.check_writable(tmp_path / "out")
