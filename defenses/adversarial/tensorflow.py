"""Adversarial training in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

from tensorflow import Tensor

from defenses.attacked import AttackedTraining
from defenses.kernels.tensorflow import Batch, Kernel, cross_entropy


class AdversarialKernel(Kernel):
    """Cross-entropy on adversarial examples."""

    defense: AttackedTraining

    def train_on(self, batch: Batch, learning_rate: Tensor, eps: Tensor) -> Tensor:
        """One update; gives the loss before it."""
        x, y = batch["x"], batch["y"]
        # Step 1
        x_adv = self.perturbed(x, y, batch["start"], eps=eps, ascent=self.defense.ascent)
        # Step 2
        return self.minimise(lambda: cross_entropy(self.training_logits(x_adv), y), learning_rate)
