"""ART's `TensorFlowV2Classifier` without what slows it down.

ART runs gradients and losses eagerly, and sends a whole data set through in one forward pass.
Where a classifier has preprocessing, defenses or a loss of its own, ART's code does the work.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from art.estimators.classification import TensorFlowV2Classifier

from benchmark.estimators.passes import Observer, Passes, chunks, is_identity


class FastTensorFlowV2Classifier(TensorFlowV2Classifier):
    """A drop-in `TensorFlowV2Classifier`; takes any floating-point type and counts its passes.

    `observer`, where one is set, is told of every point that is asked about.
    """

    observer: Observer | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.passes = Passes()
        self._is_plain = _is_cross_entropy_of_logits(self._loss_object)
        images = tf.TensorSpec((None, *self.input_shape), tf.float32)
        labels = tf.TensorSpec((None,), tf.int64)
        # Compiled once for every batch size.
        self._compiled_forward = tf.function(self._forward, input_signature=[images])
        self._compiled_losses = tf.function(self._losses, input_signature=[images, labels])
        self._compiled_gradient = tf.function(self._gradient, input_signature=[images, labels])

    def predict(
        self, x: np.ndarray, batch_size: int = 128, training_mode: bool = False, **kwargs: Any
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
        self, x: Any, y: Any, training_mode: bool = False, **kwargs: Any
    ) -> np.ndarray | tf.Tensor:
        """The gradient of the mean loss with respect to `x`, of its type and shape."""
        x = _float32(x)
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
        self, x: Any, y: Any, reduction: str = "none", training_mode: bool = False, **kwargs: Any
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
        self, x: Any, label: Any = None, training_mode: bool = False, **kwargs: Any
    ) -> np.ndarray:
        """The gradients of the outputs with respect to `x`, (n, classes or 1, ...)."""
        x = _float32(x)
        self._tell(x)
        return super().class_gradient(x, label, training_mode, **kwargs)

    def _tell(self, x: Any, *outputs: Any) -> None:
        """Tell the observer, if there is one, of these points and their outputs, in chunks."""
        if self.observer is not None:
            known = np.concatenate([np.asarray(part) for part in outputs]) if outputs else None
            self.observer(np.asarray(x), known)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return self._model(x, training=False)

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
        return tape.gradient(loss, x), outputs


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


def _is_cross_entropy_of_logits(loss: Any) -> bool:
    kinds = (keras.losses.SparseCategoricalCrossentropy, keras.losses.CategoricalCrossentropy)
    return (
        type(loss) in kinds
        and loss.from_logits
        and getattr(loss, "label_smoothing", 0) == 0
        and loss.reduction == "sum_over_batch_size"
    )


def _float32(x: Any) -> Any:
    return tf.cast(x, tf.float32) if tf.is_tensor(x) else np.asarray(x, dtype=np.float32)


def _label_indices(y: Any) -> tf.Tensor:
    labels = tf.convert_to_tensor(y)
    return tf.cast(tf.argmax(labels, axis=1) if labels.ndim == 2 else labels, tf.int64)
