"""Models of torchvision, timm and transformers, which take NCHW and give logits."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from benchmark.models.provided.origin import check_name
from benchmark.models.pytorch import Normalisation


class Logits(nn.Module):
    """A model of transformers whose output is its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, (n, classes)."""
        logits: torch.Tensor = self.model(x).logits
        return logits


def build(
    library: str,
    name: str,
    settings: Mapping[str, Any],
    input_shape: tuple[int, ...],
    classes: int,
) -> nn.Module:
    """The library's model without pretrained weights; raises `UnknownName` where it has none."""
    make = {"torchvision": _torchvision, "timm": _timm, "hf": _transformers}[library]
    return make(name, settings, input_shape, classes)


def normalised(
    model: nn.Module,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    input_shape: tuple[int, ...],
) -> nn.Module:
    """The model behind (x - mean) / std."""
    return nn.Sequential(OrderedDict(rescale=Normalisation(mean, std), model=model))


def _torchvision(
    name: str, settings: Mapping[str, Any], input_shape: tuple[int, ...], classes: int
) -> nn.Module:
    torchvision = importlib.import_module("torchvision.models")
    check_name("torchvision", name, torchvision.list_models(module=torchvision))
    model: nn.Module = torchvision.get_model(name, weights=None, num_classes=classes, **settings)
    return model


def _timm(
    name: str, settings: Mapping[str, Any], input_shape: tuple[int, ...], classes: int
) -> nn.Module:
    timm = importlib.import_module("timm")
    check_name("timm", name, timm.list_models())
    channels = input_shape[-1]
    model: nn.Module = timm.create_model(
        name, pretrained=False, num_classes=classes, in_chans=channels, **settings
    )
    return model


def _transformers(
    name: str, settings: Mapping[str, Any], input_shape: tuple[int, ...], classes: int
) -> nn.Module:
    transformers = importlib.import_module("transformers")
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    check_name("hf", name, list(auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES))
    shape = {"image_size": input_shape[0], "num_channels": input_shape[-1]}
    config = transformers.AutoConfig.for_model(name, num_labels=classes, **{**shape, **settings})
    return Logits(transformers.AutoModelForImageClassification.from_config(config))
