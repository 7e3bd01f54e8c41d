"""Normalisation in Keras, in plain operations: its second derivatives are right.

Keras's own layers go through `tf.nn.moments`, which stops the gradient of the mean: exact in first
order, wrong in second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmark.models.layers import EPSILON, MOMENTUM

_register = keras.saving.register_keras_serializable(package="meta-adv-bench")


@_register
class Normalisation(keras.layers.Layer):
    """(x - mean) / std of NHWC images.

    Args:
        mean: subtracted; one number, or one a channel.
        std: divided by.
    """

    full_precision = True  # bytes have as many digits as bfloat16

    def __init__(self, mean: Sequence[float], std: Sequence[float], **settings: Any) -> None:
        super().__init__(**settings)
        self.mean, self.std = tuple(mean), tuple(std)

    def call(self, x: Any) -> Any:
        """Normalise."""
        # Rounded as torch's constants are, in whatever type is computed with
        mean, std = (
            tf.cast(np.asarray(value, np.float32), x.dtype) for value in (self.mean, self.std)
        )
        return (x - mean) / std

    def get_config(self) -> dict[str, Any]:
        """What makes the layer again."""
        return {**super().get_config(), "mean": self.mean, "std": self.std}


@_register
class BatchNormalisation(keras.layers.Layer):
    """`benchmark.models.layers.BatchNorm`."""

    def build(self, input_shape: Sequence[int]) -> None:
        """Makes the arrays."""
        shape = (input_shape[-1],)
        self.weight = self.add_weight(
            shape=shape, initializer="ones", name="weight", autocast=False
        )
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias", autocast=False)
        self.running_mean = self.add_weight(
            shape=shape, initializer="zeros", trainable=False, name="running_mean", autocast=False
        )
        self.running_var = self.add_weight(
            shape=shape, initializer="ones", trainable=False, name="running_var", autocast=False
        )

    def call(self, x: Any, training: bool = False) -> Any:
        """Normalise; in training mode by the batch, and take up its statistics."""
        x = tf.cast(x, self.variable_dtype)  # statistics of half precision would be rough
        if training:
            axes = list(range(len(x.shape) - 1))
            mean = tf.reduce_mean(x, axes)
            centred = x - mean
            variance = tf.reduce_mean(tf.square(centred), axes)
            self._take_up(mean, variance, tf.size(x) // x.shape[-1])
            scale = self.weight * tf.math.rsqrt(variance + EPSILON)
            return tf.cast(centred * scale + self.bias, self.compute_dtype)
        scale = self.weight * tf.math.rsqrt(self.running_var + EPSILON)
        shift = self.bias - self.running_mean * scale
        return tf.cast(x * scale + shift, self.compute_dtype)

    def _take_up(self, mean: Any, variance: Any, count: Any) -> None:
        count = tf.cast(count, variance.dtype)
        unbiased = variance * count / tf.maximum(count - 1, 1)
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.assign((1 - MOMENTUM) * running + MOMENTUM * tf.stop_gradient(new))


@_register
class GroupNormalisation(keras.layers.Layer):
    """`benchmark.models.layers.GroupNorm`.

    Args:
        groups: of channels.
    """

    def __init__(self, groups: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.groups = groups

    def build(self, input_shape: Sequence[int]) -> None:
        """Makes the arrays."""
        shape = (input_shape[-1],)
        self.weight = self.add_weight(
            shape=shape, initializer="ones", name="weight", autocast=False
        )
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias", autocast=False)

    def call(self, x: Any) -> Any:
        """Normalise each example's groups by themselves."""
        x = tf.cast(x, self.variable_dtype)
        _, height, width, channels = x.shape
        size = channels // self.groups
        grouped = tf.reshape(x, (-1, height * width, self.groups, size))
        centred = grouped - tf.reduce_mean(grouped, (1, 3), keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), (1, 3), keepdims=True)
        normal = tf.reshape(
            centred * tf.math.rsqrt(variance + EPSILON), (-1, height, width, channels)
        )
        return tf.cast(normal * self.weight + self.bias, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """What makes the layer again."""
        return {**super().get_config(), "groups": self.groups}
