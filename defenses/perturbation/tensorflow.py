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
    # Step 1
    x_adv = x + eps * start
    if ascent.clipped_start:
        x_adv = tf.clip_by_value(x_adv, 0, 1)

    def loss_of(x_adv: tf.Tensor) -> tf.Tensor:
        # The sum, so that an example's gradient does not depend on its batch
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits_of(x_adv))
        return tf.reduce_sum(losses)

    return ascend(loss_of, x, x_adv, eps=eps, ascent=ascent)


def ascend(
    loss_of: Callable[[tf.Tensor], tf.Tensor],
    x: tf.Tensor,
    x_adv: tf.Tensor,
    *,
    eps: tf.Tensor,
    ascent: Ascent,
) -> tf.Tensor:
    """`perturb` for any loss, summed over the batch, from any starting point `x_adv`."""
    step_size = ascent.relative_step * eps
    for _ in tf.range(ascent.steps):
        # Step 2
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x_adv)
            loss = loss_of(x_adv)
        gradient = tape.gradient(loss, x_adv)
        # Step 3
        x_adv = x_adv + step_size * direction(gradient, ascent.norm)
        # Step 4
        x_adv = tf.clip_by_value(project(x_adv, x, eps, ascent.norm), 0, 1)
    return tf.stop_gradient(x_adv)


def direction(gradient: tf.Tensor, norm: str) -> tf.Tensor:
    """The steepest step of length 1 in the norm."""
    if norm == "linf":
        return tf.sign(gradient)
    return gradient / tf.maximum(_lengths(gradient), 1e-12)


def project(x_adv: tf.Tensor, x: tf.Tensor, eps: tf.Tensor, norm: str) -> tf.Tensor:
    """The nearest point within `eps` of `x`."""
    if norm == "linf":
        return tf.minimum(tf.maximum(x_adv, x - eps), x + eps)
    difference = x_adv - x
    return x + difference * (eps / tf.maximum(_lengths(difference), eps))


def _lengths(x: tf.Tensor) -> tf.Tensor:
    """The L2 norm of each row, shaped to broadcast against it."""
    return tf.sqrt(tf.reduce_sum(x**2, axis=list(range(1, len(x.shape))), keepdims=True))
