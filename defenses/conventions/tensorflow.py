"""How a `keras.Model` is called: in its own type, with what its layers ask for of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow import Tensor

from defenses.conventions.outputs import logits_in
from defenses.errors import DefenseError

Weights = Sequence[Any]


class Caller:
    """Calls a Keras model with NHWC or (n, d) inputs; gives logits in the type computed with.

    Layers of mixed precision compute as their policy says; losses and attacks are in the type of
    the weights.

    Args:
        model: built; raises DefenseError where nothing is left to train, or not as it is.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.parameters = [variable.value for variable in model.trainable_variables]
        if not self.parameters:
            raise DefenseError(
                "no weight of the model is trainable, so there is nothing to train; set "
                "model.trainable = True, or that of some layers"
            )
        self.dtype = self.parameters[0].dtype
        _refuse_low_precision(model)
        _refuse_other_losses(model)
        # None where a weight has no penalty, or no constraint
        self.regularizers, self.constraints = (
            [getattr(variable, kind, None) for variable in model.trainable_variables]
            for kind in ("regularizer", "constraint")
        )

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        """Logits (n, classes)."""
        return self._logits(self.model(x, training=training))

    def with_weights(
        self, weights: Weights, x: Tensor, *, training: bool
    ) -> tuple[Tensor, Weights]:
        """Logits with other values of the weights, and what the pass would make of the buffers."""
        buffers = self.model.non_trainable_variables
        values = zip(self.model.trainable_variables, weights, strict=True)
        # Not by `stateless_call`, which tells layers of the mode only if the model's `call` does
        with keras.StatelessScope([*values, *((v, v.value) for v in buffers)]) as scope:
            outputs = self.model(x, training=training)
        return self._logits(outputs), [scope.get_current_value(variable) for variable in buffers]

    def penalised(self, loss: Tensor, weights: Weights | None = None) -> Tensor:
        """The loss with the penalties of `kernel_regularizer` and the like, at these weights.

        Models without any have their loss unchanged, so that both frameworks take equal steps.
        """
        weights = self.parameters if weights is None else weights
        for regularizer, weight in zip(self.regularizers, weights, strict=True):
            if regularizer is not None:
                loss += tf.cast(regularizer(tf.convert_to_tensor(weight)), loss.dtype)
        return loss

    def constrain(self) -> None:
        """Put weights with a `kernel_constraint` or the like back to where it has them."""
        for constraint, weight in zip(self.constraints, self.parameters, strict=True):
            if constraint is not None:
                weight.assign(constraint(tf.convert_to_tensor(weight)))

    def _logits(self, outputs: Any) -> Tensor:
        return tf.cast(logits_in(outputs), self.dtype)


def prepare(model: keras.Model, x: np.ndarray) -> None:
    """Builds a model that has no weights yet, by one pass over NHWC or (n, d) inputs."""
    if keras.config.backend() != "tensorflow":
        raise DefenseError(
            f"Keras runs on {keras.config.backend()} here, and defenses train Keras models on "
            "TensorFlow; set KERAS_BACKEND=tensorflow before keras is imported"
        )
    if not model.built or any(not layer.built for layer in model._flatten_layers()):
        model(tf.constant(x), training=False)


def copied(model: keras.Model) -> keras.Model:
    """An independent model with the same weights.

    Raises:
        DefenseError: Keras can't make the model again.
    """
    try:
        made = keras.models.clone_model(model)
    except (TypeError, ValueError, NotImplementedError):
        made = _made_again(model)
    try:
        made.set_weights(model.get_weights())
    except ValueError as error:
        raise _no_copy(model) from error
    return made


def _made_again(model: keras.Model) -> keras.Model:
    """A subclass without arguments, as its author made it."""
    try:
        made = type(model)()
        made.build_from_config(model.get_build_config())
    except Exception as error:  # whatever the author's constructor does
        raise _no_copy(model) from error
    return made


def _no_copy(model: keras.Model) -> DefenseError:
    return DefenseError(
        f"adapting needs a copy of the model, and Keras can't make {type(model).__name__} again; "
        "give the class get_config() with the arguments of its constructor, or build it from "
        "Sequential or the functional interface"
    )


def refuse_layers(model: keras.Model, kinds: Any, name: str, reason: str) -> None:
    """DefenseError where the model has a layer of a class that the defense `name` can't train."""
    for layer in model._flatten_layers():
        if isinstance(layer, kinds):
            raise DefenseError(
                f"{name} can't train through layer {layer.name!r} ({type(layer).__name__}){reason}"
            )


def lowered_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Those that compute in float32 and may do so in bfloat16.

    A layer that says `full_precision`, as one that scales the input does, stays as it is.
    """
    return [
        layer
        for layer in model._flatten_layers()
        if not isinstance(layer, keras.Model)
        and not getattr(layer, "full_precision", False)
        and layer.compute_dtype == "float32"
    ]


def _refuse_low_precision(model: keras.Model) -> None:
    for variable in model.trainable_variables:
        if keras.backend.standardize_dtype(variable.dtype) in ("float16", "bfloat16"):
            raise DefenseError(
                f"weight {variable.path} is {variable.dtype}, whose updates underflow; train with "
                "the policy mixed_float16 or mixed_bfloat16, which keeps weights in float32"
            )


def _refuse_other_losses(model: keras.Model) -> None:
    for layer in model._flatten_layers():
        if getattr(layer, "activity_regularizer", None) is not None:
            raise DefenseError(
                f"layer {layer.name!r} has an activity_regularizer, which trainings here would "
                "leave out; remove it (kernel_regularizer and bias_regularizer are added)"
            )
