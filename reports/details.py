"""Everything an attack stored about its examples, checked once; what is missing is None."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.errors import StoreError
from benchmark.results import Store
from reports.records import Attack, Cell

Arrays = dict[str, np.ndarray]
_WHOLE = ("label", "clean_prediction", "adversarial_prediction", "first_query")


@dataclass(frozen=True)
class Detail:
    """One attack's outcomes; all arrays are (n,), of the same examples in the same order."""

    attack: Attack
    arrays: Arrays  # as stored, for the pictures
    test_index: np.ndarray
    clean_correct: np.ndarray
    robust: np.ndarray
    label: np.ndarray | None
    clean_prediction: np.ndarray | None
    adversarial_prediction: np.ndarray | None
    first_query: np.ndarray | None  # -1 where unknown
    distance: np.ndarray | None  # in the norm of the threat model

    @property
    def attacked(self) -> np.ndarray:
        """Which examples the attack was run on."""
        assert self.attack.outcomes is not None
        return self.attack.outcomes.attacked

    @property
    def accuracy(self) -> float:
        """Share of the attacked examples that stay right."""
        return float(self.robust[self.attacked].mean())

    def within(self, norm: str, eps: float) -> bool:
        """Whether the attack had this threat; a record that tells none had that of its cell."""
        record = self.attack.record
        return record is None or not record.norm or (record.norm, record.eps) == (norm, eps)

    @property
    def success(self) -> np.ndarray:
        return self.clean_correct & ~self.robust


def load_details(store: Store, cell: Cell) -> dict[str, Detail]:
    """The outcomes of a cell's attacks by key."""
    norm = cell.record.config.threat.norm
    found = {key: detail(store, cell.cell_id, attack, norm) for key, attack in cell.attacks.items()}
    return {key: one for key, one in found.items() if one is not None}


def detail(store: Store, cell_id: str, attack: Attack, norm: str) -> Detail | None:
    """The outcomes of an attack that ran, or None if they can't be read any more."""
    if attack.outcomes is None:
        return None
    try:
        arrays = store.read_arrays(cell_id, f"{attack.folder}/{attack.key}", f"{attack.key}.npz")
    except StoreError:
        return None
    size = len(attack.outcomes.robust)
    whole = {name: usable(arrays, name, size, kinds="iu") for name in _WHOLE}
    distance = usable(arrays, norm, size, kinds="f") if norm in ("linf", "l2", "l1", "l0") else None
    return Detail(
        attack,
        arrays,
        attack.outcomes.test_index,
        attack.outcomes.clean_correct,
        attack.outcomes.robust,
        distance=distance,
        **whole,
    )


def usable(arrays: Arrays, name: str, size: int, *, kinds: str) -> np.ndarray | None:
    """A stored array, (size,), of these kinds of type; None where it is missing or another."""
    array = arrays.get(name)
    return (
        array
        if array is not None and array.shape == (size,) and array.dtype.kind in kinds
        else None
    )
