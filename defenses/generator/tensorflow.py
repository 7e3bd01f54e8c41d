"""The generator of perturbations in TensorFlow; the layers are those of `spec`."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from defenses.errors import DefenseError
from defenses.generator.spec import initial_weights
from defenses.kernel import Arrays
from defenses.kernels.tensorflow_optimizers import Adam


def generate(weights: Sequence[tf.Tensor], x: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """The generator's output for inputs (n, H, W, C) or (n, d); shape of `x`."""
    hidden = tf.concat([x, other], axis=-1)
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    for place, (kernel, bias) in enumerate(layers):
        hidden = tf.tanh(hidden) if place else hidden
        if len(x.shape) == 4:
            hidden = tf.nn.conv2d(hidden, kernel, strides=1, padding="SAME") + bias
        else:
            hidden = hidden @ kernel + bias
    return hidden


def refuse_wrong_derivatives(model: keras.Model, name: str) -> None:
    """DefenseError where second derivatives by the input would be wrong in evaluation mode.

    BatchNormalization has no moments to differentiate then; GroupNormalization has, and Keras
    stops the gradient of their mean.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.GroupNormalization):
            raise DefenseError(
                f"{name} can't train through layer {layer.name!r} (GroupNormalization): its second "
                "derivatives are wrong in Keras; use LayerNormalization or BatchNormalization"
            )


class Generator:
    """Weights and their Adam.

    Args:
        input_shape: (H, W, C) or (d,).
        width: of hidden layers.
        rate: of Adam.
        dtype: that the weights are to have.
    """

    def __init__(
        self, input_shape: tuple[int, ...], *, width: int, rate: float, dtype: tf.DType
    ) -> None:
        arrays = initial_weights(input_shape, width)
        self.weights = [tf.Variable(array, dtype=dtype) for array in arrays]
        self.optimizer = Adam(self.weights, weight_decay=0.0)
        self.rate = tf.constant(rate, dtype)

    def __call__(self, x: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        return generate(self.weights, x, other)

    def update(self, gradients: Sequence[tf.Tensor]) -> None:
        """One step of Adam."""
        self.optimizer.apply(gradients, self.rate)

    def state(self) -> dict[str, np.ndarray]:
        """Weights and Adam's, by name."""
        return {name: value.numpy() for name, value in self._variables().items()}

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        for name, value in self._variables().items():
            value.assign(state[name])

    def _variables(self) -> dict[str, tf.Variable]:
        weights = {f"weight/{i}": value for i, value in enumerate(self.weights)}
        return weights | {f"adam/{i}": v for i, v in enumerate(self.optimizer.variables)}
