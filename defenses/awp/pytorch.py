"""Adversarial weight perturbation in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch.nn.functional import cross_entropy

from defenses.awp.spec import WeightPerturbation
from defenses.kernel import Arrays
from defenses.kernels.pytorch import Kernel
from defenses.perturbation.pytorch import perturb
from defenses.trades.pytorch import Logits, most_divergent, trades_loss


class WeightPerturbationKernel(Kernel):
    """The base defense's gradient, taken where its loss is worse."""

    defense: WeightPerturbation

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss at the perturbed weights before it."""
        x, y = self.images(draws["x"]), self.labels(draws["y"])
        # Step 1
        with self.attacked():
            x_adv = self._examples(x, y, draws, eps)
        self.model.train()
        # Step 2: on copies of the buffers, so that a batch counts once in running statistics
        buffers = {name: value.clone() for name, value in self.model.named_buffers()}
        loss = self._loss(partial(self.logits, weights=buffers), x, x_adv, y)
        gradients = self.gradients(loss)
        # Step 3
        perturbed = self._perturbed(gradients)
        logits_of = partial(self.logits, weights=perturbed)
        loss = self._loss(logits_of, x, x_adv, y)
        # Step 4
        self.update(self.gradients(loss, list(perturbed.values())), learning_rate)
        return float(loss.detach())

    def _examples(
        self, x: torch.Tensor, y: torch.Tensor, draws: Arrays, eps: float
    ) -> torch.Tensor:
        ascent = self.defense.ascent
        if self.defense.base == "trades":
            noise = self.images(draws["noise"])
            return most_divergent(self.logits, x, noise, eps=eps, ascent=ascent)
        return perturb(self.logits, x, y, self.images(draws["start"]), eps=eps, ascent=ascent)

    def _loss(
        self, logits_of: Logits, x: torch.Tensor, x_adv: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        if self.defense.base == "trades":
            return trades_loss(logits_of, x, x_adv, y, beta=self.defense.beta)
        return cross_entropy(logits_of(x_adv), y)

    def _perturbed(self, gradients: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """theta + v by name, as leaves of a new graph."""
        trained = [name for name, value in self.model.named_parameters() if value.requires_grad]
        perturbed = {}
        for name, weight, gradient in zip(trained, self.parameters, gradients, strict=True):
            moved = weight.detach().clone()
            if weight.ndim > 1:
                length = gradient.norm().clamp_min(1e-12)
                moved += self.defense.size * moved.norm() * gradient / length
            perturbed[name] = moved.requires_grad_()
        return perturbed
