"""What is learned beside the classifier: a bank, or a network with snapshots to learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from defenses.kernel import Arrays
from defenses.meta_gen.bank import Bank, patch_side
from defenses.meta_gen.spec import PATCH, MetaGenerator

_PREFIX = "learned/"


class Learned:
    """Made at the first batch, which tells the shape of the inputs; the same in both frameworks."""

    def __init__(self, defense: MetaGenerator) -> None:
        self._defense = defense
        self._bank: Bank | None = None
        self.made: Any = None  # the framework's generator
        self._kept: list[list[np.ndarray]] = []  # weights of the classifier, the oldest first
        self._seen = 0  # updates so far
        self._saved: dict[str, np.ndarray] = {}

    def bank(self, shape: tuple[int, ...]) -> Bank:
        """The bank for inputs of this shape."""
        if self._bank is None:
            defense = self._defense
            if defense.pattern == PATCH:
                shape = (patch_side(shape[:2]),) * 2 + shape[2:]
            self._bank = Bank(
                defense.bank_size,
                shape,
                pattern=defense.pattern,
                norm=defense.threat.norm,
                rate=defense.reptile_rate,
            )
            if self._saved:
                self._bank.values = self._saved["bank"].copy()
        return self._bank

    def network(self, shape: tuple[int, ...], make: Callable[[tuple[int, ...]], Any]) -> Any:
        """The framework's generator for inputs of this shape."""
        if self.made is None:
            self.made = make(shape)
            parts = _part(self._saved, "network/")
            if parts:
                self.made.load_state(parts)
        return self.made

    def keep(self, weights: Sequence[Any]) -> None:
        """Keep these weights of the classifier where it is time for a snapshot."""
        if self._seen % self._defense.snapshot_every == 0:
            self._kept.append([np.array(weight) for weight in weights])
            del self._kept[: -self._defense.snapshots]
        self._seen += 1

    def snapshot(self, number: float) -> list[np.ndarray]:
        """The snapshot that a number in [0, 1) falls on."""
        return self._kept[min(int(number * len(self._kept)), len(self._kept) - 1)]

    def state(self) -> dict[str, np.ndarray]:
        """All of it by name."""
        state = dict(self._saved)
        if self._bank is not None:
            state = {"bank": self._bank.values.copy()}
        if self.made is not None:
            state = {f"network/{name}": value for name, value in self.made.state().items()}
            state["seen"] = np.array(self._seen)
            for place, weights in enumerate(self._kept):
                state |= {f"kept/{place}/{i}": value for i, value in enumerate(weights)}
        return {f"{_PREFIX}{name}": value for name, value in state.items()}

    def load_state(self, state: Arrays) -> dict[str, np.ndarray]:
        """Take up what `state` returned; gives back what is others'."""
        self._saved = _part(state, _PREFIX)
        self._bank, self._kept = None, []
        self._seen = int(self._saved.get("seen", 0))
        kept: dict[int, dict[int, np.ndarray]] = {}
        for name, value in _part(self._saved, "kept/").items():
            place, _, index = name.partition("/")
            kept.setdefault(int(place), {})[int(index)] = value
        self._kept = [[one[i] for i in sorted(one)] for _, one in sorted(kept.items())]
        if self.made is not None and (parts := _part(self._saved, "network/")):
            self.made.load_state(parts)
        return {name: value for name, value in state.items() if not name.startswith(_PREFIX)}


def _part(state: Arrays, prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
