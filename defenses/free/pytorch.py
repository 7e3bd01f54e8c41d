"""Free adversarial training in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from defenses.free.spec import FreeTraining
from defenses.kernel import Arrays
from defenses.kernels.pytorch import Batch, Kernel
from defenses.perturbation.pytorch import direction, project


class FreeKernel(Kernel):
    """Minibatches replayed, with a perturbation that outlives them."""

    defense: FreeTraining
    delta: Tensor | None = None

    def train_on(self, batch: Batch, learning_rate: float, eps: float) -> Tensor:
        """One minibatch; gives the mean loss of its replays, each before its update."""
        delta = torch.zeros_like(batch["x"]) if self.delta is None else self.delta
        self.model.train()
        losses = []
        for _ in range(self.defense.replays):
            delta, loss = self.replay(batch["x"], batch["y"], delta, learning_rate, eps)
            losses.append(loss)
        self.delta = delta
        return torch.stack(losses).double().mean()

    def replay(
        self, x: Tensor, y: Tensor, delta: Tensor, learning_rate: float, eps: float
    ) -> tuple[Tensor, Tensor]:
        """One pass over the minibatch; gives the perturbation after it, and its loss."""
        threat, origin = self.defense.threat, torch.zeros_like(x)
        # Step 1
        x_adv = (x + delta).clamp_(0, 1).requires_grad_()
        # Step 2
        loss = cross_entropy(self.logits(x_adv), y)
        gradient, *gradients = self.gradients(loss, [x_adv, *self.parameters])
        # Step 3
        self.update(gradients, learning_rate)
        # Step 4
        delta = delta + eps * direction(gradient, x_adv, eps, threat.norm, threat.weights)
        return project(delta, origin, eps, threat.norm, threat.weights), loss.detach()

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on, the perturbation among it."""
        carried = {} if self.delta is None else {"delta": self.arrays(self.delta)}
        return super().state() | carried

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        super().load_state(state)
        self.delta = self.images(state["delta"]) if "delta" in state else None
