"""A chunk of tasks in PyTorch, and the sums over tasks that come of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Chunk:
    """Tasks under the same attack, computed at once: (tasks, support + query, ...)."""

    x: Tensor
    y: Tensor
    support_adv: Tensor  # (tasks, support, ...)
    start: Tensor
    noise: Tensor | None  # (tasks, query, ...)
    eps: Tensor  # (tasks,)
    attack: int

    def part(self, tasks: slice) -> Chunk:
        """Some of the tasks."""
        noise = None if self.noise is None else self.noise[tasks]
        x, y, adv, start = (t[tasks] for t in (self.x, self.y, self.support_adv, self.start))
        return Chunk(x, y, adv, start, noise, self.eps[tasks], self.attack)


@dataclass
class MetaGradient:
    """Sums over tasks: of the outer loss, of its parts' gradients, and of the buffers."""

    loss: Tensor  # float64
    parts: list[list[Tensor]]
    rates: Tensor | None
    buffers: dict[str, Tensor]

    def add(self, other: MetaGradient) -> None:
        """Take up more tasks, in place."""
        self.loss = self.loss + other.loss
        for part, others in zip(self.parts, other.parts, strict=True):
            torch._foreach_add_(part, others)
        if self.rates is not None:
            self.rates += other.rates
        for name, value in other.buffers.items():
            self.buffers[name] += value

    def divide(self, tasks: int) -> None:
        """From sums to means."""
        self.loss = self.loss / tasks
        for part in self.parts:
            torch._foreach_div_(part, tasks)
        if self.rates is not None:
            self.rates /= tasks
        for name, value in self.buffers.items():
            # Whole numbers count batches, and every task has counted the same.
            self.buffers[name] = value / tasks if value.is_floating_point() else value // tasks


def by_example(eps: Tensor, x: Tensor) -> Tensor:
    """The tasks' budgets for a batch of their examples (tasks, n, ...), shaped to broadcast."""
    return eps.repeat_interleave(x.shape[1]).reshape(-1, *[1] * (x.ndim - 2))
