"""The TensorFlow half of every kernel: tensors, optimiser, state, adaptation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow import Tensor

from defenses import kernel
from defenses.conventions.tensorflow import Caller, copied, lowered_layers
from defenses.kernel import Arrays
from defenses.kernels.tensorflow_optimizers import Adam, Sgd
from defenses.perturbation.spec import Ascent
from defenses.perturbation.tensorflow import own_graph, perturb
from defenses.resident import tensorflow as resident
from defenses.resident.spec import Rows
from defenses.saved import unfit
from defenses.states import Parts, numbered

if TYPE_CHECKING:
    from defenses.defense import Defense

_WEIGHTS = "model.weights.h5"

Batch = Mapping[str, Tensor]


class Kernel(kernel.Kernel):
    """Holds a Keras model that takes NHWC (or (n, d)); a subclass adds `train_on`.

    What is not documented here is documented there.
    """

    def __init__(self, model: keras.Model, defense: Defense) -> None:
        self.model = model
        self.defense = defense
        self.call = Caller(model)
        self.parameters = self.call.parameters
        self.dtype = self.call.dtype
        # What the defense averages: weights, and the statistics that belong to them.
        others = [variable.value for variable in model.non_trainable_variables]
        running = [value for value in others if value.dtype.is_floating]
        self.averaged = [*self.parameters, *running] if defense.weight_averaging else []
        self.averages = [tf.Variable(value) for value in self.averaged]
        self.beside = Parts(average=Variables(self.averages))
        self.optimizers: dict[str, Adam | Sgd] = {}
        self.optimized: dict[str, Sequence[tf.Variable]] = {}
        self.add_optimizer("optimizer", self.parameters)
        self._average = tf.function(self._graph_average)
        self._attacks: dict[Ascent, Callable[..., Tensor]] = {}
        self._logits = tf.function(self.logits, reduce_retracing=True)
        # One for each number of arguments, which is what TensorFlow can't generalise over
        self._descend, self._descend_near = (
            tf.function(self._graph_descend, reduce_retracing=True) for _ in range(2)
        )
        self._input_gradient = tf.function(self._graph_input_gradient, reduce_retracing=True)

    def add_optimizer(self, name: str, parameters: Sequence[tf.Variable]) -> None:
        """The optimiser that the defense names, for these parameters."""
        defense = self.defense
        self.optimized[name] = parameters
        decays = [defense.decay_of(len(value.shape)) for value in parameters]
        if defense.optimizer == "sgd":
            self.optimizers[name] = Sgd(parameters, decays, nesterov=defense.nesterov)
        else:
            self.optimizers[name] = Adam(parameters, decays)
        self.beside[name] = Variables(self.optimizers[name].variables)

    @functools.cached_property
    def compiled_step(self) -> Callable[..., Any]:
        """`train_on`, traced once: the shapes of a training's batches never change."""
        return tf.function(self.train_on)

    def run(self, draws: Arrays, learning_rate: float, eps: float, *chosen: Any) -> Any:
        """`train_on` tensors of these draws, compiled."""
        rates = self.scalar(learning_rate), self.scalar(eps)
        return self.compiled_step(self.tensors(draws), *rates, *chosen)

    @contextmanager
    def in_bfloat16(self) -> Iterator[None]:
        # An update is traced when it first runs, and layers then look at their policies
        changed = [(layer, layer.dtype_policy) for layer in lowered_layers(self.model)]
        for layer, _ in changed:
            layer.dtype_policy = "mixed_bfloat16"
        try:
            yield
        finally:
            for layer, policy in changed:
                layer.dtype_policy = policy

    def room(self) -> int:
        # TensorFlow doesn't tell what is free
        return 2**30 if tf.config.list_logical_devices("GPU") else 0

    def upload(self, chunks: Iterator[np.ndarray]) -> Tensor:
        return resident.upload(chunks)

    def images(self, x: np.ndarray | Rows) -> Tensor:
        """Inputs in the model's floating-point type."""
        if isinstance(x, Rows):
            moves = [tf.convert_to_tensor(value) for value in x.moves or ()]
            found = resident.taken(x.held.tensor, tf.convert_to_tensor(x.index), moves)
            return tf.cast(found, self.dtype)
        return tf.cast(tf.convert_to_tensor(x), self.dtype)

    def labels(self, y: np.ndarray) -> Tensor:
        """Labels as a tensor."""
        return tf.convert_to_tensor(y)

    def scalar(self, value: float) -> Tensor:
        """A number as a tensor: a Python number would be traced anew for each value."""
        return tf.constant(value, self.dtype)

    def logits(self, x: Tensor) -> Tensor:
        """The model in evaluation mode."""
        return self.call(x, training=False)

    def losses(self, x: Tensor, y: Tensor) -> Tensor:
        """Each example's loss in evaluation mode, (n,)."""
        return tf.nn.sparse_softmax_cross_entropy_with_logits(y, self.logits(x))

    def training_logits(self, x: Tensor) -> Tensor:
        """The model in training mode; the running statistics of its normalisation move."""
        return self.call(x, training=True)

    def perturbed(
        self, x: Tensor, y: Tensor, start: Tensor, *, eps: Tensor, ascent: Ascent
    ) -> Tensor:
        """Adversarial examples of the model in evaluation mode, detached; shape of `x`."""
        return perturb(self.logits, x, y, start, eps=eps, ascent=ascent)

    def minimise(self, loss_of: Callable[[], Tensor], learning_rate: Tensor) -> Tensor:
        """One update down the gradient of a loss; gives the loss before it."""
        with tf.GradientTape() as tape:
            loss = self.call.penalised(loss_of())
        self.update(self.gradients(tape, loss), learning_rate)
        return loss

    def gradients(
        self, tape: tf.GradientTape, loss: Tensor, weights: Sequence[Any] | None = None
    ) -> list[Tensor]:
        """Of the loss by `weights`, by default the parameters; zeros where it doesn't use one."""
        weights = self.parameters if weights is None else weights
        found = tape.gradient(loss, weights, unconnected_gradients="zero")
        # An embedding's gradient tells of the rows that were looked up alone
        return [tf.convert_to_tensor(gradient) for gradient in found]

    def update(
        self, gradients: Sequence[Tensor], learning_rate: Tensor, name: str = "optimizer"
    ) -> None:
        """One step of an optimiser, and back to where the model's constraints have its weights."""
        if clipping := self.defense.gradient_clipping:
            norm = tf.linalg.global_norm(gradients)
            share = tf.minimum(clipping / (norm + 1e-6), tf.ones_like(norm))
            gradients = [share * gradient for gradient in gradients]
        self.optimizers[name].apply(gradients, learning_rate)
        if self.optimized[name] is self.parameters:
            self.call.constrain()

    def _outputs(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._logits(self.images(x)).numpy())

    def _attack(
        self,
        x: np.ndarray,
        y: np.ndarray,
        start: np.ndarray,
        *,
        eps: float,
        ascent: Ascent,
        scale: float,
    ) -> np.ndarray:
        if ascent not in self._attacks:
            attack = functools.partial(self._graph_attack, ascent=ascent)
            self._attacks[ascent] = tf.function(attack, reduce_retracing=True)
        tensors = self.images(x), self.labels(y), self.images(start)
        settings = self.scalar(eps), self.scalar(scale)
        return np.asarray(self._attacks[ascent](*tensors, *settings).numpy())

    def _graph_attack(
        self, x: Tensor, y: Tensor, start: Tensor, eps: Tensor, scale: Tensor, *, ascent: Ascent
    ) -> Tensor:
        return perturb(lambda x: scale * self.logits(x), x, y, start, eps=eps, ascent=ascent)

    def input_gradient(self, x: np.ndarray, y: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
        found = self._input_gradient(self.images(x), self.labels(y), self.scalar(scale))
        return np.asarray(found.numpy())

    def _graph_input_gradient(self, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = scale * self.logits(x)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        return tape.gradient(losses, x)

    def average(self, decay: float) -> None:
        self._average(self.scalar(1 - decay))

    def _graph_average(self, share: Tensor) -> None:
        for value, average in zip(self.averaged, self.averages, strict=True):
            average.assign_add(tf.cast(share, average.dtype) * (value - average))

    def swap_average(self) -> None:
        for value, average in zip(self.averaged, self.averages, strict=True):
            current = tf.identity(value)
            value.assign(average)
            average.assign(current)

    def descend(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        steps: int,
        rate: float,
        clean: np.ndarray | None = None,
        distance_weight: float = 0.0,
    ) -> None:
        rates = tf.constant([rate * factor for factor in self.rate_factors()], self.dtype)
        whole = self.images(x), self.labels(y), tf.constant(steps), rates
        if clean is None:
            self._descend(*whole)
        else:
            self._descend_near(*whole, self.images(clean), self.scalar(distance_weight))

    def _graph_descend(
        self, x: Tensor, y: Tensor, steps: Tensor, rates: Tensor, *near: Tensor
    ) -> None:
        gradients_at = own_graph(self._gradients_at)
        for _ in tf.range(steps):
            for index, gradient in enumerate(gradients_at(x, y, *near)):
                self.parameters[index].assign_sub(rates[index] * gradient)
            self.call.constrain()

    def _gradients_at(self, x: Tensor, y: Tensor, *near: Tensor) -> list[Tensor]:
        with tf.GradientTape() as tape:
            logits = self.logits(x)
            loss = cross_entropy(logits, y)
            if near:
                clean, weight = near
                distances = tf.reduce_sum(tf.square(logits - self.logits(clean)), axis=1)
                loss += weight * tf.reduce_mean(distances)
            loss = self.call.penalised(loss)
        return self.gradients(tape, loss)

    def weights(self) -> dict[str, np.ndarray]:
        return Variables(self.model.variables).state()

    def load_weights(self, weights: Arrays) -> None:
        Variables(self.model.variables).load_state(weights)

    def save_weights(self, folder: Path) -> None:
        self.model.save_weights(folder / _WEIGHTS)

    def read_weights(self, folder: Path) -> None:
        try:
            self.model.load_weights(folder / _WEIGHTS)
        except (OSError, ValueError, KeyError) as error:
            raise unfit(folder / _WEIGHTS, error) from error

    def copy(self) -> Kernel:
        other = type(self)(copied(self.model), self.defense)
        other.load_learned(self.learned())
        return other


class Variables:
    """Variables that a checkpoint keeps, by their place."""

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = variables

    def state(self) -> dict[str, np.ndarray]:
        """All of them."""
        return numbered([value.numpy() for value in self._variables])

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        for index, variable in enumerate(self._variables):
            variable.assign(state[str(index)])


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over the batch."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def sum_of(gradients: Sequence[Any], others: Sequence[Any]) -> list[Tensor]:
    """Two lists of gradients, added entry by entry."""
    return [one + other for one, other in zip(gradients, others, strict=True)]
