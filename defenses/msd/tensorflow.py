"""Multi steepest descent in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import tensorflow as tf

from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Kernel, cross_entropy
from defenses.msd.spec import MultiSteepestDescent
from defenses.perturbation.tensorflow import stepped


class MultiSteepestKernel(Kernel):
    """Cross-entropy on adversarial examples of the union of several norms."""

    defense: MultiSteepestDescent

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        x, y = self.images(draws["x"]), self.labels(draws["y"])
        return float(self.compiled_step(x, y, self.scalar(learning_rate), self.scalar(eps)))

    def graph_step(
        self, x: tf.Tensor, y: tf.Tensor, learning_rate: tf.Tensor, eps: tf.Tensor
    ) -> tf.Tensor:
        """`step` as a graph."""
        x_adv = self.perturb(x, y, eps)
        # Step 5
        with tf.GradientTape() as tape:
            loss = self.call.penalised(cross_entropy(self.training_logits(x_adv), y))
        self.update(self.gradients(tape, loss), learning_rate)
        return loss

    def perturb(self, x: tf.Tensor, y: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
        """Adversarial examples of the union, detached; `eps` is that of the threat's norm."""
        defense = self.defense
        # Step 1
        x_adv = x
        for _ in tf.range(defense.attack_steps):
            # Step 2
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x_adv)
                loss = tf.reduce_sum(self._losses(x_adv, y))
            gradient = tape.gradient(loss, x_adv)
            # Step 3
            points = [
                stepped(x_adv, gradient, x, eps=eps * share, ascent=defense.ascent_within(norm))
                for norm, share in defense.shares.items()
            ]
            # Step 4
            x_adv = self._worst(points, y)
        return tf.stop_gradient(x_adv)

    def _worst(self, points: list[tf.Tensor], y: tf.Tensor) -> tf.Tensor:
        """Example by example the point of the highest loss."""
        worst = points[0]
        highest = self._losses(worst, y)
        for point in points[1:]:
            losses = self._losses(point, y)
            higher = tf.reshape(losses > highest, (-1, *[1] * (len(point.shape) - 1)))
            worst = tf.where(higher, point, worst)
            highest = tf.maximum(highest, losses)
        return worst

    def _losses(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(y, self.logits(x))
