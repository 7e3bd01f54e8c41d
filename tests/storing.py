"""What tests of the store write, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.results import Store, npz_writer

CELL = "digits-cnn-torch-none-s0-0123456789"
ATTACK = "attacks/pgd-1a2b3c4d"


def write_attack(store: Store) -> None:
    arrays = {"label": np.arange(3), "linf": np.array([0.1, np.nan, np.inf])}
    store.write_stage(CELL, ATTACK, {"name": "pgd"}, {"pgd-1a2b3c4d.npz": npz_writer(arrays)})


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
