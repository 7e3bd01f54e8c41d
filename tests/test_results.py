"""The store: what is read is what was written, and whole."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from storing import ATTACK, CELL, write_attack

from benchmark.errors import StoreError
from benchmark.results import Store, npz_writer
from benchmark.results import files as disk


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "out")


def test_cells_can_be_listed_by_how_their_ids_begin(store: Store) -> None:
    for name in ("digits-a", "digits-b", "mnist-a"):
        store.write_cell(name, {})
    (store.path / "cells" / "digits-file").touch()
    assert store.cell_ids("digits-") == ["digits-a", "digits-b"]


def test_stage_comes_back_as_written(store: Store) -> None:
    record = {"name": "pgd", "numbers": [0.1, 1e-300, 3], "by_class": {2: 0.5, 10: 1.0}}
    arrays = {"label": np.arange(3), "linf": np.array([0.1, np.nan, np.inf])}
    store.write_stage(CELL, ATTACK, record, {"pgd-1a2b3c4d.npz": npz_writer(arrays)})
    found = store.read_stage(CELL, ATTACK)
    assert found is not None
    assert set(found.pop("files")) == {"pgd-1a2b3c4d.npz"}
    assert found == {**record, "by_class": {"2": 0.5, "10": 1.0}}
    assert store.stage_keys(CELL, "attacks") == ["pgd-1a2b3c4d"]
    read = store.read_arrays(CELL, ATTACK, "pgd-1a2b3c4d.npz")
    assert {k: v.dtype for k, v in read.items()} == {k: v.dtype for k, v in arrays.items()}
    np.testing.assert_array_equal(read["linf"], arrays["linf"])


def test_writer_sees_the_final_suffix_and_leaves_no_temporary_file(store: Store) -> None:
    seen: list[str] = []

    def write(path: Path) -> None:
        seen.append(path.name)
        path.write_bytes(b"weights")

    store.write_stage(CELL, "training", {}, {"weights.weights.h5": write})
    (name,) = seen
    assert re.fullmatch(
        rf"\.tmp-{os.getpid()}-[A-Za-z0-9]*-[0-9a-f]{{8}}-weights\.weights\.h5", name
    )
    names = sorted(p.name for p in store.cell_folder(CELL).iterdir())
    assert names == ["training.json", "weights.weights.h5"]


def test_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        npz_writer({"x": np.linspace(0, 1, 50)})(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def improve_number(path: Path) -> None:
    path.write_text(path.read_text().replace('"pgd"', '"pgd2"'))


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (Path.unlink, "pgd-1a2b3c4d.npz"),
        (cut_short, "pgd-1a2b3c4d.npz"),
        (flip_byte, "pgd-1a2b3c4d.npz"),
        (Path.unlink, "pgd-1a2b3c4d.json"),
        (cut_short, "pgd-1a2b3c4d.json"),
        (improve_number, "pgd-1a2b3c4d.json"),
    ],
)
def test_damaged_stage_reads_as_missing(
    store: Store, damage: Callable[[Path], None], file: str
) -> None:
    write_attack(store)
    damage(store.cell_folder(CELL) / "attacks" / file)
    assert store.read_stage(CELL, ATTACK) is None
    with pytest.raises(StoreError):
        store.read_arrays(CELL, ATTACK, "pgd-1a2b3c4d.npz")


def test_arrays_in_place_of_those_that_were_stored_are_not_read(store: Store) -> None:
    write_attack(store)
    path = store.cell_folder(CELL) / "attacks" / "pgd-1a2b3c4d.npz"
    npz_writer({"label": np.arange(3)})(path)
    with pytest.raises(StoreError, match="its checksum differs"):
        store.read_arrays(CELL, ATTACK, path.name)


def test_arrays_that_lie_beside_a_record_are_none_of_its(store: Store) -> None:
    write_attack(store)
    folder = store.cell_folder(CELL) / "attacks"
    (folder / "other.npz").write_bytes((folder / "pgd-1a2b3c4d.npz").read_bytes())
    with pytest.raises(StoreError, match=r"has no file 'other.npz'"):
        store.read_arrays(CELL, ATTACK, "other.npz")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"files": {"../../x": "0"}}',
    ],
    ids=["empty", "not an object", "NaN", "infinite", "not text", "deep", "file outside"],
)
def test_unreadable_json_reads_as_missing(store: Store, content: bytes) -> None:
    store.cell_folder(CELL).mkdir()
    for name in ("cell.json", "training.json"):
        (store.cell_folder(CELL) / name).write_bytes(content)
    assert store.read_cell(CELL) is None
    assert store.read_stage(CELL, "training") is None


@pytest.mark.parametrize(("number", "is_read"), [("1e99", True), ("1e999", False)])
def test_a_number_that_is_read_as_infinity_is_refused(
    store: Store, number: str, is_read: bool
) -> None:
    """Whatever its checksum: no file of a report could hold it."""
    write_attack(store)
    path = store.cell_folder(CELL) / f"{ATTACK}.json"
    first, *lines = [one for one in path.read_text().splitlines() if '"checksum"' not in one]
    lines.insert(0, f'  "a": {number},')
    seal = hashlib.sha256("\n".join([first, *lines]).encode()).hexdigest()
    path.write_text("\n".join([first, f'  "checksum": "{seal}",', *lines]))
    assert (store.read_stage(CELL, ATTACK) is not None) == is_read


def test_a_record_that_says_the_same_in_another_form_is_intact(store: Store) -> None:
    write_attack(store)
    path = store.cell_folder(CELL) / f"{ATTACK}.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=None))
    assert store.read_stage(CELL, ATTACK) is not None
    path.write_text(path.read_text().replace('"pgd"', '"pgd2"'))
    assert store.read_stage(CELL, ATTACK) is None


@pytest.mark.timeout(20)
def test_a_record_that_is_a_pipe_is_not_waited_for(store: Store) -> None:
    os.mkfifo(store.make_cell_folder(CELL) / "training.json")
    assert store.read_stage(CELL, "training") is None


@pytest.mark.parametrize(("size", "is_read"), [(9, True), (10, True), (11, False), (99, False)])
def test_a_file_is_read_up_to_a_size(tmp_path: Path, size: int, is_read: bool) -> None:
    (tmp_path / "a").write_bytes(b"x" * size)
    if is_read:
        assert disk.read_plain(tmp_path / "a", largest=10) == b"x" * size
    else:
        with pytest.raises(OSError, match="larger than 10 bytes"):
            disk.read_plain(tmp_path / "a", largest=10)


def test_cell_copied_under_another_id_reads_as_missing(store: Store) -> None:
    store.write_cell(CELL, {"status": "ok"})
    store.cell_folder(CELL).rename(store.cell_folder("renamed"))
    assert store.read_cell("renamed") is None


def test_pickled_arrays_are_refused(store: Store) -> None:
    with pytest.raises(TypeError, match="'evil' holds Python objects"):
        npz_writer({"evil": np.array([{}], dtype=object)})

    def write(path: Path) -> None:
        np.savez(path, evil=np.array([{}], dtype=object))

    store.write_stage(CELL, "training", {}, {"evil.npz": write})
    with pytest.raises(StoreError, match="Object arrays cannot be loaded"):
        store.read_arrays(CELL, "training", "evil.npz")


def archive(content: bytes = b"text", *, flags: int = 0, method: int = 0) -> bytes:
    """A zip archive of one array file, with these flags and this compression method claimed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        target.writestr("a.npy", content)
    found = bytearray(stream.getvalue())
    for header, offset in ((found.find(b"PK\x01\x02"), 8), (0, 6)):
        found[header + offset] |= flags
        found[header + offset + 2] = method
    return bytes(found)


