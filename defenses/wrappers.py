"""Input and output defenses from ART that are attached to a trained defense: "pgd-at+jpeg".

The part before the first "+" is trained as it is alone; what follows works at prediction time
only. ART's own classes do the work, in both frameworks. Here stand their names, their arguments,
and what an adaptive attack must know: whether there is a gradient, and whether there is chance.
Importing this loads neither ART nor a framework.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from defenses.errors import DefenseError, did_you_mean
from defenses.parameters import check_number

SEPARATOR = "+"

# Gradients that an attack averages where the input defense is random.
DRAWS = 10

# The only training that can be given encoded inputs: it never moves a pixel.
_TRAINS_ON_ENCODED = "none"

Number = int | float


@dataclass(frozen=True)
class Argument:
    """An argument of ART's class: its default here, and its range, both ends allowed."""

    default: Number
    low: Number
    high: Number | None = None


@dataclass(frozen=True)
class Wrapper:
    """An input or output defense of ART.

    Args:
        target: "module:class".
        kind: "pre" for a defense of the input, "post" for one of the output; an output defense
            works on probabilities.
        description: one line.
        differentiable: whether its gradient is known; where it isn't, attacks go straight through
            it (BPDA, Athalye et al. 2018).
        random: whether it draws; attacks then average `draws` gradients (expectation over
            transformation, Athalye et al. 2018).
        arguments: name to `Argument`; what a user may set.
        fixed: arguments that the harness gives, with their values.
        draws: gradients that an attack averages.
        images_only: whether it needs (H, W, C) inputs.
        depth: the argument that multiplies the input's depth; empty where the depth stays.
        window: the argument that is a median filter's size; empty where there is none.
        feed: what ART's class is given at once: a whole "batch"; single "rows", where its answer
            for a row would depend on the others; or all entries in one "flat" row, where it would
            loop over the pixels in Python.
    """

    target: str
    kind: str
    description: str
    differentiable: bool
    random: bool = False
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    draws: int = 1
    images_only: bool = False
    depth: str = ""
    window: str = ""
    feed: str = "batch"


_BOX = {"clip_values": (0.0, 1.0)}

WRAPPERS: dict[str, Wrapper] = {
    "jpeg": Wrapper(
        target="art.defences.preprocessor:JpegCompression",
        kind="pre",
        description="JPEG compression of the input (Dziugaite et al. 2016)",
        differentiable=False,
        arguments={"quality": Argument(50, 1, 95)},
        fixed=_BOX,
        images_only=True,
    ),
    "feature-squeezing": Wrapper(
        target="art.defences.preprocessor:FeatureSqueezing",
        kind="pre",
        description="fewer grey levels (Xu et al. 2018)",
        differentiable=False,
        arguments={"bit_depth": Argument(3, 1, 16)},
        fixed=_BOX,
    ),
    "spatial-smoothing": Wrapper(
        target="art.defences.preprocessor:SpatialSmoothing",
        kind="pre",
        description="median over a window (Xu et al. 2018)",
        differentiable=True,
        arguments={"window_size": Argument(3, 1, 99)},
        fixed=_BOX,
        images_only=True,
        window="window_size",
    ),
    "thermometer": Wrapper(
        target="art.defences.preprocessor:ThermometerEncoding",
        kind="pre",
        description="thermometer encoding (Buckman et al. 2018); trains on the encoded input",
        differentiable=False,
        arguments={"num_space": Argument(10, 2, 100)},
        fixed=_BOX,
        images_only=True,
        depth="num_space",
        feed="flat",
    ),
    "total-variance": Wrapper(
        target="art.defences.preprocessor:TotalVarMin",
        kind="pre",
        description="total variance minimisation (Guo et al. 2018); slow: milliseconds an image",
        differentiable=False,
        random=True,
        arguments={
            "prob": Argument(0.5, 0, 1),
            "lamb": Argument(0.03, 0),
            "max_iter": Argument(10, 1),
        },
        fixed=_BOX,
        # Few, because ART minimises image by image in Python.
        draws=2,
        images_only=True,
    ),
    "gaussian-augmentation": Wrapper(
        target="art.defences.preprocessor:GaussianAugmentation",
        kind="pre",
        description="Gaussian noise on the input",
        differentiable=True,
        random=True,
        arguments={"sigma": Argument(0.1, 0)},
        fixed={**_BOX, "augmentation": False, "apply_fit": False, "apply_predict": True},
        draws=DRAWS,
    ),
    "high-confidence": Wrapper(
        target="art.defences.postprocessor:HighConfidence",
        kind="post",
        description="probabilities below a cutoff become 0",
        differentiable=False,
        arguments={"cutoff": Argument(0.25, 1e-6, 1)},
    ),
    "reverse-sigmoid": Wrapper(
        target="art.defences.postprocessor:ReverseSigmoid",
        kind="post",
        description="probabilities perturbed against stealing and score attacks (Lee et al. 2018)",
        differentiable=True,
        arguments={"beta": Argument(1.0, 1e-6), "gamma": Argument(0.1, 1e-6)},
    ),
    "gaussian-noise": Wrapper(
        target="art.defences.postprocessor:GaussianNoise",
        kind="post",
        description="Gaussian noise on the probabilities",
        differentiable=True,
        random=True,
        arguments={"scale": Argument(0.2, 1e-6)},
    ),
    "rounded": Wrapper(
        target="art.defences.postprocessor:Rounded",
        kind="post",
        description="rounded probabilities",
        differentiable=False,
        arguments={"decimals": Argument(3, 1, 15)},
    ),
    "class-labels": Wrapper(
        target="art.defences.postprocessor:ClassLabels",
        kind="post",
        description="the label alone, no probabilities",
        differentiable=False,
        # ART marks the labels of all rows in every row.
        feed="rows",
    ),
}


