"""MNG-AC in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from defenses.conventions.pytorch import twice_differentiable
from defenses.generator.pytorch import Generator
from defenses.kernel import Arrays
from defenses.kernels.pytorch import Kernel
from defenses.losses.pytorch import jensen_shannon
from defenses.mng_ac.spec import MetaNoise
from defenses.perturbation.pytorch import perturb, project

_STATE = "generator/"


class MetaNoiseKernel(Kernel):
    """Adversarial training with noise that a look-ahead teaches."""

    defense: MetaNoise

    def __init__(self, model: nn.Module, defense: MetaNoise) -> None:
        super().__init__(model, defense)
        self.generator: Generator | None = None
        self.saved: Arrays = {}  # until the first batch tells the generator's shape

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        generator = self.prepared(draws["x"].shape[1:])
        x, y, z = self.images(draws["x"]), self.labels(draws["y"]), self.images(draws["noise"])
        # Step 1
        norm = self.defense.norm_of(float(draws["pick"]))
        budget = eps * self.defense.shares[norm]
        # Step 2
        start, ascent = self.images(draws[f"start_{norm}"]), self.defense.ascent_within(norm)
        with self.attacked():
            x_adv = perturb(self.logits, x, y, start, eps=budget, ascent=ascent)
        # Step 5
        with twice_differentiable(self.model, "random-norm needs none"):
            generator.update(self.noise_gradient(x, y, x_adv, z, norm=norm, eps=budget))
        # Step 6
        with torch.no_grad():
            x_aug = self.augmented(x, z, norm=norm, eps=budget)
        # Step 7
        self.model.train()
        adversarial, clean, noisy = self.logits(torch.cat([x_adv, x, x_aug])).chunk(3)
        consistency = jensen_shannon([clean, adversarial, noisy]).mean()
        loss = cross_entropy(adversarial, y) + self.defense.consistency * consistency
        self.update(self.gradients(loss), learning_rate)
        return float(loss.detach())

    def noise_gradient(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        x_adv: torch.Tensor,
        z: torch.Tensor,
        *,
        norm: str,
        eps: float,
    ) -> tuple[torch.Tensor, ...]:
        """The gradient of the look-ahead's loss with respect to the generator's weights."""
        assert self.generator is not None
        self.model.eval()
        x_aug = self.augmented(x, z, norm=norm, eps=eps)
        # Step 4: create_graph keeps the way back to the noise
        loss = cross_entropy(self.logits(x_aug), y)
        moves = self.gradients(loss, create_graph=True)
        names = [name for name, value in self.model.named_parameters() if value.requires_grad]
        rate = self.defense.lookahead_rate
        ahead = {
            name: parameter - rate * move
            for name, parameter, move in zip(names, self.parameters, moves, strict=True)
        }
        # Step 5
        loss_ahead = cross_entropy(self.logits(x_adv, ahead), y)
        return torch.autograd.grad(loss_ahead, self.generator.weights)

    def augmented(self, x: torch.Tensor, z: torch.Tensor, *, norm: str, eps: float) -> torch.Tensor:
        """Noisy examples, differentiable by the generator's weights."""
        assert self.generator is not None
        # Step 3
        return project(x + self.generator(x, z), x, eps, norm).clamp(0, 1)

    def prepared(self, shape: tuple[int, ...]) -> Generator:
        """The generator for inputs of this shape."""
        if self.generator is None:
            self.generator = Generator(
                shape,
                width=self.defense.width,
                rate=self.defense.noise_rate,
                like=torch.empty(0, dtype=self.dtype, device=self.device),
            )
            if self.saved:
                self.generator.load_state(self.saved)
        return self.generator

    def state(self) -> dict[str, np.ndarray]:
        """Weights, optimiser state and the generator's, by name."""
        held = self.saved if self.generator is None else self.generator.state()
        return super().state() | {f"{_STATE}{name}": value for name, value in held.items()}

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        self.saved = {k.removeprefix(_STATE): v for k, v in state.items() if k.startswith(_STATE)}
        self.generator = None
        super().load_state({k: v for k, v in state.items() if not k.startswith(_STATE)})
