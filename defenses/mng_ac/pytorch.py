"""MNG-AC in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.conventions.pytorch import twice_differentiable
from defenses.generator.pytorch import Generator
from defenses.kernel import Arrays
from defenses.kernels.pytorch import Batch, Kernel
from defenses.losses.pytorch import jensen_shannon
from defenses.mng_ac.spec import MetaNoise
from defenses.perturbation.pytorch import project


class MetaNoiseKernel(Kernel):
    """Adversarial training with noise that a look-ahead teaches."""

    defense: MetaNoise

    def __init__(self, model: nn.Module, defense: MetaNoise) -> None:
        super().__init__(model, defense)
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        self.generator = Generator(width=defense.width, rate=defense.noise_rate, like=like)
        self.beside["generator"] = self.generator

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> Any:
        """One update; returns the loss before it."""
        self.generator.fit_to(draws["x"].shape[1:])
        # Step 1
        norm = self.defense.norm_of(float(draws["pick"]))
        drawn, eps = self.defense.drawn_within(norm, draws), eps * self.defense.shares[norm]
        return self.run(drawn, learning_rate, eps, norm)

    def train_on(self, batch: Batch, learning_rate: float, eps: float, norm: str) -> Tensor:
        """Both updates; gives the loss before the model's."""
        x, y, z, ascent = batch["x"], batch["y"], batch["noise"], self.defense.ascent_within(norm)
        # Step 2
        x_adv = self.perturbed(x, y, batch["start"], eps=eps, ascent=ascent)
        # Step 5
        with twice_differentiable(self.model, "random-norm needs none"):
            self.generator.update(self.noise_gradient(x, y, x_adv, z, norm=norm, eps=eps))
        # Step 6
        with torch.no_grad():
            x_aug = self.augmented(x, z, norm=norm, eps=eps)

        def loss() -> Tensor:
            logits = self.training_logits(torch.cat([x_adv, x, x_aug]))
            adversarial, clean, noisy = logits.chunk(3)
            consistency = jensen_shannon([clean, adversarial, noisy]).mean()
            return cross_entropy(adversarial, y) + self.defense.consistency * consistency

        # Step 7
        return self.minimise(loss, learning_rate)

    def noise_gradient(
        self, x: Tensor, y: Tensor, x_adv: Tensor, z: Tensor, *, norm: str, eps: float
    ) -> tuple[Tensor, ...]:
        """The gradient of the look-ahead's loss with respect to the generator's weights."""
        self.model.eval()
        x_aug = self.augmented(x, z, norm=norm, eps=eps)
        # Step 4: create_graph keeps the way back to the noise
        loss = cross_entropy(self.logits(x_aug), y)
        moves = self.gradients(loss, create_graph=True)
        rate = self.defense.lookahead_rate
        ahead = [p - rate * move for p, move in zip(self.parameters, moves, strict=True)]
        # Step 5
        loss_ahead = cross_entropy(self.logits.with_weights(ahead, x_adv), y)
        return torch.autograd.grad(loss_ahead, self.generator.weights)

    def augmented(self, x: Tensor, z: Tensor, *, norm: str, eps: float) -> Tensor:
        """Noisy examples, differentiable by the generator's weights."""
        # Step 3
        moved = x + self.generator(x, z)
        return project(moved, x, eps, norm, self.defense.threat.weights).clamp(0, 1)
