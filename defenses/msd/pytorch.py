"""Multi steepest descent in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from defenses.kernels.pytorch import Batch, Kernel
from defenses.msd.spec import MultiSteepestDescent
from defenses.perturbation.pytorch import stepped


class MultiSteepestKernel(Kernel):
    """Cross-entropy on adversarial examples of the union of several norms."""

    defense: MultiSteepestDescent

    def train_on(self, batch: Batch, learning_rate: float, eps: float) -> Tensor:
        """One update; gives the loss before it."""
        x, y = batch["x"], batch["y"]
        with self.attacked():
            x_adv = self.steepest(x, y, eps)
        # Step 5
        return self.minimise(lambda: cross_entropy(self.training_logits(x_adv), y), learning_rate)

    def steepest(self, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Adversarial examples of the union, detached; `eps` is that of the threat's norm."""
        defense = self.defense
        # Step 1
        x_adv = x.clone()
        for _ in range(defense.attack_steps):
            # Step 2
            x_adv.requires_grad_()
            loss = cross_entropy(self.logits(x_adv), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x_adv)
            x_adv = x_adv.detach()
            # Step 3
            points = [
                stepped(x_adv, gradient, x, eps=eps * share, ascent=defense.ascent_within(norm))
                for norm, share in defense.shares.items()
            ]
            # Step 4
            x_adv = self._worst(points, y)
        return x_adv

    def _worst(self, points: list[Tensor], y: Tensor) -> Tensor:
        """Example by example the point of the highest loss."""
        worst = points[0]
        with torch.no_grad():
            highest = cross_entropy(self.logits(worst), y, reduction="none")
            for point in points[1:]:
                losses = cross_entropy(self.logits(point), y, reduction="none")
                higher = losses > highest
                worst = torch.where(higher.reshape(-1, *[1] * (point.ndim - 1)), point, worst)
                highest = torch.maximum(highest, losses)
        return worst
