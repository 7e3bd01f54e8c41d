"""Random-norm adversarial training in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

import numpy as np
from torch import nn
from torch.nn.functional import cross_entropy

from defenses.kernel import Arrays
from defenses.kernels.pytorch import Kernel
from defenses.perturbation.pytorch import perturb
from defenses.random_norm.spec import RandomNorm, RunningAccuracy


class RandomNormKernel(Kernel):
    """Cross-entropy on adversarial examples of one norm."""

    defense: RandomNorm

    def __init__(self, model: nn.Module, defense: RandomNorm) -> None:
        super().__init__(model, defense)
        self.running = RunningAccuracy(defense)

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        x, y = self.images(draws["x"]), self.labels(draws["y"])
        # Step 1
        norm = self.running.pick(float(draws["pick"]))
        # Step 2
        with self.attacked():
            x_adv = perturb(
                self.logits,
                x,
                y,
                self.images(draws[f"start_{norm}"]),
                eps=eps * self.defense.shares[norm],
                ascent=self.defense.ascent_within(norm),
            )
        # Step 3
        self.model.train()
        logits = self.logits(x_adv)
        loss = cross_entropy(logits, y)
        self.update(self.gradients(loss), learning_rate)
        # Step 4
        self.running.update(norm, float((logits.argmax(dim=1) == y).double().mean()))
        return float(loss.detach())

    def state(self) -> dict[str, np.ndarray]:
        """Weights, optimiser state and the running robust accuracies, by name."""
        return super().state() | self.running.state()

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        self.running.load_state(state)
        super().load_state(state)
