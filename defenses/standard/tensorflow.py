"""Standard training in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import tensorflow as tf

from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Kernel, cross_entropy


class StandardKernel(Kernel):
    """Cross-entropy on clean examples."""

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        x, y = self.images(draws["x"]), self.labels(draws["y"])
        return float(self.compiled_step(x, y, self.scalar(learning_rate)))

    def graph_step(self, x: tf.Tensor, y: tf.Tensor, learning_rate: tf.Tensor) -> tf.Tensor:
        """`step` as a graph."""
        # Step 1
        with tf.GradientTape() as tape:
            loss = self.call.penalised(cross_entropy(self.training_logits(x), y))
        self.update(self.gradients(tape, loss), learning_rate)
        return loss
