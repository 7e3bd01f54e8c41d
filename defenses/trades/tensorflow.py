"""TRADES in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from tensorflow import Tensor

from defenses.kernels.tensorflow import Batch, Kernel, cross_entropy
from defenses.losses.tensorflow import kl_divergence
from defenses.perturbation.spec import Ascent
from defenses.perturbation.tensorflow import ascend
from defenses.trades.spec import Trades

Logits = Callable[[Tensor], Tensor]


class TradesKernel(Kernel):
    """Clean cross-entropy and the divergence of adversarial predictions."""

    defense: Trades

    def train_on(self, batch: Batch, learning_rate: Tensor, eps: Tensor) -> Tensor:
        """One update; gives the loss before it."""
        x, y = batch["x"], batch["y"]
        ascent, beta = self.defense.ascent, self.defense.beta
        x_adv = most_divergent(self.logits, x, batch["noise"], eps=eps, ascent=ascent)
        # Step 4
        return self.minimise(
            lambda: trades_loss(self.training_logits, x, x_adv, y, beta=beta), learning_rate
        )


def most_divergent(
    logits_of: Logits, x: Tensor, noise: Tensor, *, eps: Tensor, ascent: Ascent
) -> Tensor:
    """Inputs within `eps` of `x` whose prediction diverges most from that on `x`, detached."""
    # Step 1
    x_adv = tf.clip_by_value(x + noise, 0, 1)
    # Step 2
    clean = logits_of(x)
    return ascend(
        lambda x_adv: tf.reduce_sum(kl_divergence(clean, logits_of(x_adv))),
        x,
        x_adv,
        eps=eps,
        ascent=ascent,
    )


def trades_loss(logits_of: Logits, x: Tensor, x_adv: Tensor, y: Tensor, *, beta: float) -> Tensor:
    """The mean over the batch."""
    # Step 3
    clean = logits_of(x)
    divergence = tf.reduce_mean(kl_divergence(clean, logits_of(x_adv)))
    return cross_entropy(clean, y) + beta * divergence
