"""The documentation's site, built aside for the tests that look at it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS = ("docs", "tests/performance", ".github", "attacks_cfg", "benchmark", "defenses", "reports")


def build(work: Path) -> Path:
    """Builds the site in an empty folder, so that the working tree stays as it is."""
    for folder in PARTS:
        shutil.copytree(ROOT / folder, work / folder)
    for file in ("zensical.toml", "CITATION.cff"):
        shutil.copy(ROOT / file, work / file)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(work)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "exited with errors" not in said  # of code on a page, which is no warning there
    return work / "site"
