"""Meta-adversarial training in TensorFlow, inner steps through `stateless_call` in a compiled tape.

The steps are those of `spec`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from defenses.errors import DefenseError
from defenses.kernels.tensorflow import Kernel, cross_entropy, sum_of
from defenses.meta.spec import MetaAdversarial
from defenses.perturbation.tensorflow import perturb
from defenses.training import Arrays

# tf.nn.moments stops the gradient of the mean, so second derivatives through these are wrong.
_WRONG_IN_SECOND_ORDER = (keras.layers.BatchNormalization, keras.layers.GroupNormalization)


class MetaKernel(Kernel):
    """The second-order meta-gradient, task by task."""

    defense: MetaAdversarial

    def __init__(self, model: keras.Model, defense: MetaAdversarial) -> None:
        _refuse_batch_statistics(model)
        super().__init__(model, defense)
        self.compiled_task = tf.function(self.task_gradient)

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the outer loss before it."""
        tasks = list(zip(draws["x"], draws["y"], draws["start"], strict=True))
        loss = 0.0
        total = [tf.zeros_like(parameter) for parameter in self.parameters]
        for x, y, start in tasks:
            task_loss, gradients = self.compiled_task(
                self.images(x), self.labels(y), self.images(start), self.scalar(eps)
            )
            loss += float(task_loss) / len(tasks)
            # Step 5
            total = sum_of(total, [gradient / len(tasks) for gradient in gradients])
        # Step 6
        self.compiled_step(total, self.scalar(learning_rate))
        return loss

    def graph_step(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """The optimiser's step as a graph."""
        self.update(gradients, learning_rate)

    def task_gradient(
        self, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor, eps: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """A task's outer loss and its gradient with respect to the initialisation."""
        defense, shots = self.defense, self.defense.support
        # Step 1
        support = perturb(
            self.logits, x[:shots], y[:shots], start[:shots], eps=eps, ascent=defense.support_ascent
        )
        with tf.GradientTape() as outer:
            # Step 2: fast weights are tensors; assigning to the variables would cut the graph
            adapted: Sequence[tf.Tensor] = self.parameters
            for _ in range(defense.inner_steps):
                adapted = self._inner_step(adapted, support, y[:shots])
            # Step 3: off the tape, so that the attack pays for the input alone
            with outer.stop_recording():
                query_adv = perturb(
                    self._logits_with(adapted, training=False),
                    x[shots:],
                    y[shots:],
                    start[shots:],
                    eps=eps,
                    ascent=defense.query_ascent,
                )
            # Step 4
            logits = self._logits_with(adapted, training=True)
            clean = cross_entropy(logits(x[shots:]), y[shots:])
            adversarial = cross_entropy(logits(query_adv), y[shots:])
            loss = defense.clean_weight * clean + (1 - defense.clean_weight) * adversarial
        # Step 5
        return loss, outer.gradient(loss, self.parameters)

    def _inner_step(
        self, weights: Sequence[tf.Tensor], x: tf.Tensor, y: tf.Tensor
    ) -> Sequence[tf.Tensor]:
        with tf.GradientTape() as inner:
            inner.watch(weights)
            loss = cross_entropy(self._logits_with(weights, training=True)(x), y)
        gradients = inner.gradient(loss, weights)
        rate = self.defense.inner_rate
        return [weight - rate * step for weight, step in zip(weights, gradients, strict=True)]

    def _logits_with(
        self, weights: Sequence[tf.Tensor], *, training: bool
    ) -> Callable[[tf.Tensor], tf.Tensor]:
        def logits(x: tf.Tensor) -> tf.Tensor:
            others = self.model.non_trainable_variables
            return self.model.stateless_call(weights, others, x, training=training)[0]

        return logits


def _refuse_batch_statistics(model: keras.Model) -> None:
    for layer in model._flatten_layers():
        if isinstance(layer, _WRONG_IN_SECOND_ORDER):
            raise DefenseError(
                f"meta-adv can't train through layer {layer.name!r} ({type(layer).__name__}): its "
                "second derivatives are wrong in Keras; use LayerNormalization or none"
            )
