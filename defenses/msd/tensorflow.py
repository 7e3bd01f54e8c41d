"""Multi steepest descent in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import functools

import tensorflow as tf
from tensorflow import Tensor

from defenses.kernels.tensorflow import Batch, Kernel, cross_entropy
from defenses.msd.spec import MultiSteepestDescent
from defenses.perturbation.tensorflow import gradient_by_point, own_graph, stepped


class MultiSteepestKernel(Kernel):
    """Cross-entropy on adversarial examples of the union of several norms."""

    defense: MultiSteepestDescent

    def train_on(self, batch: Batch, learning_rate: Tensor, eps: Tensor) -> Tensor:
        """One update; gives the loss before it."""
        x, y = batch["x"], batch["y"]
        x_adv = self.steepest(x, y, eps)
        # Step 5
        return self.minimise(lambda: cross_entropy(self.training_logits(x_adv), y), learning_rate)

    def steepest(self, x: Tensor, y: Tensor, eps: Tensor) -> Tensor:
        """Adversarial examples of the union, detached; `eps` is that of the threat's norm."""
        defense = self.defense
        # Step 1
        x_adv = x
        loss_of = functools.partial(self._summed_loss, y=y)
        gradient_of = own_graph(functools.partial(gradient_by_point, loss_of))
        for _ in tf.range(defense.attack_steps):
            # Step 2
            gradient = gradient_of(x_adv)
            # Step 3
            points = [
                stepped(x_adv, gradient, x, eps=eps * share, ascent=defense.ascent_within(norm))
                for norm, share in defense.shares.items()
            ]
            # Step 4
            x_adv = self._worst(points, y)
        return tf.stop_gradient(x_adv)

    def _summed_loss(self, x: Tensor, y: Tensor) -> Tensor:
        return tf.reduce_sum(self.losses(x, y))

    def _worst(self, points: list[Tensor], y: Tensor) -> Tensor:
        """Example by example the point of the highest loss."""
        worst = points[0]
        highest = self.losses(worst, y)
        for point in points[1:]:
            losses = self.losses(point, y)
            higher = tf.reshape(losses > highest, (-1, *[1] * (len(point.shape) - 1)))
            worst = tf.where(higher, point, worst)
            highest = tf.maximum(highest, losses)
        return worst
