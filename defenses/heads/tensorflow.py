"""Heads on features in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow import Tensor

from defenses.errors import DefenseError
from defenses.heads.spec import LARGE, TINY, Heads
from defenses.kernels.tensorflow import Kernel, cross_entropy
from defenses.perturbation.spec import Ascent
from defenses.perturbation.tensorflow import perturb


def unit(features: Tensor) -> Tensor:
    """Step 1."""
    largest = tf.stop_gradient(tf.reduce_max(tf.abs(features), axis=-1, keepdims=True))
    features = features / tf.where(largest > LARGE, largest, tf.ones_like(largest))
    return features / tf.sqrt(tf.reduce_sum(features**2, axis=-1, keepdims=True) + TINY)


def closed_form(kind: str, features: Tensor, y: Tensor, ways: int, *, penalty: float) -> Tensor:
    """Step 2: weights (d, ways) of unit features, of a support (n, d) with labels (n,).

    Leading axes of tasks may stand before both.
    """
    rows = unit(features)
    targets = tf.one_hot(y, ways, dtype=rows.dtype)  # (n, ways)
    if kind == "centroid":
        shares = targets / tf.reduce_sum(targets, axis=-2, keepdims=True)
        return tf.linalg.matrix_transpose(unit(tf.matmul(shares, rows, transpose_a=True)))
    count = tf.shape(rows)[-2]
    kernel = tf.matmul(rows, rows, transpose_b=True) + penalty * tf.eye(count, dtype=rows.dtype)
    return tf.matmul(rows, tf.linalg.solve(kernel, targets), transpose_a=True)


def last_dense(model: keras.Model) -> tuple[keras.layers.Dense, Any]:
    """The dense layer that gives the logits, and the symbolic features that it takes.

    Raises:
        DefenseError: another layer gives them, or its own activation, or the model is a subclass
            that doesn't tell.
    """
    outputs = getattr(model, "outputs", None) or [None]
    # A layer may be part of several models: what it takes in this one, its output knows.
    history = getattr(outputs[0], "_keras_history", None)
    if history is None or not isinstance(history.operation, keras.layers.Dense):
        raise DefenseError(
            "read-outs take the input of the model's last dense layer, and it can't be told here; "
            "give a Sequential or functional model that ends in keras.layers.Dense"
        )
    layer = history.operation
    if layer.activation is not keras.activations.linear:
        name = getattr(layer.activation, "__name__", type(layer.activation).__name__)  # or a layer
        raise DefenseError(
            "read-outs take the input of the model's last dense layer, and what that gives is "
            f"changed by its activation {name}; leave the "
            "activation of the last keras.layers.Dense out"
        )
    return layer, layer._inbound_nodes[history.node_index].input_tensors[0]


class Body:
    """A kernel's model as the features that heads are read out of; its weights are the kernel's."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.layer, features = last_dense(kernel.model)
        self.body = keras.Model(kernel.model.inputs, features)
        self._features = tf.function(self.graph_features, reduce_retracing=True)
        self._attacks: dict[tuple[Ascent, bool], Callable[..., Tensor]] = {}
        self._descend = tf.function(self._graph_descend, reduce_retracing=True)

    def graph_features(self, x: Tensor, *, training: bool = False) -> Tensor:
        """(n, d), in the type that is computed with."""
        return tf.cast(self.body(x, training=training), self.kernel.dtype)

    def features(self, x: np.ndarray) -> np.ndarray:
        """Of NHWC or (n, d) inputs, in evaluation mode, (n, d)."""
        return np.asarray(self._features(self.kernel.images(x)).numpy())

    def attack(
        self,
        x: np.ndarray,
        y: np.ndarray,
        start: np.ndarray,
        heads: Heads,
        *,
        eps: float,
        ascent: Ascent,
    ) -> np.ndarray:
        """Adversarial examples of inputs through their episodes' heads, as many for each head."""
        key = ascent, heads.unit
        if key not in self._attacks:
            attack = functools.partial(self._graph_attack, ascent=ascent, is_unit=heads.unit)
            self._attacks[key] = tf.function(attack, reduce_retracing=True)
        kernel = self.kernel
        tensors = kernel.images(x), kernel.labels(y), kernel.images(start)
        head = kernel.images(heads.weights), kernel.images(heads.biases)
        return np.asarray(self._attacks[key](*tensors, *head, kernel.scalar(eps)).numpy())

    def _graph_attack(
        self,
        x: Tensor,
        y: Tensor,
        start: Tensor,
        weights: Tensor,
        biases: Tensor,
        eps: Tensor,
        *,
        ascent: Ascent,
        is_unit: bool,
    ) -> Tensor:
        def logits(images: Tensor) -> Tensor:
            features = self.graph_features(images)
            rows = unit(features) if is_unit else features
            count, width = tf.shape(weights)[0], weights.shape[1]
            found = tf.reshape(rows, (count, -1, width)) @ weights + biases[:, None]
            return tf.reshape(found, (-1, tf.shape(weights)[2]))  # ways may differ between calls

        return perturb(logits, x, y, start, eps=eps, ascent=ascent)

    def descend(self, x: np.ndarray, y: np.ndarray, ways: int, *, steps: int, rate: float) -> Heads:
        """Moves all weights in place, and a new head from zero, down the mean loss of `x`."""
        kernel = self.kernel
        width = self.layer.kernel.shape[0]
        head = [kernel.images(np.zeros(shape)) for shape in ((width, ways), ways)]
        tensors = kernel.images(x), kernel.labels(y), *head
        weight, bias = self._descend(*tensors, tf.constant(steps), kernel.scalar(rate))
        return Heads(weight.numpy()[None], bias.numpy()[None], unit=False)

    def _graph_descend(
        self, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, steps: Tensor, rate: Tensor
    ) -> tuple[Tensor, Tensor]:
        kernel = self.kernel
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                tape.watch([weight, bias])
                loss = cross_entropy(self.graph_features(x) @ weight + bias, y)
                loss = kernel.call.penalised(loss)
            *body, of_weight, of_bias = kernel.gradients(
                tape, loss, [*kernel.parameters, weight, bias]
            )
            for variable, gradient in zip(kernel.parameters, body, strict=True):
                variable.assign_sub(rate * gradient)
            kernel.call.constrain()
            weight, bias = weight - rate * of_weight, bias - rate * of_bias
        return weight, bias

    def own(self, ways: int) -> Heads:
        """The model's own last layer, of its first classes."""
        weight = np.asarray(self.layer.kernel)[:, :ways]
        bias = np.asarray(self.layer.bias)[:ways] if self.layer.use_bias else np.zeros(ways)
        return Heads(weight[None], bias[None], unit=False)

    def put(self, heads: Heads) -> None:
        """Make the first of the heads the model's last layer.

        It answers as the head does on unit features, which differ from features in length alone.
        """
        self.layer.kernel.assign(heads.weights[0])
        if self.layer.use_bias:
            self.layer.bias.assign(heads.biases[0])

    @property
    def classes(self) -> int:
        """Outputs of the model."""
        return int(self.layer.units)

    def with_head(self, heads: Heads) -> Any:
        """The body under the first of the heads, as a model that gives its logits."""
        ways = heads.weights.shape[-1]
        features = self.body.output
        if heads.unit:
            features = keras.layers.Lambda(unit, dtype=self.layer.dtype_policy)(features)
        dense = keras.layers.Dense(ways, dtype=self.layer.dtype_policy)
        model = keras.Model(self.body.inputs, dense(features))
        dense.set_weights([heads.weights[0], heads.biases[0]])
        return model
