"""The network with the snapshots of the classifier that it learns from, in either framework."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from defenses.states import Arrays, Part, divided, joined, numbered


class Snapshots:
    """The classifier's latest weights, kept now and then.

    Args:
        network: that learns from them; a checkpoint keeps both as one.
        count: that are kept.
        every: updates between two of them.
    """

    def __init__(self, network: Part, *, count: int, every: int) -> None:
        self._network, self._count, self._every = network, count, every
        self._kept: list[list[np.ndarray]] = []  # the oldest first
        self._seen = 0  # updates so far

    def keep(self, fetch: Callable[[], Sequence[np.ndarray]]) -> None:
        """Keep the weights that `fetch` copies from the device, where it is time for a snapshot."""
        if self._seen % self._every == 0:
            self._kept.append([np.array(weight) for weight in fetch()])
            del self._kept[: -self._count]
        self._seen += 1

    def chosen(self, number: float) -> list[np.ndarray]:
        """The snapshot that a number in [0, 1) falls on."""
        return self._kept[min(int(number * len(self._kept)), len(self._kept) - 1)]

    def state(self) -> dict[str, np.ndarray]:
        """All of it by name."""
        kept = joined({str(place): numbered(one) for place, one in enumerate(self._kept)})
        seen = {"": np.array(self._seen)}
        return joined({"network": self._network.state(), "seen": seen, "kept": kept})

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        parts = divided(state)
        self._network.load_state(parts.get("network", {}))
        self._seen = int(state["seen"])
        kept = divided(parts.get("kept", {}))
        self._kept = [
            [one[str(i)] for i in range(len(one))] for _, one in sorted(kept.items(), key=_place)
        ]


def _place(item: tuple[str, Any]) -> int:
    return int(item[0])
