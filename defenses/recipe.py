"""What a defense is before it trains: parameters, draws, cost, and how long it trains."""

from __future__ import annotations

import dataclasses
import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from defenses.adaptation.spec import Adaptation
from defenses.augmentation import Augmentation
from defenses.cost import Cost
from defenses.errors import DefenseError, did_you_mean
from defenses.kernel import Arrays, Kernel
from defenses.length import Length
from defenses.optimisation import Optimisation
from defenses.parameters import later, parameter
from defenses.subject import Subject
from defenses.threat import Threat
from defenses.trial import prepare
from defenses.validation import validation_cost, watched_examples

# Bytes of a number, and how often an activation is held: itself, and its gradient.
NUMBER, GRAPH = 4, 2

ON_OVERFIT = ("warn", "restore")


def kernels_of(family: str, name: str) -> dict[str, str]:
    """Framework to "module:class" of a family's kernel, which has one name in both."""
    modules = {"torch": "pytorch", "tensorflow": "tensorflow"}
    return {framework: f"defenses.{family}.{file}:{name}" for framework, file in modules.items()}


@dataclass(frozen=True, kw_only=True)
class Recipe(Optimisation, ABC):
    """What all defenses share before anything is trained.

    Args:
        threat: norm and budget that the training defends against.
        batch_size: examples of an update.
        eps_warmup: share of the training over which the attack's eps rises to its full value.
        early_stopping: epochs without a gain in robust validation accuracy after which the
            training ends; the best epoch's weights are restored. 0 turns it off.
        on_overfit: "warn" tells of catastrophic overfitting, where it is watched for; "restore"
            watches for it, ends the training there and goes back to the last good weights.
        crop: pixels of padding around a training image, of which a random window is trained on; 0
            turns it off. On by default for natural images, as the data set says.
        flip: whether training images are mirrored at random; by default as the data set says.
        rand_augment: operations of RandAugment on each training image; 0 turns it off.
        magnitude: of these operations, from 0 to 10.
        cutout: side of a square that is blackened in each training image; 0 turns it off.
    """

    threat: Threat
    batch_size: int = parameter(128, low=1)
    eps_warmup: float = parameter(0.3, low=0, high=1)
    early_stopping: int = parameter(0, low=0)
    on_overfit: str = parameter("warn", choices=ON_OVERFIT)
    crop: int = parameter(0, low=0, later=True)
    flip: bool = parameter(False, later=True)
    cutout: int = parameter(0, low=0, later=True)
    rand_augment: int = parameter(0, low=0, later=True)
    magnitude: float = parameter(5.0, low=0, high=10, later=True)

    # Framework to "module:class" of the kernel.
    kernels: ClassVar[Mapping[str, str]]
    # Name to parameters, of the published recipes.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    # Whether the defense is meant to be adapted after training, before it is measured.
    adapts: ClassVar[bool] = False
    makes_adversarial_examples: ClassVar[bool] = True
    # Whether an update goes down the gradient of the loss that the kernel gives for it.
    follows_its_loss: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.threat, Threat):
            raise DefenseError(
                f'threat must be a Threat, such as Threat("linf", 0.1), got {self.threat!r}'
            )

    @classmethod
    def from_parameters(cls, threat: Threat, parameters: Mapping[str, Any]) -> Self:
        """The defense with `parameters` on top of its defaults; DefenseError where they're off.

        The parameter `preset` names a recipe that goes between the two, where the defense has some.
        None stands for the default, where None itself is none of the parameter's values.
        """
        named = cls.named(parameters).items()
        return cls(threat=threat, **{name: value for name, value in named if value is not None})

    @classmethod
    def named(cls, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Those of a preset with `parameters` on top; DefenseError for a name that is unknown."""
        if cls.presets and "preset" in parameters:
            preset = parameters["preset"]
            if preset is not None and str(preset) not in cls.presets:
                raise DefenseError(
                    f"unknown preset {preset!r}{did_you_mean(str(preset), cls.presets)}"
                )
            given = {name: value for name, value in parameters.items() if name != "preset"}
            parameters = {**cls.presets.get(preset, {}), **given}
        defaults = {f.name: f.default for f in dataclasses.fields(cls) if f.name != "threat"}
        for name in parameters:
            if name not in defaults:
                raise DefenseError(
                    f"{cls.__name__} has no parameter {name!r}{did_you_mean(name, defaults)}"
                )
        return parameters

    def parameters(self) -> dict[str, Any]:
        """Every parameter but the threat, as JSON values; `later` ones where they are in use."""
        values = {
            field.name: value
            for field in dataclasses.fields(self)
            if field.name != "threat"
            and ((value := getattr(self, field.name)) != field.default or not later(field))
        }
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @property
    def examples_per_step(self) -> int:
        """Training examples that one update takes."""
        return self.batch_size

    @property
    def threats(self) -> tuple[Threat, ...]:
        """What validation watches: an example has to resist all of it."""
        return (self.threat,)

    @property
    def single_step(self) -> bool:
        """Whether the training's attack is so short that catastrophic overfitting threatens."""
        return False

    @property
    def keeps_best(self) -> bool:
        """Whether the best epoch's weights may be restored."""
        return self.early_stopping > 0 or self.on_overfit == "restore"

    @property
    def watched(self) -> bool:
        """Whether robust accuracy on validation data is measured after each epoch."""
        return self.keeps_best or self.single_step

    @property
    def depends_on_threat(self) -> bool:
        """Whether another threat would give other weights."""
        return self.makes_adversarial_examples or self.watched

    @property
    def draws_from_all(self) -> bool:
        """Whether `draw` chooses its examples from the whole training set, not from a batch."""
        return False

    @property
    def families_seen(self) -> tuple[str, ...]:
        """Attack families that the training meets, besides gradient ascent within a norm."""
        return ()

    @abstractmethod
    def step_cost(self) -> Cost:
        """What one update costs; where that depends on what is drawn, what it is expected to."""

    def cost_of(self, draws: Arrays) -> Cost:
        """What the update with these draws costs."""
        return self.step_cost()

    def memory(self, *, weights: int, activations: int) -> float:
        """About the bytes that an update takes, beside the framework and the data.

        Args:
            weights: of the model.
            activations: numbers that one example leaves between its layers.
        """
        # Weights, their gradients, two moments, averages; what the graph of a batch holds
        return NUMBER * (5 * weights + GRAPH * activations * self.examples_per_step)

    def at(self, draws: Arrays, done: float) -> Arrays:
        """`draws` with what else moves as the training goes on; `done` is the share behind it."""
        return draws

    def check_labels(self, y: np.ndarray) -> None:
        """Refuse training labels that can't be trained on, with a DefenseError."""

    @abstractmethod
    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The inputs of one update: examples, and everything random about them."""

    def draw_augmented(
        self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray
    ) -> Arrays:
        """What `draw` gives of augmented examples; without augmentation nothing else is drawn."""
        augmented = self.augmentation
        if not augmented:
            return self.draw(generator, x, y)
        if not self.draws_from_all:
            return self.draw(generator, augmented(generator, x), y)
        draws = self.draw(generator, x, y)
        chosen = draws["x"].reshape(-1, *x.shape[1:])
        return {**draws, "x": augmented(generator, chosen).reshape(draws["x"].shape)}

    @property
    def augmentation(self) -> Augmentation:
        """What is done to each training image."""
        return Augmentation(self.crop, self.flip, self.cutout, self.rand_augment, self.magnitude)

    @property
    def fits_last_layer(self) -> bool:
        """Whether its adaptation fits the last layer, which training leaves without a meaning."""
        return False

    @property
    def adaptation(self) -> Adaptation:
        """How this defense adapts to a support set."""
        return Adaptation(norm=self.threat.norm, weights=self.threat.weights)

    def check_inputs(self, input_shape: tuple[int, ...]) -> None:
        """Raises DefenseError where the defense can't train on inputs of this shape."""
        self.augmentation.check(input_shape)
        weights = self.threat.weights
        if weights is not None and input_shape != (len(weights),):
            raise DefenseError(
                f"the threat has weights of {len(weights)} features, these inputs are {input_shape}"
            )

    def sized_for(self, examples: int) -> Self:
        """The same defense with updates no larger than the data set."""
        return dataclasses.replace(self, batch_size=min(self.batch_size, examples))

    def length(
        self,
        examples: int,
        *,
        epochs: int | None = None,
        budget_ge: int | None = None,
        validation: int = 0,
    ) -> Length:
        """Of the training on `examples` examples, from either epochs or a compute budget.

        Args:
            validation: validation examples that there are; attacking them, where the defense is
                watched, is part of the cost.

        Raises:
            DefenseError: neither or both are given, they are no numbers, or nothing can be trained
                with that.
        """
        sized = self.sized_for(examples)
        watched = watched_examples(examples, validation) if self.watched else 0
        return Length.of(
            epochs=epochs,
            budget_ge=budget_ge,
            per_epoch=examples // sized.examples_per_step,
            per_step=sized.step_cost().gradient_evaluations,
            check=validation_cost(self.threats, watched).gradient_evaluations,
        )

    def kernel_class(self, framework: str) -> str:
        """Where the kernel of a framework is, "module:class"; DefenseError where it has none."""
        if framework not in self.kernels:
            told = f"{type(self).__name__} has no kernel for {framework}"
            raise DefenseError(f"{told}, only for {' and '.join(self.kernels) or 'no framework'}")
        return self.kernels[framework]

    def kernel(self, subject: Subject, x: np.ndarray | None = None) -> Kernel:
        """The kernel of the subject's framework; `x` builds a model that has no weights yet."""
        prepare(subject, x)
        target = self.kernel_class(subject.framework)
        module, _, attribute = target.partition(":")
        try:
            made = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, SystemExit) as error:
            told = f"its kernel {target} can't be loaded ({type(error).__name__}: {error})"
            raise DefenseError(f"{type(self).__name__}: {told}") from error
        kernel: Kernel = made(subject.model, self)
        return kernel
