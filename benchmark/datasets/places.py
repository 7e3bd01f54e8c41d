"""Where the files of named data sets are looked for, and how they come there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmark.datasets.dataset import Request
from benchmark.errors import DataError

# Runs in a process of its own, since it imports a framework.
DOWNLOAD = "benchmark.datasets.download"


def default_root() -> Path:
    """Where data are looked for when no data folder is given: the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(cache)) / "meta-adv-bench"


def root_of(request: Request) -> Path:
    """The folder below which a named set is looked for."""
    return request.data_dir or default_root()


def required(request: Request, *names: str, hint: str = "") -> Path:
    """The folder that holds all of these files or folders, fetched there if that was allowed.

    Args:
        names: below the folder that is returned.
        hint: how to come by them without --download.

    Raises:
        DataError: some are missing, or can't be fetched.
    """
    root = root_of(request)
    missing = [name for name in names if not os.path.exists(root / name)]
    if missing and request.download:
        fetch(request.name, root)
        missing = [name for name in names if not os.path.exists(root / name)]
    if missing:
        path = root / missing[0]
        raise DataError(
            f"{request.name}: {path.name} is not in {path.parent}, and downloading was not "
            f"allowed; give --data-dir with the folder that holds {_top(names)}{hint}, or "
            "--download to fetch the files"
        )
    return root


def fetch(name: str, root: Path) -> None:
    """Downloads a data set below `root`; raises `DataError` where that fails."""
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    done = subprocess.run(
        [sys.executable, "-m", DOWNLOAD, name, str(root)],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    if done.returncode == 0:
        return
    _remove_empty(root, made)
    said = done.stderr.strip().splitlines()
    raise DataError(
        f"{name}: its files are not in {root}, and downloading them there failed "
        f"({said[-1] if said else f'exit code {done.returncode}'}); check the network and that "
        "the folder can be written, or give --data-dir with a folder that holds them"
    )


def _remove_empty(root: Path, made: list[Path]) -> None:
    """Take back the folders that a failed download made, innermost first."""
    inner = sorted(
        (Path(folder) for folder, _, _ in os.walk(root)) if root in made else (),
        key=lambda folder: -len(folder.parts),
    )
    for folder in (*inner, *made):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _top(names: tuple[str, ...]) -> str:
    """What the folder must hold: the common beginning of the names."""
    common = os.path.commonpath(names)
    return common or " and ".join(names)
