"""Projected gradient ascent in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from defenses.perturbation.spec import Ascent


def perturb(
    logits_of: Callable[[tf.Tensor], tf.Tensor],
    x: tf.Tensor,
    y: tf.Tensor,
    start: tf.Tensor,
    *,
    eps: tf.Tensor,
    ascent: Ascent,
) -> tf.Tensor:
    """Adversarial examples within `eps` of `x` and within [0, 1], detached; shape of `x`."""
    step_size = ascent.relative_step * eps
    # Step 1
    x_adv = tf.clip_by_value(x + eps * start, 0, 1)
    for _ in tf.range(ascent.steps):
        # Step 2: the sum, so that an example's gradient does not depend on its batch
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x_adv)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits_of(x_adv))
            loss = tf.reduce_sum(losses)
        gradient = tape.gradient(loss, x_adv)
        # Step 3
        x_adv = x_adv + step_size * _direction(gradient, ascent.norm)
        # Step 4
        x_adv = tf.clip_by_value(_project(x_adv, x, eps, ascent.norm), 0, 1)
    return tf.stop_gradient(x_adv)


def _direction(gradient: tf.Tensor, norm: str) -> tf.Tensor:
    if norm == "linf":
        return tf.sign(gradient)
    return gradient / tf.maximum(_lengths(gradient), 1e-12)


def _project(x_adv: tf.Tensor, x: tf.Tensor, eps: tf.Tensor, norm: str) -> tf.Tensor:
    if norm == "linf":
        return tf.minimum(tf.maximum(x_adv, x - eps), x + eps)
    difference = x_adv - x
    return x + difference * (eps / tf.maximum(_lengths(difference), eps))


def _lengths(x: tf.Tensor) -> tf.Tensor:
    """The L2 norm of each row, shaped to broadcast against it."""
    return tf.sqrt(tf.reduce_sum(x**2, axis=list(range(1, len(x.shape))), keepdims=True))
