"""The generator of perturbations in TensorFlow; the layers are those of `spec`."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from tensorflow import Tensor

from defenses.conventions.tensorflow import refuse_layers
from defenses.generator.spec import GeneratorState
from defenses.kernels.tensorflow import Variables
from defenses.kernels.tensorflow_optimizers import Adam
from defenses.states import Parts


def generate(weights: Sequence[Tensor], x: Tensor, other: Tensor) -> Tensor:
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
    reason = (
        ": its second derivatives are wrong in Keras; use LayerNormalization or BatchNormalization"
    )
    refuse_layers(model, keras.layers.GroupNormalization, name, reason)


class Generator(GeneratorState):
    """The generator with its own weights.

    Args:
        width: of hidden layers.
        rate: of Adam.
        dtype: that the weights are to have.
    """

    def __init__(self, *, width: int, rate: float, dtype: tf.DType) -> None:
        super().__init__(width)
        self._dtype = dtype
        self._rate = tf.constant(rate, dtype)

    def make(self, arrays: Sequence[np.ndarray]) -> None:
        """Set `weights` and `parts`."""
        self.weights = [tf.Variable(array, dtype=self._dtype) for array in arrays]
        self.optimizer = Adam(self.weights, [0.0] * len(self.weights))
        kept = Variables(self.optimizer.variables)
        self.parts = Parts(weight=Variables(self.weights), adam=kept)

    def __call__(self, x: Tensor, other: Tensor) -> Tensor:
        return generate(self.weights, x, other)

    def update(self, gradients: Sequence[Tensor]) -> None:
        """One step of Adam."""
        self.optimizer.apply(gradients, self._rate)
