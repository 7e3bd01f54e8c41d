"""What a model may have been trained with instead of what it gets: inputs and orders of classes.

Wrong scales, doubled or missing normalisations, other orders of channels or classes leave a model
right by chance. The few usual ones are tried on clean examples, and the one that fits is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from scipy.optimize import linear_sum_assignment

from defenses.labels import labels_of

# A fit is likely that makes this share of the examples more right than the inputs as they are.
GAIN = 0.25

_TOLD, _CLASSES_TOLD = 3, 4  # fits, and classes of an order, that a line names

# Means and standard deviations that many models are trained with, by number of channels.
_USUAL: dict[int, dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    1: {"MNIST's": ((0.1307,), (0.3081,))},
    3: {
        "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "CIFAR-10's": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    },
}
# Subtracted from BGR in 0..255 by models that come from Caffe.
_CAFFE = (103.939, 116.779, 123.68)

AS_THEY_ARE = ""


def doubtful(accuracy: float, chance: float) -> bool:
    """Whether a model is right so rarely that other inputs are worth a try."""
    return accuracy < (1 + chance) / 2


def likely(
    ask: Callable[[np.ndarray], np.ndarray],
    inputs: Mapping[str, np.ndarray],
    y: np.ndarray,
    accuracy: float,
) -> dict[str, float]:
    """The accuracy of each fit that is clearly better than `accuracy`, by its words, best first.

    Args:
        ask: outputs (n, classes) of inputs (n, ...).
        inputs: in words, what the model may take, (n, ...) each; `AS_THEY_ARE` for no words.
        y: labels, (n,).
        accuracy: of the inputs as they are given.
    """
    found = {}
    for words, x in inputs.items():
        outputs = np.asarray(ask(np.ascontiguousarray(x, dtype=np.float32)))
        labels = labels_of(outputs)
        found[words] = float((labels == y).mean())
        order, reordered = class_order(labels, y, outputs.shape[1])
        if reordered >= found[words] + GAIN:
            found[" and ".join(filter(None, [words, _in_words(order)]))] = reordered
    better = {words: one for words, one in found.items() if words and one >= accuracy + GAIN}
    return dict(sorted(better.items(), key=lambda item: -item[1])[:_TOLD])


def usual_inputs(x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """What a model may take instead of `x` in [0, 1], (n, ...), with the options for that."""
    yield "inputs in 0..255 (--input-range 0..255)", 255 * x
    yield "inputs in -1..1 (--mean 0.5 --std 0.5)", 2 * x - 1
    yield "inverted inputs, 1 - x (a layer of the model)", 1 - x
    if x.ndim != 4:
        return
    for whose, (mean, std) in _USUAL.get(x.shape[-1], {}).items():
        options = f"--mean {_numbers(mean)} --std {_numbers(std)}"
        yield f"{whose} mean and deviation ({options})", (x - np.array(mean)) / np.array(std)
    mean, std = x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2)) + 1e-6
    options = f"--mean {_numbers(mean)} --std {_numbers(std)}"
    yield f"the data's mean and deviation ({options})", (x - mean) / std
    axes = tuple(range(1, x.ndim))
    mean, std = x.mean(axis=axes, keepdims=True), x.std(axis=axes, keepdims=True)
    yield "each image's own mean and deviation (a layer of the model)", (x - mean) / (std + 1e-6)
    if x.shape[-1] == 3:
        bgr = x[..., ::-1]
        yield "the channels in the order BGR (a layer of the model)", bgr
        yield "BGR in 0..255 (--input-range 0..255, and a layer)", 255 * bgr
        yield "BGR in 0..255 less Caffe's mean (a layer of the model)", 255 * bgr - _CAFFE


def class_order(labels: np.ndarray, y: np.ndarray, classes: int) -> tuple[np.ndarray, float]:
    """Which class of the data each of the model's is likely to be, (classes,), and the accuracy so.

    An order that was chosen on one half of the examples is measured on the other, so that chance
    has no part in it.
    """
    right = 0
    for half in (slice(0, None, 2), slice(1, None, 2)):
        rest = np.ones(len(y), dtype=bool)
        rest[half] = False
        order = _best_order(labels[half], y[half], classes)
        right += int((_reordered(order, labels[rest]) == y[rest]).sum())
    return _best_order(labels, y, classes), right / max(1, len(y))


def in_words(found: Mapping[str, float]) -> str:
    """Fits with their accuracies."""
    return "; ".join(f"{100 * accuracy:.3g} % with {words}" for words, accuracy in found.items())


def _best_order(labels: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    counts = np.zeros((classes, classes))
    known = labels >= 0
    np.add.at(counts, (labels[known], y[known]), 1)
    counts += 0.5 * np.eye(classes)  # in doubt a class stays where it is
    return np.asarray(linear_sum_assignment(-counts)[1])


def _reordered(order: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.where(labels >= 0, order[labels], labels)


def _in_words(order: np.ndarray) -> str:
    moved = np.flatnonzero(order != np.arange(len(order)))
    told = ", ".join(f"its {one} is the data's {order[one]}" for one in moved[:_CLASSES_TOLD])
    more = f" and {len(moved) - _CLASSES_TOLD} more" if len(moved) > _CLASSES_TOLD else ""
    return f"its classes in another order ({told}{more}; a layer of the model)"


def _numbers(values: tuple[float, ...] | np.ndarray) -> str:
    return ",".join(f"{value:.4g}" for value in values)
