"""The notebooks of the documentation: each runs from top to bottom, with its bars and its plots."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nbclient", reason="needs the extra [notebooks]")
pytest.importorskip("ipykernel", reason="needs the extra [notebooks]")
jupytext = pytest.importorskip("jupytext", reason="needs the extra [notebooks]")

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
PLOTS = {"leaderboard": 2, "my_model": 3, "meta_learning": 1}
BARS = {"leaderboard": "100%", "my_model": "value='100'", "meta_learning": "100%"}


def test_each_writes_to_a_folder_of_its_own() -> None:
    """Opened from one folder, as they lie, they would show each other's rows."""
    texts = [path.read_text() for path in FOLDER.glob("*.py")]
    folders = [name for text in texts for name in re.findall(r'(?:--out |out=")([\w-]+)', text)]
    assert len(folders) == len(set(folders)) == len(texts)


def outputs(notebook: Any) -> list[Any]:
    return [one for cell in notebook.cells for one in cell.get("outputs", ())]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what runs the kernel
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = jupytext.read(FOLDER / f"{name}.py")
    kernel = {"resources": {"metadata": {"path": str(tmp_path)}}, "kernel_name": "python3"}

    NotebookClient(notebook, timeout=1100, **kernel).execute()

    shown = outputs(notebook)
    assert sum("image/png" in one.get("data", {}) for one in shown) == PLOTS[name]
    texts = [one.get("text", "") + one.get("data", {}).get("text/html", "") for one in shown]
    assert any(BARS[name] in text for text in texts)
    assert not any(one["output_type"] == "error" for one in shown)
