"""The seed article's listing in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import Tensor

from defenses.kernels.tensorflow import Batch, Kernel, cross_entropy
from defenses.seed_listing.spec import SeedListing


class SeedKernel(Kernel):
    """Two steps a task, the second a plain one."""

    defense: SeedListing

    def train_on(self, batch: Batch, learning_rate: Tensor, eps: Tensor) -> Tensor:
        """One task; gives the loss that its first step goes down."""
        x, y = batch["x"], batch["y"]
        # Step 1
        x_adv = self.perturbed(x, y, batch["start"], eps=eps, ascent=self.defense.ascent)
        # Step 2
        with tf.GradientTape() as tape:
            clean = cross_entropy(self.training_logits(x), y)
            loss = clean + cross_entropy(self.training_logits(x_adv), y)
            loss = self.call.penalised(loss)
        gradients = self.gradients(tape, loss)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.assign_sub(self.defense.inner_rate * gradient)
        # Step 3
        self.minimise(lambda: cross_entropy(self.training_logits(x_adv), y), learning_rate)
        return loss
