"""Distributions that contribute parts, installed into folders of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmark.config import read
from benchmark.plans.run import make_plan

TEMPLATE = Path(__file__).parent.parent / "docs" / "plugin-template"


def install(source: Path, folder: Path) -> Path:
    """Installs the project at `source` as pip does, without a network; gives where it is then."""
    copy, target = folder / "source", folder / "installed"
    shutil.copytree(source, copy)  # building writes beside the sources
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", target, copy]
    subprocess.run(list(map(str, command)), check=True, timeout=120)
    return target


def distribution(
    folder: Path, name: str, *, version: str = "1.0", module: str = "", **kinds: dict[str, str]
) -> None:
    """A distribution as an installation leaves it: its metadata, and one module of its name."""
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for kind, parts in kinds.items():
        lines += [f"[meta_adv_bench.{kind}]", *(f"{key} = {at}" for key, at in parts.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (folder / f"{name}.py").write_text(module)


def dry(tmp_path: Path, **given: Any) -> Any:
    """What a run would do; nothing is done."""
    usual = {"framework": "torch", "baseline": False, "examples": 5}
    return make_plan(read({**usual, "out": str(tmp_path / "out"), **given}), dry_run=True)
