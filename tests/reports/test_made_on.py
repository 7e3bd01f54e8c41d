"""An attack made on another cell's model: the model's page says on which."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import reports


def test_a_page_says_on_which_model_an_attack_was_made(synthetic: Any, tmp_path: Path) -> None:
    cell_id, store = synthetic.cell("pgd-at"), synthetic.store
    key = store.stage_keys(cell_id, "attacks")[0]
    record = store.read_stage(cell_id, f"attacks/{key}")
    (name,) = record["files"]
    content = (store.cell_folder(cell_id) / "attacks" / name).read_bytes()
    files = {name: lambda path: path.write_bytes(content)}
    changed = {**record, "made_on": "the-twin-0123456789"}
    store.write_stage(cell_id, f"attacks/{key}", changed, files)
    reports.publish(store.path, tmp_path / "site")
    page = (tmp_path / "site" / "models" / cell_id / "index.html").read_text()
    assert "made on the-twin-0123456789" in re.sub(r"<wbr>|&shy;|\u200b|\u00ad", "", page)
