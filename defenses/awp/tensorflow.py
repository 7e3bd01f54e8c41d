"""Adversarial weight perturbation in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from tensorflow import Tensor

from defenses.awp.spec import WeightPerturbation
from defenses.kernels.tensorflow import Batch, Kernel, cross_entropy
from defenses.trades.tensorflow import Logits, most_divergent, trades_loss


class WeightPerturbationKernel(Kernel):
    """The base defense's gradient, taken where its loss is worse."""

    defense: WeightPerturbation

    def train_on(self, batch: Batch, learning_rate: Tensor, eps: Tensor) -> Tensor:
        """One update; gives the loss before it."""
        x, y = batch["x"], batch["y"]
        # Step 1
        x_adv = self._examples(x, y, batch, eps)
        # Step 2: stateless, so that a batch counts once in running statistics
        with tf.GradientTape() as tape:
            loss = self._loss(self._stateless_logits, x, x_adv, y)
        gradients = self.gradients(tape, loss)
        # Step 3
        weights = [tf.identity(parameter) for parameter in self.parameters]
        self._perturb_weights(weights, gradients)
        with tf.GradientTape() as tape:
            loss = self._loss(self.training_logits, x, x_adv, y)
        gradients = self.gradients(tape, loss)
        # Step 4
        for parameter, weight in zip(self.parameters, weights, strict=True):
            parameter.assign(weight)
        self.update(gradients, learning_rate)
        return loss

    def _examples(self, x: Tensor, y: Tensor, batch: Batch, eps: Tensor) -> Tensor:
        ascent = self.defense.ascent
        if self.defense.base != "trades":
            return self.perturbed(x, y, batch["start"], eps=eps, ascent=ascent)
        return most_divergent(self.logits, x, batch["noise"], eps=eps, ascent=ascent)

    def _loss(self, logits_of: Logits, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        if self.defense.base == "trades":
            loss = trades_loss(logits_of, x, x_adv, y, beta=self.defense.beta)
        else:
            loss = cross_entropy(logits_of(x_adv), y)
        return self.call.penalised(loss)

    def _stateless_logits(self, x: Tensor) -> Tensor:
        return self.call.with_weights(self.parameters, x, training=True)[0]

    def _perturb_weights(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Move the parameters from theta to theta + v."""
        for parameter, weight, gradient in zip(self.parameters, weights, gradients, strict=True):
            if len(weight.shape) > 1:
                length = tf.maximum(tf.norm(gradient), 1e-12)
                parameter.assign_add(self.defense.size * tf.norm(weight) * gradient / length)
