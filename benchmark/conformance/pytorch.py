"""A small smooth model in PyTorch, and the passes that go through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn


class Counted(torch.autograd.Function):
    """The identity, which counts the examples that go through it forwards and backwards."""

    ran: ClassVar[dict[str, int]] = {"forwards": 0, "backwards": 0}

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        Counted.ran["forwards"] += len(x)
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        Counted.ran["backwards"] += len(gradients[0])
        return gradients[0]

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: torch.Tensor) -> tuple[torch.Tensor, int]:
        tasks = x.movedim(in_dims[0], 0)  # (tasks, n, ...)
        return Counted.apply(tasks.flatten(0, 1)).unflatten(0, tasks.shape[:2]), 0


class Counter(nn.Module):
    """A layer that counts. Behind the first one with weights: all are reached by then."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same."""
        counted: torch.Tensor = Counted.apply(x)
        return counted


def smooth(arrays: Sequence[np.ndarray], *, counted: bool = False) -> nn.Module:
    """A hidden layer of tanh with these weights and biases, (in, out) and (out,), in float64."""
    (first, _, second, _) = arrays
    hidden, out = nn.Linear(*first.shape), nn.Linear(*second.shape)
    counter = [Counter()] if counted else []
    model = nn.Sequential(nn.Flatten(), hidden, *counter, nn.Tanh(), out).double()
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), arrays, strict=True):
            parameter.copy_(torch.from_numpy(array.T.copy()))
    return model


def weights(model: nn.Module) -> list[np.ndarray]:
    """As `smooth` takes them."""
    return [value.detach().numpy().T.copy() for value in model.parameters()]
