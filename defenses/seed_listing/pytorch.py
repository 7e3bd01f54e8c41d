"""The seed article's listing in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from defenses.kernel import Arrays
from defenses.kernels.pytorch import Kernel
from defenses.perturbation.pytorch import perturb
from defenses.seed_listing.spec import SeedListing


class SeedKernel(Kernel):
    """Two steps a task, the second a plain one."""

    defense: SeedListing

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One task; returns the loss that its first step goes down."""
        x, y = self.images(draws["x"]), self.labels(draws["y"])
        # Step 1
        with self.attacked():
            x_adv = perturb(
                self.logits, x, y, self.images(draws["start"]), eps=eps, ascent=self.defense.ascent
            )
        # Step 2
        self.model.train()
        loss = cross_entropy(self.logits(x), y) + cross_entropy(self.logits(x_adv), y)
        gradients = self.gradients(loss)
        with torch.no_grad():
            torch._foreach_add_(self.parameters, gradients, alpha=-self.defense.inner_rate)
        # Step 3
        extra = cross_entropy(self.logits(x_adv), y)
        self.update(self.gradients(extra), learning_rate)
        return float(loss.detach())
