"""Adversarial weight perturbation in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor
from torch.nn.functional import cross_entropy

from defenses.awp.spec import WeightPerturbation
from defenses.kernels.pytorch import Batch, Kernel
from defenses.trades.pytorch import Logits, most_divergent, trades_loss


class WeightPerturbationKernel(Kernel):
    """The base defense's gradient, taken where its loss is worse."""

    defense: WeightPerturbation

    def train_on(self, batch: Batch, learning_rate: float, eps: float) -> Tensor:
        """One update; gives the loss before it."""
        x, y = batch["x"], batch["y"]
        # Step 1
        x_adv = self._examples(x, y, batch, eps)
        self.model.train()
        # Step 2: on copies of the buffers, so that a batch counts once in running statistics
        buffers = {name: value.clone() for name, value in self.model.named_buffers()}
        loss = self._loss(partial(self.logits, weights=buffers), x, x_adv, y)
        gradients = self.gradients(loss)
        # Step 3
        perturbed = self._perturbed_weights(gradients)
        loss = self._loss(partial(self.logits, weights=perturbed), x, x_adv, y)
        # Step 4
        self.update(self.gradients(loss, list(perturbed.values())), learning_rate)
        return loss.detach()

    def _examples(self, x: Tensor, y: Tensor, batch: Batch, eps: float) -> Tensor:
        ascent = self.defense.ascent
        if self.defense.base != "trades":
            return self.perturbed(x, y, batch["start"], eps=eps, ascent=ascent)
        with self.attacked():
            return most_divergent(self.logits, x, batch["noise"], eps=eps, ascent=ascent)

    def _loss(self, logits_of: Logits, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        if self.defense.base == "trades":
            return trades_loss(logits_of, x, x_adv, y, beta=self.defense.beta)
        return cross_entropy(logits_of(x_adv), y)

    def _perturbed_weights(self, gradients: Sequence[Tensor]) -> dict[str, Tensor]:
        """theta + v by name, as leaves of a new graph."""
        perturbed, names = {}, self.logits.names
        for name, weight, gradient in zip(names, self.parameters, gradients, strict=True):
            moved = weight.detach().clone()
            if weight.ndim > 1:
                length = gradient.norm().clamp_min(1e-12)
                moved += self.defense.size * moved.norm() * gradient / length
            perturbed[name] = moved.requires_grad_()
        return perturbed
