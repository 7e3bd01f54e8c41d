"""Results that came from elsewhere may hold links: nothing is written through them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import reports
from benchmark.errors import BenchError, StoreError
from benchmark.results import Store
from benchmark.results import files as disk
from benchmark.results.merge import merge

INSIDE = ("cells", "cells/one", "cells/one/attacks", "cells/one/cell.json", ".lock-1", "logs")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / ".tmp-1-theirs").write_text("kept")
    return folder


def linked(tmp_path: Path, name: str, elsewhere: Path) -> Path:
    """A results folder in which `name` is a link."""
    out = Store.create(tmp_path / "out").path
    if name == "cells":
        (out / name).rmdir()
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    file = Path(name).suffix or name.startswith(".lock")
    (out / name).symlink_to(elsewhere / "file" if file else elsewhere)
    return out


def run(out: Path) -> None:
    """What a run writes."""
    store = Store.create(out)
    with store.lock():
        store.log("torch-1").write_text("")
        store.make_cell_folder("one")
        store.write_stage("one", "attacks/pgd-1", {}, {"pgd-1.npz": Path.touch})
        store.write_cell("one", {})


def join(out: Path) -> None:
    store = Store.create(out.parent / "source")
    store.write_stage("one", "attacks/pgd-1", {}, {"pgd-1.npz": Path.touch})
    store.write_cell("one", {"config": {}, "status": "ok", "suites": {"quick": ["pgd-1"]}})
    merge([store.path], out)


WRITTEN = [(run, name) for name in INSIDE] + [(join, n) for n in INSIDE if n != "logs"]


@pytest.mark.parametrize(("write", "name"), WRITTEN)
def test_nothing_is_written_or_removed_through_a_link(
    tmp_path: Path, elsewhere: Path, write: Callable[[Path], None], name: str
) -> None:
    out = linked(tmp_path, name, elsewhere)
    with pytest.raises(StoreError, match="is a link, which is not followed; remove it") as caught:
        write(out)
    assert "\n" not in str(caught.value)
    assert os.listdir(elsewhere) == [".tmp-1-theirs"]


def test_nothing_is_written_where_a_path_leads_up(tmp_path: Path) -> None:
    out = Store.create(tmp_path / "out").path
    for name in ("../file", "cells/../../file"):
        with pytest.raises(OSError, match="is not followed"):
            disk.write_json(out / name, {}, root=out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["report", "report/index.html"])
def test_a_report_is_not_written_through_a_link(tmp_path: Path, elsewhere: Path, name: str) -> None:
    out = linked(tmp_path, name, elsewhere)
    with pytest.raises(BenchError, match=r"is a link, which is not followed|leads out of the site"):
        reports.publish(out)
    assert os.listdir(elsewhere) == [".tmp-1-theirs"]


def test_folders_that_the_user_names_may_be_links(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "out").symlink_to(elsewhere)
    (elsewhere / ".tmp-1-theirs").unlink()
    run(tmp_path / "out")
    page = reports.publish(tmp_path / "out", tmp_path / "out" / "report")
    assert page.is_file()
    assert (elsewhere / "cells" / "one" / "cell.json").is_file()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", [".lock-1", "logs/torch-1.log", "cells/one/cell.json"])
def test_a_pipe_is_not_written_to(tmp_path: Path, name: str) -> None:
    path = Store.create(tmp_path / "out").path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(StoreError, match="is not a regular file"):
        run(tmp_path / "out")


def test_a_folder_named_like_a_leftover_is_left_alone(tmp_path: Path) -> None:
    out = Store.create(tmp_path / "out").path
    (out / "cells" / "one" / ".tmp-1-x").mkdir(parents=True)
    (out / "cells" / "one" / ".tmp-2-x").write_text("half")
    (out / ".tmp-3-bench.json").write_text("half")
    run(out)
    assert sorted(str(path.relative_to(out)) for path in out.rglob(".tmp-*")) == [
        "cells/one/.tmp-1-x"
    ]
