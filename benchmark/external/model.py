"""What a user gives of a model: its name, where it comes from, and what it takes and gives."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import defenses
from benchmark import models
from benchmark.errors import ConfigError, ModelError, UnknownName
from benchmark.external import zoo
from benchmark.external.published import Published
from benchmark.results.files import Record

CHANNELS = ("first", "last")
OUTPUTS = ("auto", "logits", "probabilities", "sigmoids")

# A file's ending to the framework that reads it. The others are of no framework.
SUFFIXES: Mapping[str, str] = {
    ".safetensors": "torch",
    ".pt": "torch",
    ".pth": "torch",
    ".bin": "torch",
    ".ckpt": "torch",
    ".tar": "torch",
    ".model": "torch",
    ".keras": "tensorflow",
    ".h5": "tensorflow",
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_TWO_DOTS = re.compile(r"(?<!\.)\.\.(?!\.)")  # of three it is unknown which belong to a number
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class ExternalModel:
    """A model as a user gives it.

    Args:
        name: stands where a trained cell has its defense.
        model: a built-in architecture such as "wrn-16-2(norm=group)", "package.module:builder",
            "file.py:builder", or None for a `.keras` file, which holds its architecture.
        weights: a weights file, or None where the builder loads its own.
        channels: "first" or "last" as the model takes images; None for its framework's custom.
        mean: subtracted from the pixels, one number or one a channel; empty for none.
        std: what they are divided by then.
        outputs: "logits", "probabilities", "sigmoids" (one a class) or "auto".
        input_range: what pixels in [0, 1] are scaled to before `mean` and `std`; empty for none.
        published: of its robust accuracy under this threat.
    """

    name: str
    model: str | None = None
    weights: str | None = None
    channels: str | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    outputs: str = "auto"
    input_range: tuple[float, ...] = ()
    published: Published | None = None

    @property
    def builder(self) -> str | None:
        """The code that builds the model, where that is not a built-in architecture."""
        return self.model if self.model and ":" in self.model else None

    @property
    def architecture(self) -> str:
        """What reports call the model: the architecture, the builder's or the file's name."""
        if self.model is None:
            return slug(Path(self.weights or "").stem)
        if zoo.is_of_zoo(self.model):
            return slug(self.model.rpartition("/")[2])
        return slug((self.builder or models.canonical(self.model)).rpartition(":")[2])

    @property
    def framework(self) -> str | None:
        """The framework that the weights file belongs to; None where there is none."""
        return SUFFIXES.get(Path(self.weights).suffix.lower()) if self.weights else None


def check(external: ExternalModel) -> None:
    """Raises `BenchError` for what can be told without reading the files or running any code."""
    check_name(external.name)
    for option, value, allowed in (
        ("channels", external.channels, CHANNELS),
        ("outputs", external.outputs, OUTPUTS),
    ):
        if value is not None and value not in allowed:
            raise UnknownName(option, value, allowed)
    if any(number <= 0 for number in external.std):
        raise ConfigError(f"--std {external.std} must be above 0")
    _check_ending(external)
    _check_model(external)
    if external.weights is not None and not Path(external.weights).is_file():
        raise ModelError(f"no weights file at {external.weights}; check the path")


def check_name(name: str) -> None:
    """Raises `ConfigError` for what can't stand where trained models have their defense."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"--name {name!r} may hold letters, digits, '.', '_' and '-' only, 40 at most"
        )
    if name in (*defenses.names(), "all"):
        raise ConfigError(
            f"--name {name!r} is a defense of this project; give the model another name"
        )


def named(model: str | None, weights: str | None) -> str:
    """The name of a model that was given none: that of its weights file, or of its builder."""
    text = Path(weights).name.partition(".")[0] if weights else (model or "").rpartition(":")[2]
    return slug(text)[:40] or "given"


def slug(text: str) -> str:
    """The text in characters that are safe in a folder's name."""
    return _UNSAFE.sub("-", text).strip("-._") or "model"


