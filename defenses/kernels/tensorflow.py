"""The TensorFlow half of every kernel: tensors, optimiser, state, adaptation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from defenses.adaptation.spec import Adaptation
from defenses.conventions.tensorflow import Caller, copied
from defenses.kernel import Arrays
from defenses.kernels.tensorflow_optimizers import OPTIMIZERS, Adam, Sgd
from defenses.perturbation.spec import Ascent
from defenses.perturbation.tensorflow import perturb
from defenses.saved import unfit

if TYPE_CHECKING:
    from defenses.defense import Defense

PREDICT_BATCH = 250

_WEIGHTS = "model.weights.h5"


class Kernel:
    """Holds a Keras model that takes NHWC (or (n, d)) and gives logits; a subclass adds `step`."""

    def __init__(self, model: keras.Model, defense: Defense) -> None:
        self.model = model
        self.defense = defense
        self.call = Caller(model)
        self.parameters = self.call.parameters
        self.dtype = self.call.dtype
        # By name; a subclass may add others.
        self.optimizers = {"optimizer": make_optimizer(defense, self.parameters)}
        # What the defense averages: weights, and the statistics that belong to them.
        others = [variable.value for variable in model.non_trainable_variables]
        running = [value for value in others if value.dtype.is_floating]
        self.averaged = [*self.parameters, *running] if defense.weight_averaging else []
        self.averages = [tf.Variable(value) for value in self.averaged]
        self._average = tf.function(self._graph_average)
        self._attacks: dict[Ascent, Callable[..., tf.Tensor]] = {}
        # Traced once each: the shapes of a training's batches never change.
        self.compiled_step: Callable[..., tf.Tensor] = tf.function(self.graph_step)
        self._logits = tf.function(self.logits, reduce_retracing=True)
        self._descend = tf.function(self._graph_descend, reduce_retracing=True)
        self._input_gradient = tf.function(self._graph_input_gradient, reduce_retracing=True)

    def graph_step(self, *tensors: tf.Tensor) -> tf.Tensor:
        """The update as a graph; a subclass writes it."""
        raise NotImplementedError

    def images(self, x: np.ndarray) -> tf.Tensor:
        """Inputs in the model's floating-point type."""
        return tf.cast(tf.convert_to_tensor(x), self.dtype)

    def labels(self, y: np.ndarray) -> tf.Tensor:
        """Labels as a tensor."""
        return tf.convert_to_tensor(y)

    def scalar(self, value: float) -> tf.Tensor:
        """A number as a tensor: a Python number would be traced anew for each value."""
        return tf.constant(value, self.dtype)

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """The model in evaluation mode."""
        return self.call(x, training=False)

    def training_logits(self, x: tf.Tensor) -> tf.Tensor:
        """The model in training mode; the running statistics of its normalisation move."""
        return self.call(x, training=True)

    def gradients(
        self, tape: tf.GradientTape, loss: tf.Tensor, weights: Sequence[Any] | None = None
    ) -> list[tf.Tensor]:
        """Of the loss by `weights`, by default the parameters; zeros where it doesn't use one."""
        weights = self.parameters if weights is None else weights
        found = tape.gradient(loss, weights, unconnected_gradients="zero")
        # An embedding's gradient tells of the rows that were looked up alone
        return [tf.convert_to_tensor(gradient) for gradient in found]

    def update(
        self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor, name: str = "optimizer"
    ) -> None:
        """One step of an optimiser."""
        self.optimizers[name].apply(gradients, learning_rate)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits in evaluation mode, (n, classes)."""
        batches = [
            self._logits(self.images(x[first : first + PREDICT_BATCH])).numpy()
            for first in range(0, len(x), PREDICT_BATCH)
        ]
        return np.concatenate(batches)

    def attack(
        self, x: np.ndarray, y: np.ndarray, start: np.ndarray, *, eps: float, ascent: Ascent
    ) -> np.ndarray:
        """Adversarial examples of the model in evaluation mode; shape of `x`."""
        if ascent not in self._attacks:
            attack = functools.partial(perturb, self.logits, ascent=ascent)
            self._attacks[ascent] = tf.function(attack, reduce_retracing=True)
        found = []
        for first in range(0, len(x), PREDICT_BATCH):
            part = slice(first, first + PREDICT_BATCH)
            images, labels = self.images(x[part]), self.labels(y[part])
            x_adv = self._attacks[ascent](
                images, labels, self.images(start[part]), eps=self.scalar(eps)
            )
            found.append(x_adv.numpy())
        return np.concatenate(found)

    def input_gradient(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The gradient of each example's loss with respect to itself; shape of `x`."""
        return self._input_gradient(self.images(x), self.labels(y)).numpy()

    def _graph_input_gradient(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, self.logits(x))
        return tape.gradient(loss, x)

    def average(self, decay: float) -> None:
        """Move averaged weights and running statistics to the current ones by 1 - `decay`."""
        self._average(self.scalar(1 - decay))

    def _graph_average(self, share: tf.Tensor) -> None:
        for value, average in zip(self.averaged, self.averages, strict=True):
            average.assign_add(tf.cast(share, average.dtype) * (value - average))

    def swap_average(self) -> None:
        """Exchange the model's weights and running statistics with the averaged ones."""
        for value, average in zip(self.averaged, self.averages, strict=True):
            current = tf.identity(value)
            value.assign(average)
            average.assign(current)

    def adapt(
        self, x: np.ndarray, y: np.ndarray, start: np.ndarray, *, eps: float, adaptation: Adaptation
    ) -> None:
        """Adapt the weights in place; the steps are those of `adaptation.spec`."""
        # Step 1
        x_adv = self.attack(x, y, start, eps=eps, ascent=adaptation.ascent)
        # Step 2
        self.descend(x_adv, y, steps=adaptation.steps, rate=adaptation.rate)

    def descend(self, x: np.ndarray, y: np.ndarray, *, steps: int, rate: float) -> None:
        """Plain gradient descent on the mean loss of `x` as they are, in place."""
        rates = tf.constant([rate * factor for factor in self.rate_factors()], self.dtype)
        self._descend(self.images(x), self.labels(y), tf.constant(steps), rates)

    def _graph_descend(
        self, x: tf.Tensor, y: tf.Tensor, steps: tf.Tensor, rates: tf.Tensor
    ) -> None:
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                loss = self.call.penalised(cross_entropy(self.logits(x), y))
            gradients = self.gradients(tape, loss)
            for index, gradient in enumerate(gradients):
                self.parameters[index].assign_sub(rates[index] * gradient)

    def rate_factors(self) -> list[float]:
        """By how much each parameter's rate differs from the given one; a subclass may learn it."""
        return [1.0] * len(self.parameters)

    def learned(self) -> dict[str, list[float]]:
        """What was learned beside the weights, by name."""
        return {}

    def load_learned(self, learned: Mapping[str, list[float]]) -> None:
        """Take up what `learned` returned."""

    def weights(self) -> dict[str, np.ndarray]:
        """The model's weights and other variables, by name."""
        return _numbered(self.model.variables)

    def load_weights(self, weights: Arrays) -> None:
        """Take up what `weights` returned."""
        for index, variable in enumerate(self.model.variables):
            variable.assign(weights[str(index)])

    def save_weights(self, folder: Path) -> None:
        """Write the model's weights and other variables to a file in `folder`."""
        self.model.save_weights(folder / _WEIGHTS)

    def read_weights(self, folder: Path) -> None:
        """Take up what `save_weights` wrote; DefenseError where it isn't there or doesn't fit."""
        try:
            self.model.load_weights(folder / _WEIGHTS)
        except (OSError, ValueError, KeyError) as error:
            raise unfit(folder / _WEIGHTS, error) from error

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on: weights, averages, optimiser; by name."""
        state = {f"model/{name}": value for name, value in self.weights().items()}
        for part, variables in self._beside_the_weights().items():
            state |= {f"{part}/{name}": value for name, value in _numbered(variables).items()}
        return state

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        parts = {"model": self.model.variables, **self._beside_the_weights()}
        for part, variables in parts.items():
            for index, variable in enumerate(variables):
                variable.assign(state[f"{part}/{index}"])

    def copy(self) -> Kernel:
        """An independent kernel with the same weights and a fresh optimiser."""
        other = type(self)(copied(self.model), self.defense)
        other.load_learned(self.learned())
        return other

    def _beside_the_weights(self) -> dict[str, Sequence[tf.Variable]]:
        optimizers = {name: value.variables for name, value in self.optimizers.items()}
        return {"average": self.averages, **optimizers}


def make_optimizer(defense: Defense, parameters: Sequence[tf.Variable]) -> Adam | Sgd:
    """The optimiser that the defense names."""
    return OPTIMIZERS[defense.optimizer](parameters, weight_decay=defense.weight_decay)


def _numbered(variables: Sequence[Any]) -> dict[str, np.ndarray]:
    return {str(index): value.numpy() for index, value in enumerate(variables)}


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The mean over the batch."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def sum_of(gradients: Sequence[Any], others: Sequence[Any]) -> list[tf.Tensor]:
    """Two lists of gradients, added entry by entry."""
    return [one + other for one, other in zip(gradients, others, strict=True)]
