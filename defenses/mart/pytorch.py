"""MART in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

import torch
from torch.nn.functional import softmax

from defenses.kernel import Arrays
from defenses.kernels.pytorch import Kernel
from defenses.losses.pytorch import boosted_cross_entropy, kl_divergence
from defenses.mart.spec import Mart
from defenses.perturbation.pytorch import perturb


class MartKernel(Kernel):
    """Boosted cross-entropy, and a divergence weighted by misclassification."""

    defense: Mart

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        x, y = self.images(draws["x"]), self.labels(draws["y"])
        start = self.images(draws["start"])
        # Step 1
        with self.attacked():
            x_adv = perturb(self.logits, x, y, start, eps=eps, ascent=self.defense.ascent)
        self.model.train()
        loss = mart_loss(self.logits(x), self.logits(x_adv), y, weight=self.defense.weight)
        # Step 4
        self.update(self.gradients(loss), learning_rate)
        return float(loss.detach())


def mart_loss(
    clean: torch.Tensor, adversarial: torch.Tensor, y: torch.Tensor, *, weight: float
) -> torch.Tensor:
    """The mean over the batch, from the logits of both."""
    # Step 2
    boosted = boosted_cross_entropy(adversarial, y)
    # Step 3
    doubt = 1 - softmax(clean, dim=1).gather(1, y[:, None])[:, 0]
    return (boosted + weight * kl_divergence(clean, adversarial) * doubt).mean()
