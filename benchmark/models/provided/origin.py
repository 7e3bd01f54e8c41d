"""Where the model of a run comes from, and what can be told of that without loading a framework.

A library's model is named "library:name(parameter=value, ...)", and its parameters are numbers: no
name of a file and no address gets to the library, so that nothing is read or downloaded.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from benchmark import models
from benchmark.errors import ConfigError, ModelError, UnknownName, shortened
from benchmark.external.model import SUFFIXES, digest
from benchmark.models.entry import ModelEntry, distribution, entry
from benchmark.models.names import joined, parsed
from benchmark.paths import expanded


@dataclass(frozen=True)
class Library:
    """A library of models.

    Args:
        framework: of its models.
        package: that is imported, and that pip installs.
        description: one line.
        listing: what names its models, in Python.
    """

    framework: str
    package: str
    description: str
    listing: str


LIBRARIES: Mapping[str, Library] = {
    "torchvision": Library(
        "torch",
        "torchvision",
        "torchvision's, such as torchvision:resnet18",
        "torchvision.models.list_models(module=torchvision.models)",
    ),
    "timm": Library("torch", "timm", "timm's, such as timm:resnet18", "timm.list_models()"),
    "hf": Library(
        "torch",
        "transformers",
        "image classifiers of transformers, such as hf:vit",
        "transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    ),
    "keras": Library(
        "tensorflow",
        "keras",
        "keras.applications, such as keras:MobileNetV2",
        "dir(keras.applications)",
    ),
}


def check_name(library: str, name: str, names: Iterable[str]) -> None:
    """Raises `UnknownName` where a library has no such model."""
    names = list(names)
    if name not in names:
        raise UnknownName(f"{library} model", name, names, LIBRARIES[library].listing)


# What would load weights, or is told by the data.
_TAKEN = (
    *("weights", "weights_backbone", "pretrained", "pretrained_backbone", "checkpoint_path"),
    *("num_classes", "classes", "num_labels", "in_chans", "num_channels", "input_shape"),
)


@dataclass(frozen=True)
class Origin:
    """Where a model comes from.

    Args:
        model: a specified architecture, a library's model, one that another distribution
            contributes, or the builder on this machine.
        init: the file of weights that trainings start from; None for the seed's own.
        new_head: whether the layer that gives the logits keeps the seed's own all the same.
    """

    model: str
    init: str | None = None
    new_head: bool = False

    @property
    def library(self) -> Library | None:
        """Of a library's model."""
        prefix, colon, _ = self.model.partition(":")
        return LIBRARIES.get(prefix) if colon else None

    @property
    def entry(self) -> ModelEntry | None:
        """Of a model that another distribution contributes."""
        return entry(self.model)

    @property
    def builder(self) -> str | None:
        """The user's own code that builds it."""
        return self.model if ":" in self.model and self.library is None else None

    @property
    def framework(self) -> str | None:
        """The one framework that the model belongs to, where that is known beforehand."""
        if self.library is not None:
            return self.library.framework
        if self.entry is not None and len(self.entry.builders) == 1:
            return next(iter(self.entry.builders))
        if self.init is None or (models.is_specified(self.model) and _in_both(self.init)):
            return None
        return SUFFIXES[Path(self.init).suffix.lower()]

    @property
    def name(self) -> str:
        """What the cell calls the model: a builder without the folder of its file."""
        if self.builder is None:
            return self.model
        place, _, function = self.builder.rpartition(":")
        return f"{PurePath(place).name if place.endswith('.py') else place}:{function}"

    def record(self, builder_sha256: str | None) -> dict[str, Any] | None:
        """What a cell's configuration says beside the name, so that equal ids mean equal models."""
        found: dict[str, Any] = {}
        if self.builder is not None:
            found |= {"builder_sha256": builder_sha256}
        if (other := distribution(self.model)) is not None:
            found |= {"distribution": other}
        if self.init is not None:
            path = Path(self.init)
            found |= {"init": path.name, "init_sha256": digest(path)}
            found |= {"new_head": True} if self.new_head else {}
        return found or None


def origin_of(model: str, init: Path | None, *, new_head: bool = False) -> Origin:
    """The origin that the options name, checked as far as that needs no framework.

    Raises:
        ConfigError: no such model or parameter, or its package is not installed.
        ModelError: no such file.
    """
    if init is not None:
        if init.suffix.lower() not in SUFFIXES or init.suffix.lower() == ".keras":
            allowed = ", ".join(suffix for suffix in SUFFIXES if suffix != ".keras")
            raise ConfigError(f"--init {init}: unknown ending; allowed: {allowed}")
        if not init.is_file():
            raise ModelError(f"no weights file at {init}; check the path")
    start = (None if init is None else str(init.absolute()), new_head)
    prefix, colon, rest = model.strip().partition(":")
    if not colon and entry(prefix) is not None:
        return Origin(prefix, *start)
    if not colon:
        return Origin(models.canonical(model), *start)
    if prefix in LIBRARIES:
        return Origin(f"{prefix}:{_library_name(prefix, rest)}", *start)
    place, _, function = model.strip().rpartition(":")
    if not place or not function.isidentifier():
        raise UnknownName("model", model, [*models.names(), *(f"{one}:NAME" for one in LIBRARIES)])
    if place.endswith(".py"):
        place = str(expanded(place).absolute())
    return Origin(f"{place}:{function}", *start)


def _library_name(library: str, text: str) -> str:
    name, given = parsed(text)
    package = LIBRARIES[library].package
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"model '{library}:{name}' needs the package {package}, which is not installed; "
            f"pip install {package}"
        )
    for key, value in given.items():
        if key in _TAKEN:
            raise ConfigError(
                f"model '{library}:{name}': {key} is not allowed; classes and channels follow the "
                "data, and weights are given by --init FILE"
            )
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, bool | int | float) for part in parts):
            raise ConfigError(
                f"model '{library}:{name}': {key} must be a number, true or false, or a list of "
                f"numbers, got {shortened(value)}; write a builder for others (file.py:builder)"
            )
    return joined(name, given)


def _in_both(path: str) -> bool:
    """Whether the file of a specified architecture can be read into either framework's model."""
    return Path(path).suffix.lower() in (".safetensors", ".h5")
