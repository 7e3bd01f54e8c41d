"""The inner loop in TensorFlow: one task, through `stateless_call` on a tape.

The steps are those of `defenses.meta.spec`. Fast weights are tensors: assigning to the variables
would cut the graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf
from tensorflow import Tensor

from defenses.conventions.tensorflow import Caller, refuse_layers
from defenses.kernels.tensorflow import cross_entropy
from defenses.meta.spec import MetaAdversarial
from defenses.meta.steps import adapted_names, layer_numbers

# tf.nn.moments stops the gradient of the mean: exact in first order, wrong in second.
_WRONG_IN_SECOND_ORDER = (keras.layers.BatchNormalization, keras.layers.GroupNormalization)

Weights = Sequence[Tensor]


@dataclass(frozen=True)
class Adapted:
    """What step 2 leaves.

    Args:
        steps: theta_1 .. theta_K, each with all weights; in first order they depend on the
            initialisation as if the gradients were constants.
        loss: before the first step.
        buffers: the model's, as the first pass left them.
    """

    steps: list[Weights]
    loss: Tensor
    buffers: Weights


class InnerLoop:
    """Step 2: adapts to a task, keeping or cutting the way back to the initialisation.

    Args:
        call: calls the initialisation; its trainable variables are adapted.
    """

    # s, (layers,), where the rates are learned.
    log_rates: tf.Variable | None = None

    def __init__(self, call: Caller, defense: MetaAdversarial) -> None:
        self.call, self.defense = call, defense
        model = call.model
        self.initial = [variable.value for variable in model.trainable_variables]
        names = [variable.path for variable in model.trainable_variables]
        moved = adapted_names(names, "/", head=defense.algorithm == "anil")
        self.layer_of = dict(zip(moved, layer_numbers(moved, "/"), strict=True))
        self.layers = 1 + max(self.layer_of.values())
        # The layer of each weight; None where it does not move.
        self.of_weight = [self.layer_of.get(name) for name in names]

    def adapt(self, x: Tensor, y: Tensor, outer: tf.GradientTape) -> Adapted:
        """Adapt to inputs (n, ...) with labels (n,), recorded by the tape `outer`."""
        second_order = self.defense.second_order
        weights: Weights = self.initial
        first = None
        steps: list[Weights] = []
        for _ in range(self.defense.inner_steps):
            moved = [w for w, of in zip(weights, self.of_weight, strict=True) if of is not None]
            with contextlib.nullcontext() if second_order else outer.stop_recording():
                with tf.GradientTape(watch_accessed_variables=False) as inner:
                    inner.watch(moved)
                    logits, buffers = self.call.with_weights(weights, x, training=True)
                    loss = self.call.penalised(cross_entropy(logits, y), weights)
                gradients = inner.gradient(loss, moved, unconnected_gradients="zero")
            first = first or (loss, buffers)
            # Step 2
            weights = self._moved(weights, gradients)
            steps.append(weights)
        assert first is not None
        return Adapted(steps, *first)

    def _moved(self, weights: Weights, gradients: Weights) -> Weights:
        """One step down the gradients, of the weights that move."""
        rates: Sequence[float | Tensor] = [self.defense.inner_rate] * self.layers
        if self.log_rates is not None:
            rates = tf.unstack(self.defense.inner_rate * tf.exp(self.log_rates))
        remaining = iter(gradients)
        return [
            weight if layer is None else weight - rates[layer] * next(remaining)
            for weight, layer in zip(weights, self.of_weight, strict=True)
        ]


def refuse_wrong_derivatives(model: keras.Model, defense: MetaAdversarial) -> None:
    """DefenseError where second order would go through a layer that Keras has wrong.

    The inner gradient of "anil" ends at the last layer, so that the others are differentiated once.
    """
    if defense.algorithm == "maml":
        reason = (
            " in second order: Keras stops the gradient of its mean, so that second derivatives "
            "are wrong; give algorithm fomaml, reptile or anil, or use LayerNormalization"
        )
        refuse_layers(model, _WRONG_IN_SECOND_ORDER, "meta-adv", reason)
