"""The generator of perturbations in PyTorch; the layers are those of `spec`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import conv2d

from defenses.generator.spec import initial_weights
from defenses.kernel import Arrays


def generate(weights: Sequence[torch.Tensor], x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The generator's output for inputs (n, C, H, W) or (n, d); shape of `x`."""
    hidden = torch.cat([x, other], dim=1)
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    for place, (kernel, bias) in enumerate(layers):
        hidden = torch.tanh(hidden) if place else hidden
        if x.ndim == 4:
            hidden = conv2d(hidden, kernel.permute(3, 2, 0, 1).contiguous(), bias, padding=1)
        else:
            hidden = hidden @ kernel + bias
    return hidden


class Generator:
    """Weights and their Adam.

    Args:
        input_shape: (H, W, C) or (d,).
        width: of hidden layers.
        rate: of Adam.
        like: a tensor of the type and on the device that the weights are to have.
    """

    def __init__(
        self, input_shape: tuple[int, ...], *, width: int, rate: float, like: torch.Tensor
    ) -> None:
        self.weights = [
            torch.tensor(array, dtype=like.dtype, device=like.device, requires_grad=True)
            for array in initial_weights(input_shape, width)
        ]
        self.optimizer = torch.optim.Adam(self.weights, lr=rate)

    def __call__(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return generate(self.weights, x, other)

    def update(self, gradients: Sequence[torch.Tensor]) -> None:
        """One step of Adam."""
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, np.ndarray]:
        """Weights and Adam's, by name."""
        state = {f"weight/{i}": _array(value) for i, value in enumerate(self.weights)}
        for index, slots in self.optimizer.state_dict()["state"].items():
            state |= {f"adam/{index}/{name}": _array(value) for name, value in slots.items()}
        return state

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in state.items():
            kind, _, key = name.partition("/")
            if kind == "weight":
                with torch.no_grad():
                    self.weights[int(key)].copy_(torch.from_numpy(value))
            else:
                index, _, slot = key.partition("/")
                slots.setdefault(int(index), {})[slot] = torch.from_numpy(value)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})


def _array(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().numpy().copy()
