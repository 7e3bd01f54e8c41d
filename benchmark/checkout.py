"""Which commit this package runs from."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path


@functools.cache
def git_state() -> dict[str, str | bool] | None:
    """Commit and cleanness of the checkout that this package runs from, or None outside of one."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():  # installed: a repository further up would be the user's own
        return None
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain")
    if commit is None or status is None:
        return None
    return {"commit": commit, "dirty": bool(status)}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
