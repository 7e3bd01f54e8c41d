"""Synthetic results: small, seeded, written through the same store as real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.results import Store, npz_writer
from benchmark.results.identity import PROTOCOL_VERSION

Writer = Callable[[Path], object]

# accuracy left under each attack, as shares
UNDEFENDED = {"fgsm": 0.31, "pgd": 0.05, "apgd": 0.04, "square": 0.22}
TRAINED = {"fgsm": 0.83, "pgd": 0.79, "apgd": 0.78, "square": 0.81}

TRAINING = {"seconds": 12.5, "cost": {"gradient_evaluations": 250_000}, "steps": 100}
LENGTH = {"epochs": 20, "budget_ge": None, "examples": 1000}
# Where and how long a cell was worked on.
PLACE = {
    "git": {"commit": "abcdef0", "dirty": False},
    "device": "cpu",
    "threads": 1,
    "seconds": 20.0,
    "gradient_evaluations": 250_000,
    "started": "2025-01-01T12:00:00Z",
}


@dataclass
class Synthetic:
    """Writes cells to a results folder; every argument has a default that makes a good cell."""

    store: Store

    def cell(
        self,
        defense: str = "pgd-at",
        framework: str = "torch",
        *,
        seed: int = 0,
        dataset: str = "digits",
        norm: str = "linf",
        eps: float = 0.15,
        parameters: Mapping[str, Any] | None = None,
        clean: float = 0.95,
        robust: Mapping[str, float] | None = None,
        states: Mapping[str, tuple[str, str]] | None = None,
        violations: Mapping[str, Mapping[str, int]] | None = None,
        examples: int = 200,
        shape: Sequence[int] = (8, 8, 1),
        status: str = "ok",
        reason: str = "",
        cell_id: str | None = None,
    ) -> str:
        """Writes one cell and returns its id."""
        if robust is None:
            robust = UNDEFENDED if defense == "none" else TRAINED
        safe = "".join(c if c.isalnum() or c in "-." else "-" for c in f"{dataset}-{defense}")
        cell_id = cell_id or f"{safe.strip('-')}-{framework}-s{seed}-{norm}"
        keys = []
        for number, (name, share) in enumerate(robust.items()):
            key = f"{name if name.isalnum() else f'attack{number}'}-1a2b3c4d"
            keys.append(key)
            state = (states or {}).get(name, ("ok", ""))
            record = self.attack_record(name, key, state, (violations or {}).get(name, {}))
            record |= {"norm": norm, "eps": eps}
            arrays = outcomes(clean, share, examples, shape, offset=number)
            files = {f"{key}.npz": npz_writer(arrays)} if state[0] == "ok" else {}
            self.store.write_stage(cell_id, f"attacks/{key}", record, files)
        weights = {"weights.safetensors": lambda path: path.write_bytes(b"w")}
        self.store.write_stage(cell_id, "training", TRAINING, weights)
        config = {
            "dataset": {"name": dataset, "fingerprint": "0123456789abcdef"},
            "model": "cnn",
            "framework": framework,
            "defense": {"name": defense, "parameters": dict(parameters or {})},
            "threat": {"norm": norm, "eps": eps},
            "seed": seed,
            **LENGTH,
        }
        versions = {"python": "3.12.1", "numpy": "2.1.0", framework: "2.9.0"}
        suites = {"quick": keys} if keys else {}
        ended = {"status": status, "reason": reason, "suites": suites, "versions": versions}
        self.store.write_cell(cell_id, {"config": config, **ended, **PLACE})
        return cell_id

    def change(self, cell_id: str, **values: Any) -> None:
        """Puts other values into a cell's record."""
        record = self.store.read_cell(cell_id)
        assert record is not None
        self.store.write_cell(cell_id, {**record, **values})

    def arrays(self, cell_id: str, attack: str) -> dict[str, np.ndarray]:
        """What an attack stored, example by example."""
        key = f"{attack}-1a2b3c4d"
        return self.store.read_arrays(cell_id, f"attacks/{key}", f"{key}.npz")

    def rewrite(self, cell_id: str, name: str, write: Writer, /, **values: Any) -> None:
        """Writes an attack's file again, and its record with other values."""
        key = f"{name}-1a2b3c4d"
        record = self.store.read_stage(cell_id, f"attacks/{key}")
        assert record is not None
        self.store.write_stage(
            cell_id, f"attacks/{key}", {**record, **values}, {f"{key}.npz": write}
        )

    @staticmethod
    def attack_record(
        name: str, key: str, state: tuple[str, str], violations: Mapping[str, int]
    ) -> dict[str, Any]:
        return {
            "protocol_version": PROTOCOL_VERSION,
            "name": name,
            "key": key,
            "attack": "ProjectedGradientDescent",
            "arguments": {"max_iter": 40, "eps_step": 0.01},
            "norm": "linf",
            "eps": 0.15,
            "status": state[0],
            "reason": state[1],
            "seconds": 3.25,
            "forwards": 8000,
            "backwards": 8000,
            "violations": {"budget": 0, "box": 0, "non_finite": 0, **violations},
        }


def outcomes(
    clean: float, robust: float, n: int, shape: Sequence[int], *, offset: int = 0
) -> dict[str, np.ndarray]:
    """Arrays of an attack: the first examples are clean-correct, the first of those stay so.

    `offset` moves which ones stay, so that the worst case is lower than any single attack.
    """
    correct = np.arange(n) < round(clean * n)
    stays = np.roll(np.arange(n) < round(robust * n), offset) & correct
    success = correct & ~stays
    label = np.arange(n) % 10
    clean_prediction = np.where(correct, label, (label + 1) % 10)
    prediction = np.where(success, (label + 3) % 10, clean_prediction)
    broken = np.flatnonzero(success)[:4]
    random = np.random.default_rng(offset)
    before = random.random((len(broken), *shape), dtype=np.float32)
    noise = random.uniform(-0.15, 0.15, before.shape).astype(np.float32)
    return {
        "test_index": np.arange(n),
        "label": label,
        "clean_prediction": clean_prediction,
        "clean_correct": correct,
        "adversarial_prediction": prediction,
        "success": success,
        "linf": np.full(n, 0.15),
        "first_query": np.full(n, -1),
        "sample_index": broken,
        "sample_clean": before,
        "sample_adversarial": np.clip(before + noise, 0, 1),
    }


@pytest.fixture(scope="module", autouse=True)
def _named_by_hand() -> Iterator[None]:
    """Synthetic cells have names that tests can read in the place of ids."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.records.fits", lambda cell_id, config: True)
        yield


@pytest.fixture
def synthetic(tmp_path: Path) -> Synthetic:
    return Synthetic(Store.create(tmp_path / "out"))


@pytest.fixture(scope="session")
def synthetic_in() -> Callable[[Path], Synthetic]:
    """Makes a results folder of its own, for what several tests only read."""
    return lambda path: Synthetic(Store.create(path))
