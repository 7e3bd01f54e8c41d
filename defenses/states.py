"""What the next step of a training depends on, as arrays by name, so that a checkpoint holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

Arrays = Mapping[str, np.ndarray]


class Part(Protocol):
    """Something that is kept."""

    def state(self) -> dict[str, np.ndarray]:
        """All of it, by name."""

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""


class Parts(dict[str, Part]):
    """Several of them under their names, kept as one."""

    def state(self) -> dict[str, np.ndarray]:
        """All of them, "part/name"."""
        return joined({name: part.state() for name, part in self.items()})

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned; other names are left alone."""
        found = divided(state)
        for name, part in self.items():
            part.load_state(found.get(name, {}))


def joined(parts: Mapping[str, Arrays]) -> dict[str, np.ndarray]:
    """Parts as one, "part/name"; an array without a name has that of its part."""
    return {
        f"{part}/{name}" if name else part: value
        for part, arrays in parts.items()
        for name, value in arrays.items()
    }


def divided(arrays: Arrays) -> dict[str, dict[str, np.ndarray]]:
    """The inverse of `joined`."""
    parts: dict[str, dict[str, np.ndarray]] = {}
    for whole, value in arrays.items():
        part, _, name = whole.partition("/")
        parts.setdefault(part, {})[name] = value
    return parts


def numbered(values: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays named by their place, from 0."""
    return {str(index): value for index, value in enumerate(values)}
