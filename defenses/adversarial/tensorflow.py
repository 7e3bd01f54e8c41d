"""Adversarial training in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import tensorflow as tf

from defenses.adversarial.spec import AdversarialTraining, FastTraining, FgsmTraining
from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Kernel, cross_entropy
from defenses.perturbation.tensorflow import perturb


class AdversarialKernel(Kernel):
    """Cross-entropy on adversarial examples."""

    defense: AdversarialTraining | FgsmTraining | FastTraining

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
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
            loss = self.call.penalised(cross_entropy(self.training_logits(x_adv), y))
        self.update(self.gradients(tape, loss), learning_rate)
        return loss
