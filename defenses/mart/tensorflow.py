"""MART in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import tensorflow as tf

from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Kernel
from defenses.losses.tensorflow import boosted_cross_entropy, kl_divergence
from defenses.mart.spec import Mart
from defenses.perturbation.tensorflow import perturb


class MartKernel(Kernel):
    """Boosted cross-entropy, and a divergence weighted by misclassification."""

    defense: Mart

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        x, y = self.images(draws["x"]), self.labels(draws["y"])
        start = self.images(draws["start"])
        return float(self.compiled_step(x, y, start, self.scalar(learning_rate), self.scalar(eps)))

    def graph_step(
        self, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor, learning_rate: tf.Tensor, eps: tf.Tensor
    ) -> tf.Tensor:
        """`step` as a graph."""
        # Step 1
        x_adv = perturb(self.logits, x, y, start, eps=eps, ascent=self.defense.ascent)
        with tf.GradientTape() as tape:
            clean, adversarial = self.training_logits(x), self.training_logits(x_adv)
            loss = mart_loss(clean, adversarial, y, weight=self.defense.weight)
            loss = self.call.penalised(loss)
        # Step 4
        self.update(self.gradients(tape, loss), learning_rate)
        return loss


def mart_loss(
    clean: tf.Tensor, adversarial: tf.Tensor, y: tf.Tensor, *, weight: float
) -> tf.Tensor:
    """The mean over the batch, from the logits of both."""
    # Step 2
    boosted = boosted_cross_entropy(adversarial, y)
    # Step 3
    doubt = 1 - tf.gather(tf.nn.softmax(clean), y, batch_dims=1)
    return tf.reduce_mean(boosted + weight * kl_divergence(clean, adversarial) * doubt)
