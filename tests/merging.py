"""Results folders with small cells, to be joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.results import Store, npz_writer


def cell(
    folder: Path,
    name: str = "one",
    *,
    suites: dict[str, list[str]] | None = None,
    weights: bytes = b"weights",
    seconds: float = 1.0,
    status: str = "ok",
    accuracy: float | None = 0.5,
    attack_status: str = "ok",
    adapted: bool = False,
    epochs: int = 3,
    threads: int | None = None,
    device: str = "cpu",
    processor: str | None = None,
    versions: dict[str, str] | None = None,
) -> Path:
    """Writes a small cell; returns the results folder."""
    store = Store.create(folder)
    suites = {"quick": ["pgd-1"]} if suites is None else suites
    stages = ["training", "adaptation"] if adapted else ["training"]
    for stage in stages:
        file = f"{stage}.safetensors"
        record = {"seconds": seconds, "steps": 5}
        record |= {} if threads is None else {"threads": threads}
        store.write_stage(name, stage, record, {file: lambda path: put(path, weights)})
    for key in {key for keys in suites.values() for key in keys}:
        record = {"seconds": seconds, "status": attack_status, "robust_accuracy": accuracy}
        arrays = npz_writer({"success": np.arange(4) > 4 * (accuracy or 0)})
        store.write_stage(name, f"attacks/{key}", record, {f"{key}.npz": arrays})
    record = {"config": {"epochs": epochs}, "status": status, "suites": suites, "seconds": seconds}
    record |= {"started": f"{seconds}", "versions": versions or {"python": "3"}}
    record |= {"device": device}
    record |= {} if processor is None else {"processor": processor}
    store.write_cell(name, record)
    return folder


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def content(folder: Path) -> dict[str, bytes]:
    """All files of a results folder but its lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".lock")
    }
