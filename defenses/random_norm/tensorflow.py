"""Random-norm adversarial training in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import keras
import tensorflow as tf
from tensorflow import Tensor

from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Batch, Kernel, cross_entropy
from defenses.random_norm.spec import RandomNorm, RunningAccuracy


class RandomNormKernel(Kernel):
    """Cross-entropy on adversarial examples of one norm."""

    defense: RandomNorm

    def __init__(self, model: keras.Model, defense: RandomNorm) -> None:
        super().__init__(model, defense)
        self.running = self.beside["running"] = RunningAccuracy(defense)

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        # Step 1
        norm = self.running.pick(float(draws["pick"]))
        drawn, eps = self.defense.drawn_within(norm, draws), eps * self.defense.shares[norm]
        loss, accuracy = self.run(drawn, learning_rate, eps, norm)
        # Step 4
        self.running.update(norm, float(accuracy))
        return float(loss)

    def train_on(
        self, batch: Batch, learning_rate: Tensor, eps: Tensor, norm: str
    ) -> tuple[Tensor, Tensor]:
        """One update, a graph a norm; gives loss and robust accuracy before it."""
        x, y, ascent = batch["x"], batch["y"], self.defense.ascent_within(norm)
        # Step 2
        x_adv = self.perturbed(x, y, batch["start"], eps=eps, ascent=ascent)
        # Step 3
        with tf.GradientTape() as tape:
            logits = self.training_logits(x_adv)
            loss = self.call.penalised(cross_entropy(logits, y))
        self.update(self.gradients(tape, loss), learning_rate)
        right = tf.argmax(logits, axis=1, output_type=y.dtype) == y
        return loss, tf.reduce_mean(tf.cast(right, tf.float64))
