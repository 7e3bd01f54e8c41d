"""What `fit` was given: the framework's model inside it, and the layout of its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from defenses.errors import DefenseError
from defenses.inputs import Inputs

# Where a class of each kind of model is defined, by the start of its module's name.
_ART_CLASSIFIERS = {
    "art.estimators.classification.pytorch": "torch",
    "art.estimators.classification.tensorflow": "tensorflow",
}
_MODELS = {"torch.nn": "torch", "keras.src": "tensorflow", "keras.models": "tensorflow"}


# What stands around a module, to the attribute that holds it.
_AROUND = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}


@dataclass(frozen=True)
class Subject:
    """A model to be trained.

    Args:
        framework: "torch" or "tensorflow".
        model: the `torch.nn.Module` or `keras.Model`; gives logits.
        channels_first: whether the user's arrays are NCHW, as ART's PyTorch users have them.
    """

    framework: str
    model: Any
    channels_first: bool

    def channels_last(self, x: Any) -> Any:
        """The user's images as NHWC; anything else unchanged, and `Inputs`, which are so."""
        if self.channels_first and x.ndim == 4 and not isinstance(x, Inputs):
            return np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        return x


def recognise(model: Any) -> Subject:
    """The framework and the bare model of a module, a Keras model or an ART classifier.

    Of a module in `DataParallel` or from `torch.compile` it is the one inside, which shares its
    weights: derivatives of derivatives go through neither.

    Raises:
        DefenseError: another type, an ART classifier with preprocessing of its own (training
            would go round it), or a model that ends in a softmax.
    """
    origins = [base.__module__ for base in type(model).__mro__]
    for prefix, framework in _ART_CLASSIFIERS.items():
        if any(origin.startswith(prefix) for origin in origins):
            _refuse_preprocessing(model)
            bare = _inside(model.model)
            _refuse_softmax(bare)
            return Subject(framework, bare, bool(model.channels_first) and framework == "torch")
    for prefix, framework in _MODELS.items():
        if any(origin.startswith(prefix) for origin in origins):
            bare = _inside(model)
            _refuse_softmax(bare)
            return Subject(framework, bare, channels_first=False)
    raise DefenseError(
        f"can't train a {type(model).__module__}.{type(model).__name__}; allowed: torch.nn.Module, "
        "keras.Model, ART's PyTorchClassifier and TensorFlowV2Classifier"
    )


def _inside(model: Any) -> Any:
    """The module that a parallel or a compiled one stands for."""
    while attribute := _AROUND.get(type(model).__name__):
        if not hasattr(model, attribute):
            break
        model = getattr(model, attribute)
    return model


def _refuse_preprocessing(classifier: Any) -> None:
    if operations := preprocessing(classifier):
        raise DefenseError(
            f"the classifier preprocesses its input ({type(operations[0]).__name__}), and a budget "
            "means pixel scale; make the normalisation a layer of the model instead"
        )


def preprocessing(classifier: Any) -> list[Any]:
    """The preprocessing operations of an ART classifier that change its input."""
    operations = getattr(classifier, "preprocessing_operations", None) or []
    return [operation for operation in operations if not _is_identity(operation)]


def _is_identity(operation: Any) -> bool:
    mean, std = getattr(operation, "mean", None), getattr(operation, "std", None)
    return mean is not None and not np.any(mean) and bool(np.all(np.asarray(std) == 1))


def _refuse_softmax(model: Any) -> None:
    last = _last_layer(model)
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    if activation == "softmax" or type(last).__name__ in ("Softmax", "LogSoftmax"):
        raise DefenseError(
            "the model ends in a softmax, and the losses here need logits; remove its last layer"
        )


def _last_layer(model: Any) -> Any:
    """The layer that gives the output, where the order of the layers tells; else the model."""
    while {"Sequential", "Functional"} & {base.__name__ for base in type(model).__mro__}:
        layers = getattr(model, "layers", None) or list(getattr(model, "children", list)())
        if not layers:
            break
        model = layers[-1]
    return model
