"""Torch's update rules in TensorFlow.

Keras's Adam adds its epsilon before the bias correction, torch's after it, so the two take
different steps from the same gradients. A defense takes the same steps in both frameworks; here
they are those of `torch.optim`, where weight decay is added to the gradient (not decoupled).
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from tensorflow import Tensor


class Sgd:
    """torch.optim.SGD with momentum 0.9: g <- g + w theta; v <- m v + g; theta <- theta - r v.

    With Nesterov momentum theta <- theta - r (g + m v). `decays` holds each parameter's own w.
    """

    momentum = 0.9

    def __init__(
        self, parameters: Sequence[tf.Variable], decays: Sequence[float], *, nesterov: bool
    ) -> None:
        self._parameters = parameters
        self._decays = decays
        self._nesterov = nesterov
        self.variables = [tf.Variable(tf.zeros_like(value)) for value in parameters]

    def apply(self, gradients: Sequence[Tensor], learning_rate: Tensor) -> None:
        """Move the parameters by one step."""
        for parameter, decay, velocity, gradient in zip(
            self._parameters, self._decays, self.variables, gradients, strict=True
        ):
            gradient = gradient + decay * parameter
            velocity.assign(self.momentum * velocity + gradient)
            step = gradient + self.momentum * velocity if self._nesterov else velocity
            parameter.assign_sub(learning_rate * step)


class Adam:
    """torch.optim.Adam (Kingma & Ba 2015, algorithm 1), betas 0.9 and 0.999, epsilon 1e-8.

    `decays` holds each parameter's own weight decay.
    """

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def __init__(self, parameters: Sequence[tf.Variable], decays: Sequence[float]) -> None:
        self._parameters = parameters
        self._decays = decays
        self._step = tf.Variable(0, dtype=tf.int64)
        self._means = [tf.Variable(tf.zeros_like(value)) for value in parameters]
        self._squares = [tf.Variable(tf.zeros_like(value)) for value in parameters]
        self.variables = [self._step, *self._means, *self._squares]

    def apply(self, gradients: Sequence[Tensor], learning_rate: Tensor) -> None:
        """Move the parameters by one step."""
        self._step.assign_add(1)
        # float64 as in torch, where both corrections are Python numbers.
        step = tf.cast(self._step, tf.float64)
        dtype = learning_rate.dtype
        correction1 = tf.cast(1 - tf.constant(self.beta1, tf.float64) ** step, dtype)
        correction2 = tf.cast(tf.sqrt(1 - tf.constant(self.beta2, tf.float64) ** step), dtype)
        for parameter, decay, mean, square, gradient in zip(
            self._parameters, self._decays, self._means, self._squares, gradients, strict=True
        ):
            gradient = gradient + decay * parameter
            mean.assign(self.beta1 * mean + (1 - self.beta1) * gradient)
            square.assign(self.beta2 * square + (1 - self.beta2) * gradient**2)
            denominator = tf.sqrt(square) / correction2 + self.epsilon
            parameter.assign_sub(learning_rate / correction1 * mean / denominator)
