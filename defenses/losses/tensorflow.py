"""Losses on logits in TensorFlow, one value a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf
from tensorflow import Tensor


def kl_divergence(logits: Tensor, others: Tensor) -> Tensor:
    """KL(p || q) = sum_k p_k (log p_k - log q_k), p from `logits` and q from `others`; (n,)."""
    log_p, log_q = tf.nn.log_softmax(logits), tf.nn.log_softmax(others)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)


def boosted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """BCE(p, y) = -log p_y - log(1 - max_{k != y} p_k) (Wang et al. 2020, eq. (8)); (n,).

    1 - p_k is the sum over the other classes, and taken as that: it stays exact where p_k is 1.
    """
    classes = logits.shape[1]
    nothing = tf.constant(logits.dtype.min, logits.dtype)
    true = tf.one_hot(labels, classes, on_value=True, off_value=False, dtype=tf.bool)
    best_wrong = tf.argmax(tf.where(true, nothing, logits), axis=1)
    wrong = tf.one_hot(best_wrong, classes, on_value=True, off_value=False, dtype=tf.bool)
    total = tf.reduce_logsumexp(logits, axis=1)
    without_wrong = tf.reduce_logsumexp(tf.where(wrong, nothing, logits), axis=1)
    of_label = tf.gather(logits, labels, batch_dims=1)
    return (total - of_label) + (total - without_wrong)


def jensen_shannon(logits: Sequence[Tensor]) -> Tensor:
    """The mean of KL(p_i || m), m the mean of the distributions p_i; (n,)."""
    log_p = tf.stack([tf.nn.log_softmax(one) for one in logits])  # (distributions, n, classes)
    log_m = tf.reduce_logsumexp(log_p, axis=0) - math.log(len(logits))
    return tf.reduce_mean(tf.reduce_sum(tf.exp(log_p) * (log_p - log_m), axis=2), axis=0)
