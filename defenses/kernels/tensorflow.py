"""The TensorFlow half of every kernel: tensors, optimiser, state, adaptation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from defenses.adaptation.spec import Adaptation
from defenses.kernels.tensorflow_optimizers import OPTIMIZERS
from defenses.perturbation.tensorflow import perturb

if TYPE_CHECKING:
    from defenses.defense import Defense

PREDICT_BATCH = 250


class Kernel:
    """Holds a Keras model that takes NHWC (or (n, d)) and gives logits; a subclass adds `step`."""

    def __init__(self, model: keras.Model, defense: Defense) -> None:
        self.model = model
        self.defense = defense
        self.parameters = [variable.value for variable in model.trainable_variables]
        self.dtype = self.parameters[0].dtype
        self.optimizer = OPTIMIZERS[defense.optimizer](self.parameters)
        # Traced once each: the shapes of a training's batches never change.
        self.compiled_step: Callable[..., tf.Tensor] = tf.function(self.graph_step)
        self._logits = tf.function(self.logits, reduce_retracing=True)

    def graph_step(self, *tensors: tf.Tensor) -> tf.Tensor:
        """The update as a graph; a subclass writes it."""
        raise NotImplementedError

    def images(self, x: np.ndarray) -> tf.Tensor:
        """Inputs in the model's floating-point type."""
        return tf.cast(tf.convert_to_tensor(x), self.dtype)

    def labels(self, y: np.ndarray) -> tf.Tensor:
        """Labels as a tensor."""
        return tf.convert_to_tensor(y)

    def scalar(self, value: float) -> tf.Tensor:
        """A number as a tensor: a Python number would be traced anew for each value."""
        return tf.constant(value, self.dtype)

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """The model in evaluation mode."""
        return self.model(x, training=False)

    def update(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """One step of the optimiser."""
        self.optimizer.apply(gradients, learning_rate)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits in evaluation mode, (n, classes)."""
        batches = [
            self._logits(self.images(x[first : first + PREDICT_BATCH])).numpy()
            for first in range(0, len(x), PREDICT_BATCH)
        ]
        return np.concatenate(batches)

    def adapt(
        self, x: np.ndarray, y: np.ndarray, start: np.ndarray, *, eps: float, adaptation: Adaptation
    ) -> None:
        """Adapt the weights in place; the steps are those of `adaptation.spec`."""

        @tf.function
        def adapt(images: tf.Tensor, labels: tf.Tensor, start: tf.Tensor) -> None:
            # Step 1
            x_adv = perturb(
                self.logits,
                images,
                labels,
                start,
                eps=tf.constant(eps, self.dtype),
                ascent=adaptation.ascent,
            )
            # Step 2
            for _ in range(adaptation.steps):
                with tf.GradientTape() as tape:
                    loss = cross_entropy(self.logits(x_adv), labels)
                gradients = tape.gradient(loss, self.parameters)
                for parameter, gradient in zip(self.parameters, gradients, strict=True):
                    parameter.assign_sub(adaptation.rate * gradient)

        adapt(self.images(x), self.labels(y), self.images(start))

    def state(self) -> dict[str, np.ndarray]:
        """Weights, other variables and optimiser state, by name."""
        state = {f"model/{i}": value.numpy() for i, value in enumerate(self.model.variables)}
        slots = enumerate(self.optimizer.variables)
        return state | {f"optimizer/{i}": value.numpy() for i, value in slots}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take up what `state` returned."""
        for kind, owner in (("model", self.model), ("optimizer", self.optimizer)):
            for index, variable in enumerate(owner.variables):
                variable.assign(state[f"{kind}/{index}"])

    def copy(self) -> Kernel:
        """An independent kernel with the same weights and a fresh optimiser."""
        model = keras.models.clone_model(self.model)
        model.set_weights(self.model.get_weights())
        return type(self)(model, self.defense)


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The mean over the batch."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def sum_of(gradients: Sequence[Any], others: Sequence[Any]) -> list[tf.Tensor]:
    """Two lists of gradients, added entry by entry."""
    return [one + other for one, other in zip(gradients, others, strict=True)]
