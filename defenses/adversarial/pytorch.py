"""Adversarial training in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

from torch.nn.functional import cross_entropy

from defenses.adversarial.spec import AdversarialTraining, FastTraining, FgsmTraining
from defenses.kernel import Arrays
from defenses.kernels.pytorch import Kernel
from defenses.perturbation.pytorch import perturb


class AdversarialKernel(Kernel):
    """Cross-entropy on adversarial examples."""

    defense: AdversarialTraining | FgsmTraining | FastTraining

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        x, y = self.images(draws["x"]), self.labels(draws["y"])
        start = self.images(draws["start"])
        # Step 1
        with self.attacked():
            x_adv = perturb(self.logits, x, y, start, eps=eps, ascent=self.defense.ascent)
        # Step 2
        self.model.train()
        loss = cross_entropy(self.logits(x_adv), y)
        self.update(self.gradients(loss), learning_rate)
        return float(loss.detach())
