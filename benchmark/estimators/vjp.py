"""The gradient of any function of a model's logits, in one forward and one backward pass.

Attacks with a loss of their own (targeted DLR, differences of logits) are written once, in NumPy:
they say how much each logit weighs, and the estimator pulls these weights back to the input.
"""

from __future__ import annotations

import numpy as np

from benchmark.estimators.estimator import Classifier, Label, Weights


def logits_and_gradient(
    estimator: Classifier, x: np.ndarray, weights: Weights
) -> tuple[np.ndarray, np.ndarray]:
    """Logits of `x`, and the gradient at `x` of the function of them that `weights` belongs to.

    Args:
        estimator: any of ART's classifiers with class gradients; ours need one backward pass.
        x: inputs, (n, ...), float32.
        weights: the function's gradient with respect to the logits.
    """
    own = getattr(estimator, "logits_and_gradient", None)
    return own(x, weights) if own else by_class_gradients(estimator, x, weights)


def by_class_gradients(
    estimator: Classifier, x: np.ndarray, weights: Weights
) -> tuple[np.ndarray, np.ndarray]:
    """The same from the gradients of all logits, for an estimator that offers nothing better."""
    logits = np.asarray(estimator.predict(x))
    pull = weights(logits, slice(0, len(x)))
    gradients = np.asarray(estimator.class_gradient(x))  # (n, classes, ...)
    return logits, np.einsum("nc,nc...->n...", pull, gradients).astype(np.float32)


def per_example_labels(label: Label, size: int, classes: int) -> np.ndarray | None:
    """ART's `label` of class gradients as one class an example; None where it is neither.

    Args:
        label: a class, or one for each example.
        size: the number of examples.
        classes: the number of classes.
    """
    labels = np.asarray(label)
    if labels.dtype.kind not in "iu" or labels.shape not in ((), (size,)):
        return None
    labels = np.broadcast_to(labels, (size,))
    return labels if ((labels >= 0) & (labels < classes)).all() else None


def several_labels(label: Label) -> np.ndarray | None:
    """ART's `label` of class gradients as classes (n, k); None where it is anything else."""
    labels = np.asarray(label)
    return labels if labels.dtype.kind in "iu" and labels.ndim == 2 else None


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, (n, classes)."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))
