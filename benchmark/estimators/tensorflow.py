"""ART's `TensorFlowV2Classifier` without what slows it down.

ART runs gradients and losses eagerly, and sends a whole data set through in one forward pass.
Where a classifier has preprocessing, defenses or a loss of its own, ART's code does the work.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf
from art.estimators.classification import TensorFlowV2Classifier

from benchmark.estimators.estimator import Label, Weights
from benchmark.estimators.passes import (
    NoCopyError,
    Observer,
    Passes,
    chunks,
    gradient_of_open,
    is_identity,
)
from benchmark.estimators.vjp import by_class_gradients, per_example_labels, several_labels

# Up to this many classes their backward passes stand in one compiled graph.
UNROLLED_CLASSES = 32

# Operations of a graph that call Python code.
_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
# In the names of the variables that Keras's random layers keep: what they draw is no memory.
_SEEDS = "seed_generator_state"

Array: TypeAlias = np.ndarray | tf.Tensor


class MeanOfDraws(keras.Model):
    """The mean output of a random model over some draws; its gradient is the mean's own."""

    def __init__(self, model: keras.Model, draws: int) -> None:
        super().__init__()
        self.model, self.draws = model, draws

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits, (n, classes)."""
        return tf.add_n([self.model(x, training=False) for _ in range(self.draws)]) / self.draws


class FastTensorFlowV2Classifier(TensorFlowV2Classifier):
    """A drop-in `TensorFlowV2Classifier`; takes any floating-point type and counts its passes.

    `observer`, where one is set, is told of every point that is asked about.
    """

    observer: Observer | None = None
    is_random = False
    scores = None

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.passes = Passes()
        self._is_plain = _is_cross_entropy_of_logits(self._loss_object)
        images = tf.TensorSpec((None, *self.input_shape), tf.float32)
        labels = tf.TensorSpec((None,), tf.int64)
        # Compiled once for every batch size.
        self._compiled_forward = tf.function(self._forward, input_signature=[images])
        self._compiled_losses = tf.function(self._losses, input_signature=[images, labels])
        self._compiled_gradient = tf.function(self._gradient, input_signature=[images, labels])
        self._compiled_class_gradients = tf.function(
            self._class_gradients, input_signature=[images]
        )
        self._compiled_pull = tf.function(self._pull, input_signature=[images])
        self._weigh: Callable[[np.ndarray], np.ndarray] = np.zeros_like

    def predict(
        self, x: np.ndarray, batch_size: int = 128, training_mode: bool = False, **kwargs: object
    ) -> np.ndarray:
        """Outputs of the model, (n, classes) float32, in chunks of its own size."""
        x = _float32(x)
        self.passes.add(forwards=len(x))
        if training_mode or not is_identity(self):
            outputs = super().predict(x, batch_size, training_mode, **kwargs)
        else:
            parts = [self._compiled_forward(x[part]).numpy() for part in chunks(len(x))]
            outputs = np.concatenate(parts)
        self._tell(x, outputs)
        return outputs

    def loss_gradient(
        self, x: Array, y: Array, training_mode: bool = False, **kwargs: object
    ) -> np.ndarray | tf.Tensor:
        """The gradient of the mean loss with respect to `x`, of its type and shape."""
        x = _float32(x)
        if (some := gradient_of_open(self, np.asarray(x), np.asarray(y))) is not None:
            return tf.convert_to_tensor(some) if tf.is_tensor(x) else some
        self.passes.add(forwards=len(x), backwards=len(x))
        if training_mode or not self._is_plain or not is_identity(self):
            self._tell(x)
            return super().loss_gradient(x, y, training_mode, **kwargs)
        labels = _label_indices(y)
        parts = [self._compiled_gradient(x[part], labels[part]) for part in chunks(len(x))]
        self._tell(x, *[outputs for _, outputs in parts])
        gradient = tf.concat([gradient for gradient, _ in parts], axis=0) / len(x)
        return gradient if tf.is_tensor(x) else gradient.numpy()

    def compute_loss(
        self,
        x: Array,
        y: Array,
        reduction: str = "none",
        training_mode: bool = False,
        **kwargs: object,
    ) -> np.ndarray:
        """The loss of each example, or their mean or sum."""
        x = _float32(x)
        self.passes.add(forwards=len(x))
        if training_mode or not self._is_plain or not is_identity(self):
            self._tell(x)
            return super().compute_loss(x, y, reduction, training_mode, **kwargs)
        labels = _label_indices(y)
        parts = [self._compiled_losses(x[part], labels[part]) for part in chunks(len(x))]
        self._tell(x, *[outputs for _, outputs in parts])
        losses = np.concatenate([loss.numpy() for loss, _ in parts])
        reduced = {"none": losses, "mean": losses.mean(), "sum": losses.sum()}[reduction]
        return np.asarray(reduced)

    def class_gradient(
        self, x: np.ndarray, label: Label = None, training_mode: bool = False, **kwargs: object
    ) -> np.ndarray:
        """The gradients of the logits with respect to `x`: (n, classes, ...), or (n, 1, ...).

        Args:
            x: inputs.
            label: None for all classes, one class for all inputs, one for each, or (n, k).
        """
        x = _float32(x)
        if (several := several_labels(label)) is not None:
            by_class = [self._one_class_gradient(x, classes) for classes in several.T]
            return np.stack(by_class, axis=1)
        labels = None if label is None else per_example_labels(label, len(x), self.nb_classes)
        foreign = training_mode or tf.is_tensor(x) or not is_identity(self)
        if foreign or (label is not None and labels is None):
            classes = self.nb_classes if label is None else 1
            self.passes.add(forwards=len(x), backwards=len(x) * classes)
            self._tell(x)
            return super().class_gradient(x, label, training_mode, **kwargs)
        if labels is not None:
            return self._one_class_gradient(x, labels)[:, np.newaxis]
        if self.nb_classes > UNROLLED_CLASSES:
            every = np.arange(self.nb_classes)
            by_class = [self._one_class_gradient(x, np.full(len(x), c)) for c in every]
            return np.stack(by_class, axis=1)
        self.passes.add(forwards=len(x), backwards=len(x) * self.nb_classes)
        parts = [self._compiled_class_gradients(x[part]) for part in chunks(len(x))]
        self._tell(x, *[outputs for _, outputs in parts])
        return np.concatenate([gradients.numpy() for gradients, _ in parts])

    def logits_and_gradient(self, x: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
        """Logits, and the gradient of a function of them; see `benchmark.estimators.vjp`."""
        x = _float32(x)
        if not is_identity(self):
            return by_class_gradients(self, x, weights)
        self.passes.add(forwards=len(x), backwards=len(x))
        found = []
        for part in chunks(len(x)):
            self._weigh = partial(_weights_at, weights, part)
            found.append([result.numpy() for result in self._compiled_pull(x[part])])
        logits, gradients = zip(*found, strict=True)
        self._tell(x, *logits)
        return np.concatenate(logits), np.concatenate(gradients)

    def copies(self) -> Callable[[], FastTensorFlowV2Classifier]:
        """What gives the estimator with all variables of its graph as they are now.

        A Keras model can't be copied in general. What its graph may remember lies in variables,
        unless it calls Python code: then `NoCopyError` is raised.
        """
        graph = self._compiled_forward.get_concrete_function().graph
        if found := sorted(_operations(graph) & _PYTHON):
            raise NoCopyError(f"its graph calls Python code ({found[0]}), which may remember")
        kept = [(one, one.numpy()) for one in graph.variables if _SEEDS not in one.name]

        def restored() -> FastTensorFlowV2Classifier:
            for variable, value in kept:
                variable.assign(value)
            return self

        return restored

    def _one_class_gradient(self, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        hot = np.eye(self.nb_classes, dtype=np.float32)[labels]
        return self.logits_and_gradient(x, lambda logits, part: hot[part])[1]

    def _class_gradients(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(rows, classes, ...) by one forward pass and a backward pass a class; and the outputs."""
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(x)
            outputs = self._forward(x)
            by_class = tf.unstack(outputs, axis=1)
        gradients = [_found(tape.gradient(output, x)) for output in by_class]
        return tf.stack(gradients, axis=1), outputs

    def _pull(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits, and the gradient of the function whose weights `self._weigh` gives."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = self._forward(x)
        # Between the passes NumPy weighs the logits: two compiled functions took 3 times as long.
        pull = tf.numpy_function(self._weighed, [logits], tf.float32)
        pull.set_shape(logits.shape)
        return logits, _found(tape.gradient(logits, x, output_gradients=pull))

    def _weighed(self, logits: np.ndarray) -> np.ndarray:
        return np.asarray(self._weigh(logits), dtype=np.float32)

    def _tell(self, x: Array, *outputs: Array) -> None:
        """Tell the observer, if there is one, of these points and their outputs, in chunks."""
        if self.observer is not None:
            known = np.concatenate([np.asarray(part) for part in outputs]) if outputs else None
            self.observer(np.asarray(x), known)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        # A model of another precision gives its own type.
        return tf.cast(self._model(x, training=False), tf.float32)

    def _losses(self, x: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss of each example, and the outputs."""
        outputs = self._forward(x)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs), outputs

    def _gradient(self, x: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The gradient of the summed loss, and the outputs."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            losses, outputs = self._losses(x, labels)
            loss = tf.reduce_sum(losses)
        return _found(tape.gradient(loss, x)), outputs


def wrap(
    model: keras.Model, *, input_shape: tuple[int, ...], classes: int, device: str
) -> FastTensorFlowV2Classifier:
    """An estimator for NHWC or (n, d) inputs in [0, 1].

    Args:
        model: gives logits.
        input_shape: (H, W, C) or (d,).
        classes: their number.
        device: TensorFlow places the work itself; named for likeness with PyTorch.
    """
    return FastTensorFlowV2Classifier(
        model=model,
        nb_classes=classes,
        input_shape=input_shape,
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 1.0),
    )


def averaged(model: keras.Model, *, draws: int) -> keras.Model:
    """A model that gives the mean output of `model` over so many draws."""
    return MeanOfDraws(model, draws)


def _operations(graph: tf.Graph) -> set[str]:
    """The types of all operations in a graph and in the functions that it calls."""
    definition = graph.as_graph_def()
    inner = (node.op for function in definition.library.function for node in function.node_def)
    return {node.op for node in definition.node} | set(inner)


def _is_cross_entropy_of_logits(loss: keras.losses.Loss) -> bool:
    kinds = (keras.losses.SparseCategoricalCrossentropy, keras.losses.CategoricalCrossentropy)
    return (
        type(loss) in kinds
        and loss.from_logits
        and getattr(loss, "label_smoothing", 0) == 0
        and loss.reduction == "sum_over_batch_size"
    )


def _found(gradient: tf.Tensor | None) -> tf.Tensor:
    if gradient is None:
        raise ValueError("no differentiable path leads from the outputs to the inputs")
    return gradient


def _float32(x: Array) -> Array:
    return tf.cast(x, tf.float32) if tf.is_tensor(x) else np.asarray(x, dtype=np.float32)


def _weights_at(weights: Weights, part: slice, logits: np.ndarray) -> np.ndarray:
    return weights(logits, part)


def _label_indices(y: Array) -> tf.Tensor:
    labels = tf.convert_to_tensor(y)
    return tf.cast(tf.argmax(labels, axis=1) if labels.ndim == 2 else labels, tf.int64)