def digest(path: Path) -> str:
    """The SHA-256 of a file; raises `ModelError` if it can't be read."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"can't read {path}: {error.strerror or error}; check the path") from error


def numbers(text: str | None, option: str) -> tuple[float, ...]:
    """The numbers of a text such as "0.49,0.48,0.45" or "1/255"; empty for None."""
    if text is None:
        return ()
    found = tuple(_number(part) for part in text.split(","))
    if not all(map(math.isfinite, found)):
        raise ConfigError(f"--{option} {text!r}: give numbers such as 0.5, 1/255 or 0.49,0.48,0.45")
    return found


def interval(text: str | None) -> tuple[float, ...]:
    """The ends of a text such as "0..255" or "-1..1"; empty for None."""
    if text is None:
        return ()
    found = tuple(_number(part) for part in _TWO_DOTS.split(text))
    if len(found) != 2 or not all(map(math.isfinite, found)) or found[0] >= found[1]:
        raise ConfigError(
            f"--input-range {text!r}: give the least and the greatest pixel, as 0..255 or -1..1"
        )
    return found


def _number(text: str) -> float:
    """A number or a fraction; NaN for anything else."""
    over, slash, under = text.partition("/")
    try:
        return float(over) / (float(under) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        return math.nan


def source(
    external: ExternalModel, *, framework: str, outputs: str, builder_sha256: str | None
) -> Record:
    """What the cell's configuration says of the model, so that equal ids mean equal models."""
    return {
        "architecture": None if external.builder else _canonical(external.model),
        "builder": _portable(external.builder),
        "builder_sha256": builder_sha256,
        "weights": Path(external.weights).name if external.weights else None,
        "weights_sha256": digest(Path(external.weights)) if external.weights else None,
        "channels": external.channels or default_channels(framework),
        "mean": list(external.mean),
        "std": list(external.std),
        "outputs": outputs,
        # Only where it was given, so that the ids of models without it stay.
        **({"input_range": list(external.input_range)} if external.input_range else {}),
    }


def from_source(name: str, found: Mapping[str, Any], weights: str | None) -> ExternalModel:
    """The inverse of `source`, with the weights where they are now."""
    return ExternalModel(
        name=name,
        model=found["architecture"] or found["builder"],
        weights=weights,
        channels=found["channels"],
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
        outputs=found["outputs"],
        input_range=tuple(found.get("input_range", ())),
    )


def _canonical(architecture: str | None) -> str | None:
    return None if architecture is None else models.canonical(architecture)


def default_channels(framework: str) -> str:
    """Where a framework's models have the channels unless told otherwise."""
    return "first" if framework == "torch" else "last"


def _portable(builder: str | None) -> str | None:
    """The builder without the folder of its file: the file's hash stands beside it."""
    if builder is None:
        return None
    place, _, function = builder.rpartition(":")
    return f"{Path(place).name if place.endswith('.py') else place}:{function}"


def _check_model(external: ExternalModel) -> None:
    if external.model is None:
        if external.weights is None:
            raise ConfigError("no model given; give --weights FILE, --model NAME, or both")
        if not external.weights.lower().endswith(".keras"):
            names = ", ".join(models.names())
            if external.framework == "tensorflow":
                raise ConfigError(
                    f"--weights {external.weights}: of an .h5 file the arrays alone are read; save "
                    f"the whole model as .keras, or name its architecture with --model: one of "
                    f"{names}, or package.module:builder, or file.py:builder"
                )
            raise ConfigError(
                f"--weights {external.weights} holds no architecture; name it with --model: one of "
                f"{names}, or package.module:builder, or file.py:builder"
            )
    elif zoo.is_of_zoo(external.model):
        if external.weights is None:
            raise ConfigError(f"--model {external.model} needs its weights; give --weights FILE")
    elif external.builder:
        place, _, function = external.builder.rpartition(":")
        if not place or not function.isidentifier():
            raise ConfigError(
                f"--model {external.model!r} names no builder; write package.module:builder or "
                "file.py:builder"
            )
    elif external.model.endswith(".py"):
        raise ConfigError(
            f"--model {external.model!r} names no builder; did you mean "
            f"{external.model + ':build'!r}?"
        )
    else:
        models.canonical(external.model)
        if external.weights is None:
            raise ConfigError(f"--model {external.model} needs its weights; give --weights FILE")


def _check_ending(external: ExternalModel) -> None:
    if external.weights is None:
        return
    suffix = Path(external.weights).suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(
            f"--weights {external.weights}: unknown ending {suffix!r}; allowed: "
            f"{', '.join(SUFFIXES)}"
        )
