"""What a checkpoint keeps of PyTorch, as arrays of NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from defenses.states import Arrays, divided, joined, numbered


class Tensors:
    """Tensors that a checkpoint keeps, by their place."""

    def __init__(self, values: Sequence[Tensor]) -> None:
        self._values = values

    def state(self) -> dict[str, np.ndarray]:
        """All of them."""
        return numbered([array(value) for value in self._values])

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        with torch.no_grad():
            for name, value in state.items():
                self._values[int(name)].copy_(torch.from_numpy(value))


class Slots:
    """What an optimiser keeps of each parameter, "place/name"."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def state(self) -> dict[str, np.ndarray]:
        """All of it."""
        kept = self._optimizer.state_dict()["state"]
        return joined(
            {
                str(place): {name: array(value) for name, value in slots.items()}
                for place, slots in kept.items()
            }
        )

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        kept = {
            int(place): {name: torch.from_numpy(value) for name, value in slots.items()}
            for place, slots in divided(state).items()
        }
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": kept, "param_groups": groups})


def array(value: Tensor) -> np.ndarray:
    """A copy in NumPy."""
    return in_numpy(value).copy()


def in_numpy(value: Tensor) -> np.ndarray:
    """The tensor's own numbers and layout in NumPy, where it lies in the processor's memory."""
    value = value.detach().cpu()
    # NumPy has no bfloat16; float32 holds each of its numbers
    found: np.ndarray = (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    return found