def describe(name: str) -> str:
    """One line about a wrapper, with what it means for an attack."""
    wrapper = WRAPPERS[name]
    traits = ["input" if wrapper.kind == "pre" else "output"]
    traits += [] if wrapper.differentiable else ["no gradient"]
    traits += ["random"] if wrapper.random else []
    return f"{wrapper.description} ({', '.join(traits)})"


def split(name: str) -> tuple[str, tuple[str, ...]]:
    """The trained defense and the wrappers of a name such as "pgd-at+jpeg".

    Raises:
        DefenseError: an unknown wrapper, one that is named twice or in front, or an encoding
            that isn't the last input defense or isn't on plain training.
    """
    base, *attached = name.split(SEPARATOR)
    if base in WRAPPERS:
        raise DefenseError(f"{base!r} is attached to a trained defense, such as none+{base}")
    for wrapper in attached:
        if wrapper not in WRAPPERS:
            raise DefenseError(
                f"{name!r}: nothing to attach is called {wrapper!r}"
                f"{did_you_mean(wrapper, WRAPPERS)}"
            )
        if attached.count(wrapper) > 1:
            raise DefenseError(f"{name!r} attaches {wrapper!r} twice; once is enough")
    inputs = [wrapper for wrapper in attached if WRAPPERS[wrapper].kind == "pre"]
    for wrapper in inputs:
        if WRAPPERS[wrapper].depth and base != _TRAINS_ON_ENCODED:
            raise DefenseError(
                f"{name!r}: {wrapper} changes the depth of the input, and a model trained by "
                f"{base} takes pixels; use {_TRAINS_ON_ENCODED}+{wrapper}, which trains on the "
                "encoded input"
            )
        if WRAPPERS[wrapper].depth and wrapper != inputs[-1]:
            raise DefenseError(
                f"{name!r}: {wrapper} changes the depth of the input; name it after {inputs[-1]}"
            )
    return base, tuple(attached)


def check_inputs(name: str, input_shape: Sequence[int]) -> None:
    """DefenseError where a wrapper of `name` can't take inputs of this shape."""
    for wrapper in split(name)[1]:
        if WRAPPERS[wrapper].images_only and len(input_shape) != 3:
            raise DefenseError(f"{name!r}: {wrapper} works on images, these data are tabular")


def arguments(name: str, given: Mapping[str, Any]) -> dict[str, Number]:
    """All of a wrapper's arguments, `given` on top of the defaults.

    Raises:
        DefenseError: an unknown argument or a value out of range.
    """
    allowed = WRAPPERS[name].arguments
    for key, value in given.items():
        if key not in allowed:
            choice = did_you_mean(key, allowed) if allowed else "; it takes none"
            raise DefenseError(f"{name} has no argument {key!r}{choice}")
        argument = allowed[key]
        whole = isinstance(argument.default, int)
        check_number(f"{name}.{key}", value, whole=whole, low=argument.low, high=argument.high)
    return {key: given.get(key, argument.default) for key, argument in allowed.items()}


def encoded_shape(
    settings: Mapping[str, Mapping[str, Number]], input_shape: tuple[int, ...]
) -> tuple[int, ...]:
    """The shape of what the model takes, once the wrappers have worked on the input.

    Args:
        settings: wrapper to all of its arguments.
        input_shape: of the data.
    """
    for name, values in settings.items():
        if depth := WRAPPERS[name].depth:
            input_shape = (*input_shape[:-1], input_shape[-1] * int(values[depth]))
    return input_shape
