"""MART in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import Tensor

from defenses.kernels.tensorflow import Batch, Kernel
from defenses.losses.tensorflow import boosted_cross_entropy, kl_divergence
from defenses.mart.spec import Mart


class MartKernel(Kernel):
    """Boosted cross-entropy, and a divergence weighted by misclassification."""

    defense: Mart

    def train_on(self, batch: Batch, learning_rate: Tensor, eps: Tensor) -> Tensor:
        """One update; gives the loss before it."""
        x, y = batch["x"], batch["y"]
        # Step 1
        x_adv = self.perturbed(x, y, batch["start"], eps=eps, ascent=self.defense.ascent)

        def loss() -> Tensor:
            clean, adversarial = self.training_logits(x), self.training_logits(x_adv)
            return mart_loss(clean, adversarial, y, weight=self.defense.weight)

        # Step 4
        return self.minimise(loss, learning_rate)


def mart_loss(clean: Tensor, adversarial: Tensor, y: Tensor, *, weight: float) -> Tensor:
    """The mean over the batch, from the logits of both."""
    # Step 2
    boosted = boosted_cross_entropy(adversarial, y)
    # Step 3
    doubt = 1 - tf.gather(tf.nn.softmax(clean), y, batch_dims=1)
    return tf.reduce_mean(boosted + weight * kl_divergence(clean, adversarial) * doubt)
