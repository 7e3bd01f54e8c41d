"""Traps in Keras: the same deceptions, seen by TensorFlow."""

from __future__ import annotations

import keras
import tensorflow as tf

from traps import Base, Trap, trap


class KerasAround(keras.Model):
    """A model with something before and after it."""

    def __init__(self, model, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.model, self.before, self.after = model, before, after

    def call(self, x, training=False):
        return self.after(self.model(self.before(x), training=False))


@trap("Keras: rounded pixels")
def rounded_pixels(base: Base) -> Trap:
    """Eight grey levels, with the gradient of the unrounded pixels (Guo et al. 2018)."""

    def rounded(x):
        return x + tf.stop_gradient(tf.round(7 * x) / 7 - x)

    return Trap(KerasAround(base.keras, before=rounded), base.keras)


@trap("Keras: noise on the input")
def noise(base: Base) -> Trap:
    """Noise that is drawn for each query."""
    return Trap(
        KerasAround(base.keras, before=lambda x: x + tf.random.normal(tf.shape(x), 0, 0.2)),
        base.keras,
    )


@trap("Keras: logits times 10,000")
def scaled(base: Base) -> Trap:
    """The cross-entropy is 0 in float32."""
    return Trap(KerasAround(base.keras, after=lambda z: 1e4 * z), base.keras)


@trap("Keras: saturated sigmoid")
def saturated(base: Base) -> Trap:
    """Pixels through a sigmoid so steep that its gradient is 0 in float32 nearly everywhere."""

    def steep(x):
        return tf.sigmoid(1000 * (x - 0.47))

    def straight(x):
        return x + tf.stop_gradient(steep(x) - x)

    return Trap(KerasAround(base.keras, before=steep), KerasAround(base.keras, before=straight))
