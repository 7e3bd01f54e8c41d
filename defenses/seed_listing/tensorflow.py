"""The seed article's listing in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import tensorflow as tf

from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Kernel, cross_entropy
from defenses.perturbation.tensorflow import perturb
from defenses.seed_listing.spec import SeedListing


class SeedKernel(Kernel):
    """Two steps a task, the second a plain one."""

    defense: SeedListing

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One task; returns the loss that its first step goes down."""
        x, y = self.images(draws["x"]), self.labels(draws["y"])
        start = self.images(draws["start"])
        loss = self.compiled_step(x, y, start, self.scalar(learning_rate), self.scalar(eps))
        return float(loss)

    def graph_step(
        self, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor, learning_rate: tf.Tensor, eps: tf.Tensor
    ) -> tf.Tensor:
        """`step` as a graph."""
        # Step 1
        x_adv = perturb(self.logits, x, y, start, eps=eps, ascent=self.defense.ascent)
        # Step 2
        with tf.GradientTape() as tape:
            clean = cross_entropy(self.training_logits(x), y)
            loss = clean + cross_entropy(self.training_logits(x_adv), y)
            loss = self.call.penalised(loss)
        gradients = self.gradients(tape, loss)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.assign_sub(self.defense.inner_rate * gradient)
        # Step 3
        with tf.GradientTape() as tape:
            extra = self.call.penalised(cross_entropy(self.training_logits(x_adv), y))
        self.update(self.gradients(tape, extra), learning_rate)
        return loss