def huge() -> bytes:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,)}"
    return b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK and then nothing",
        archive(flags=1),
        archive(method=99),
        archive(method=8),
        archive(huge()),
    ],
    ids=["empty", "no archive", "encrypted", "unknown method", "not compressed so", "80 TB"],
)
def test_archive_that_is_stored_whole_but_unreadable_is_refused(
    store: Store, content: bytes
) -> None:
    store.write_stage(CELL, "training", {}, {"a.npz": lambda path: path.write_bytes(content)})
    with pytest.raises(StoreError, match="can't read the arrays in"):
        store.read_arrays(CELL, "training", "a.npz")


def test_lock_is_exclusive_and_ends_with_its_block(store: Store) -> None:
    with store.lock():
        with (
            pytest.raises(StoreError, match=rf"another run .process {os.getpid()}. is writing"),
            Store.open(store.path).lock(),
        ):
            pass
        store.write_cell(CELL, {})
    with store.lock():
        pass


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "a b", "x" * 201, "a\n"])
def test_unsafe_names_are_refused(store: Store, name: str) -> None:
    for use in (
        lambda: store.cell_folder(name),
        lambda: store.write_stage(CELL, f"attacks/{name}", {}),
        lambda: store.write_stage(CELL, "training", {}, {name: Path.touch}),
        lambda: store.read_arrays(CELL, "training", name),
    ):
        with pytest.raises(StoreError, match=r"is not allowed|unknown stage"):
            use()
    assert store.read_stage(CELL, "training") is None


def test_unknown_stage_names_the_allowed_ones(store: Store) -> None:
    with pytest.raises(StoreError, match="allowed: training, adaptation, given, FOLDER/KEY"):
        store.read_stage(CELL, "trainning")


def test_foreign_names_are_not_cells(store: Store) -> None:
    (store.path / "cells" / ".DS_Store").touch()
    (store.path / "cells" / "notes.txt").touch()
    (store.path / "cells" / "a b").mkdir()
    store.write_cell("b", {})
    store.write_stage("a", "training", {})
    assert store.cell_ids() == ["a", "b"]
    assert store.read_cell("a") is None


def test_files_have_ordinary_permissions(store: Store) -> None:
    write_attack(store)
    umask = os.umask(0)
    os.umask(umask)
    for path in store.cell_folder(CELL).rglob("*.*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
