"""Projected gradient ascent in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow import Tensor

from defenses.perturbation.spec import Ascent

# Of the features, (d,); None where all are 1.
Weights: TypeAlias = "tuple[float, ...] | None"


def perturb(
    logits_of: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    start: Tensor,
    *,
    eps: Tensor,
    ascent: Ascent,
) -> Tensor:
    """Adversarial examples within `eps` of `x` and within [0, 1], detached; shape of `x`."""
    # Step 1
    x_adv = x + eps * start
    if ascent.clipped_start:
        x_adv = tf.clip_by_value(x_adv, 0, 1)

    def loss_of(x_adv: Tensor) -> Tensor:
        # The sum, so that an example's gradient does not depend on its batch
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits_of(x_adv))
        return tf.reduce_sum(losses)

    return ascend(loss_of, x, x_adv, eps=eps, ascent=ascent)


def ascend(
    loss_of: Callable[[Tensor], Tensor], x: Tensor, x_adv: Tensor, *, eps: Tensor, ascent: Ascent
) -> Tensor:
    """`perturb` for any loss, summed over the batch, from any starting point `x_adv`."""
    carried = tf.zeros_like(x)
    gradient_of = own_graph(functools.partial(gradient_by_point, loss_of))
    for _ in tf.range(ascent.steps):
        # Step 2
        gradient = gradient_of(x_adv)
        if ascent.momentum:
            carried = ascent.momentum * carried + _unit_l1(gradient)
            gradient = carried
        x_adv = stepped(x_adv, gradient, x, eps=eps, ascent=ascent)
    return tf.stop_gradient(x_adv)


def own_graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a graph of its own, for the body of a compiled loop.

    Written into the loop's graph, a gradient is fast or up to twice as slow, by chance from one
    trace to the next: there TensorFlow may come to the gradient of a max pooling before it comes
    to the pooling, and then leaves it to a kernel 20 times as slow as oneDNN's. The results are the
    same.
    """
    return tf.function(function, experimental_attributes={"_noinline": True})


def gradient_by_point(loss_of: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """The gradient of a loss at a point, of the point's shape."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(point)
        loss = loss_of(point)
    return tape.gradient(loss, point)


def stepped(x_adv: Tensor, gradient: Tensor, x: Tensor, *, eps: Tensor, ascent: Ascent) -> Tensor:
    """`x_adv` one step further up the loss, within `eps` of `x` and within [0, 1]."""
    # Step 3
    norm, weights = ascent.norm, ascent.weights
    step = ascent.relative_step * eps * direction(gradient, x_adv, eps, norm, weights)
    # Step 4
    return tf.clip_by_value(project(x_adv + step, x, eps, norm, weights), 0, 1)


def direction(
    gradient: Tensor, x_adv: Tensor, eps: Tensor, norm: str, weights: Weights = None
) -> Tensor:
    """The steepest step of length 1 in the norm from `x_adv`; within l1 for a budget `eps`."""
    if weights is not None:
        scale = tf.constant(weights, x_adv.dtype)
        return scale * direction(scale * gradient, x_adv, eps, norm)
    if norm == "linf":
        return tf.sign(gradient)
    if norm == "l1":
        return _sparse_direction(gradient, x_adv, eps)
    return gradient / tf.maximum(_lengths(gradient), 1e-12)


def project(x_adv: Tensor, x: Tensor, eps: Tensor, norm: str, weights: Weights = None) -> Tensor:
    """The nearest point within `eps` of `x`."""
    if weights is not None:
        scale = tf.constant(weights, x_adv.dtype)
        moved = (x_adv - x) / tf.where(scale > 0, scale, tf.ones_like(scale))
        return x + scale * project(moved, tf.zeros_like(x), eps, norm)
    if norm == "linf":
        return tf.minimum(tf.maximum(x_adv, x - eps), x + eps)
    difference = x_adv - x
    if norm == "l1":
        return x + _onto_l1_ball(difference, eps)
    return x + difference * (eps / tf.maximum(_lengths(difference), eps))


def _sparse_direction(gradient: Tensor, x_adv: Tensor, eps: Tensor) -> Tensor:
    blocked = ((x_adv >= 1) & (gradient > 0)) | ((x_adv <= 0) & (gradient < 0))
    size = math.prod(gradient.shape[1:])
    flat = tf.reshape(tf.where(blocked, tf.zeros_like(gradient), gradient), (-1, size))  # (n, d)
    magnitudes = tf.abs(flat)
    # A threshold, not the indices: which of two equal entries comes first is the framework's.
    counts = tf.clip_by_value(tf.round(tf.reshape(tf.cast(eps, flat.dtype), (-1, 1))), 1, size)
    counts = tf.cast(counts, tf.int32)
    largest = tf.math.top_k(magnitudes, _most(counts, size)).values
    last = tf.broadcast_to(counts - 1, (tf.shape(flat)[0], 1))
    least = tf.gather(largest, last, axis=1, batch_dims=1)
    signs = tf.where(magnitudes >= least, tf.sign(flat), tf.zeros_like(flat))
    count = tf.maximum(tf.reduce_sum(tf.abs(signs), axis=1, keepdims=True), 1)
    return tf.reshape(signs / count, tf.shape(gradient))


def _most(counts: Tensor, size: int) -> Tensor | int:
    """The most of the counts; all there is on a GPU, which would have to be waited for."""
    return size if tf.config.list_logical_devices("GPU") else tf.reduce_max(counts)


def _onto_l1_ball(difference: Tensor, eps: Tensor) -> Tensor:
    size = math.prod(difference.shape[1:])
    flat = tf.reshape(difference, (-1, size))  # (n, d)
    magnitudes = tf.abs(flat)
    ordered = tf.sort(magnitudes, axis=1, direction="DESCENDING")
    excess = tf.cumsum(ordered, axis=1) - tf.reshape(tf.cast(eps, flat.dtype), (-1, 1))
    ranks = tf.range(1, size + 1, dtype=flat.dtype)
    inside = tf.cast(ordered * ranks > excess, tf.int32)
    held = tf.maximum(tf.reduce_sum(inside, axis=1, keepdims=True), 1)
    last = tf.gather(excess, held - 1, axis=1, batch_dims=1)
    # Below zero inside the ball, where nothing is to be taken away.
    threshold = tf.maximum(last / tf.cast(held, flat.dtype), 0)
    lowered = tf.sign(flat) * tf.maximum(magnitudes - threshold, 0)
    return tf.reshape(lowered, tf.shape(difference))


def _unit_l1(gradient: Tensor) -> Tensor:
    """Each row divided by its L1 norm."""
    axes = list(range(1, len(gradient.shape)))
    return gradient / tf.maximum(tf.reduce_sum(tf.abs(gradient), axis=axes, keepdims=True), 1e-12)


def _lengths(x: Tensor) -> Tensor:
    """The L2 norm of each row, shaped to broadcast against it."""
    return tf.sqrt(tf.reduce_sum(x**2, axis=list(range(1, len(x.shape))), keepdims=True))
