"""Ordinary models of many kinds: none of them may be flagged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import torch
from torch import nn

from benchmark import models
from benchmark.models import pytorch as torch_models
from benchmark.models import tensorflow as keras_models
from defenses import Threat, create

SHAPE, CLASSES = (8, 8, 1), 10
THREAT = Threat("linf", 0.15)


def built(architecture: str, framework: str = "torch") -> Any:
    """One of the project's own architectures, with its initial weights."""
    specification = models.specification(architecture, SHAPE, CLASSES)
    builder = torch_models if framework == "torch" else keras_models
    return builder.build(specification, specification.initial_weights(0))


def fitted(model: Any, data: Any, defense: str = "none", epochs: int = 20, **settings: Any) -> Any:
    """The model, trained by a defense."""
    trainer = create(defense, THREAT, settings)
    return trainer.fit(model, data.x_train, data.y_train, epochs=epochs, seed=0).model


def dense(width: int, activation: Callable[[], nn.Module], *, norm: Any = None) -> nn.Sequential:
    """A network of two hidden layers."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (64, width):
        layers += [nn.Linear(inputs, width), *([norm(width)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))


def convolutional(norm: Callable[[int], nn.Module]) -> nn.Sequential:
    """Two convolutions with a normalisation and the mean over places."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 16), (16, 32)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), norm(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(512, CLASSES))


class Attention(nn.Module):
    """A transformer on patches of 2 x 2 pixels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(1, 32, 2, stride=2)
        self.places = nn.Parameter(0.02 * torch.randn(1, 16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of NCHW images."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.places  # (n, 16, 32)
        return self.head(self.layers(tokens).mean(1))


def keras_convolutional() -> keras.Model:
    """Convolutions, batch normalisation and dropout, as Keras's users write them."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input(SHAPE)]
    for width in (16, 32):
        layers.append(keras.layers.Conv2D(width, 3, padding="same", use_bias=False))
        layers += [keras.layers.BatchNormalization(momentum=0.9), keras.layers.ReLU()]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.2)]
    return keras.Sequential([*layers, keras.layers.Dense(CLASSES)])


def keras_dense() -> keras.Model:
    """A functional model with GELU."""
    keras.utils.set_random_seed(0)
    x = keras.Input(SHAPE)
    z = keras.layers.Dense(64, activation="gelu")(keras.layers.Flatten()(x))
    return keras.Model(x, keras.layers.Dense(CLASSES)(z))


HONEST: dict[str, Callable[[Any], Any]] = {
    "mlp": lambda data: fitted(built("mlp"), data),
    "cnn-small": lambda data: fitted(built("cnn-small"), data),
    "cnn": lambda data: fitted(built("cnn"), data, epochs=10),
    "preact-resnet18(width=4)": lambda data: fitted(
        built("preact-resnet18(width=4)"), data, epochs=10
    ),
    "linear": lambda data: fitted(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), data),
    "tanh": lambda data: fitted(dense(64, nn.Tanh), data),
    "sigmoid": lambda data: fitted(dense(64, nn.Sigmoid), data, epochs=40),
    "GELU, layer norm": lambda data: fitted(dense(128, nn.GELU, norm=nn.LayerNorm), data),
    "batch norm": lambda data: fitted(convolutional(nn.BatchNorm2d), data),
    "group norm": lambda data: fitted(convolutional(lambda c: nn.GroupNorm(4, c)), data),
    "instance norm": lambda data: fitted(convolutional(nn.InstanceNorm2d), data),
    "transformer": lambda data: fitted(Attention(), data),
    "long training": lambda data: fitted(dense(256, nn.ReLU), data, epochs=150),
    "pgd-at": lambda data: fitted(built("mlp"), data, "pgd-at", 15),
    "pgd-at, cnn-small": lambda data: fitted(built("cnn-small"), data, "pgd-at", 15),
    "pgd-at, batch norm": lambda data: fitted(convolutional(nn.BatchNorm2d), data, "pgd-at", 15),
    "trades": lambda data: fitted(built("cnn-small"), data, "trades", 15),
    "fgsm-rs": lambda data: fitted(built("mlp"), data, "fgsm-rs", 15),
    "gaussian": lambda data: fitted(built("mlp"), data, "gaussian"),
    "Keras: mlp": lambda data: fitted(built("mlp", "tensorflow"), data),
    "Keras: pgd-at": lambda data: fitted(built("cnn-small", "tensorflow"), data, "pgd-at", 15),
    "Keras: batch norm": lambda data: fitted(keras_convolutional(), data, epochs=40),
    "Keras: GELU": lambda data: fitted(keras_dense(), data),
}
