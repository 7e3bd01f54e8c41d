"""The seed article's listing in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from defenses.kernels.pytorch import Batch, Kernel
from defenses.seed_listing.spec import SeedListing


class SeedKernel(Kernel):
    """Two steps a task, the second a plain one."""

    defense: SeedListing

    def train_on(self, batch: Batch, learning_rate: float, eps: float) -> Tensor:
        """One task; gives the loss that its first step goes down."""
        x, y = batch["x"], batch["y"]
        # Step 1
        x_adv = self.perturbed(x, y, batch["start"], eps=eps, ascent=self.defense.ascent)
        # Step 2
        clean = cross_entropy(self.training_logits(x), y)
        loss = clean + cross_entropy(self.training_logits(x_adv), y)
        gradients = self.gradients(loss)
        with torch.no_grad():
            torch._foreach_add_(self.parameters, gradients, alpha=-self.defense.inner_rate)
        # Step 3
        self.minimise(lambda: cross_entropy(self.training_logits(x_adv), y), learning_rate)
        return loss.detach()
