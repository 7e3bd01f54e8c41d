"""Random-norm adversarial training in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Kernel, cross_entropy
from defenses.perturbation.tensorflow import perturb
from defenses.random_norm.spec import RandomNorm, RunningAccuracy


class RandomNormKernel(Kernel):
    """Cross-entropy on adversarial examples of one norm."""

    defense: RandomNorm

    def __init__(self, model: keras.Model, defense: RandomNorm) -> None:
        super().__init__(model, defense)
        self.running = RunningAccuracy(defense)

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        x, y = self.images(draws["x"]), self.labels(draws["y"])
        # Step 1
        norm = self.running.pick(float(draws["pick"]))
        start = self.images(draws[f"start_{norm}"])
        budget = self.scalar(eps * self.defense.shares[norm])
        rate = self.scalar(learning_rate)
        loss, accuracy = self.compiled_step(norm, x, y, start, rate, budget)
        # Step 4
        self.running.update(norm, float(accuracy))
        return float(loss)

    def graph_step(
        self,
        norm: str,
        x: tf.Tensor,
        y: tf.Tensor,
        start: tf.Tensor,
        learning_rate: tf.Tensor,
        eps: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Loss and robust accuracy before the update, as a graph: one a norm."""
        # Step 2
        x_adv = perturb(self.logits, x, y, start, eps=eps, ascent=self.defense.ascent_within(norm))
        # Step 3
        with tf.GradientTape() as tape:
            logits = self.training_logits(x_adv)
            loss = self.call.penalised(cross_entropy(logits, y))
        self.update(self.gradients(tape, loss), learning_rate)
        right = tf.argmax(logits, axis=1, output_type=y.dtype) == y
        return loss, tf.reduce_mean(tf.cast(right, tf.float64))

    def state(self) -> dict[str, np.ndarray]:
        """Weights, optimiser state and the running robust accuracies, by name."""
        return super().state() | self.running.state()

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        self.running.load_state(state)
        super().load_state(state)
