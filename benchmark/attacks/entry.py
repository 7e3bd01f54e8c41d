"""What a row of the table of attacks says."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.attacks.arguments import ArgumentKind, Value
from defenses.contributed import is_target

# The threat of attacks that no norm bounds: only the box counts, and their own arguments.
UNRESTRICTED = "unrestricted"

LP = ("linf", "l2", "l1")

KINDS = {
    "gradient": "follows the gradient of a loss within the budget",
    "minimal-norm": "looks for the nearest adversarial example, whatever the budget",
    "score": "asks for scores only",
    "decision": "asks for labels only",
    "unseen": "of a kind that defenses are rarely trained on",
    "universal": "one perturbation for all examples",
}


@dataclass(frozen=True)
class AttackEntry:
    """An attack as a suite may use it.

    Args:
        target: "module:class", an ART `EvasionAttack`.
        description: one line.
        norms: threat models that it serves.
        arguments: what a suite may set; norm, eps and batch size are the harness's.
        kinds: of `KINDS`.
        images_only: whether it needs (H, W, C) inputs.
        square_only: whether it needs as many rows as columns.
        channels: how many it can work on; any where empty.
        frameworks: in which it runs.
        bare_only: whether it needs ART's own classifier, without input or output defenses around.
        rows: "chunk"; "one" example at a time, where ART's code loops over examples anyway: the
            attack on an example ends where an adversarial one is met; or "all" at once.
        probabilities: whether it reads the outputs as probabilities.
        options: argument to the texts that it may be.
        fixed: arguments that are always so.
        defaults: arguments, as in a suite file, where the suite doesn't set them.
        enough: the argument that takes the budget, within which an example needs no nearer point.
        package: that it needs and ART doesn't install.
        argument_kinds: what arguments may be whose names no attack of this project has.
        label: its class in records, where `target` doesn't name that.
        distribution: name and version of the other distribution that it comes with; it is part of
            what identifies the attack.
    """

    target: str
    description: str
    norms: tuple[str, ...]
    arguments: tuple[str, ...]
    kinds: tuple[str, ...] = ("gradient",)
    images_only: bool = False
    square_only: bool = False
    channels: tuple[int, ...] = ()
    frameworks: tuple[str, ...] = ("torch", "tensorflow")
    bare_only: bool = False
    rows: str = "chunk"
    probabilities: bool = False
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fixed: Mapping[str, Value] = field(default_factory=dict)
    defaults: Mapping[str, Value] = field(default_factory=dict)
    enough: str = ""
    package: str = ""
    argument_kinds: Mapping[str, ArgumentKind] = field(default_factory=dict)
    label: str = ""
    distribution: str = ""

    def __post_init__(self) -> None:
        if not is_target(self.target):
            raise ValueError(f"target {self.target!r} is not 'module:class'")
        for field_name in ("norms", "arguments", "kinds", "channels", "frameworks"):
            listed = getattr(self, field_name)
            if isinstance(listed, str) or not isinstance(listed, Sequence):
                raise ValueError(f"{field_name} is {listed!r}; give a tuple")
            object.__setattr__(self, field_name, tuple(listed))
        for field_name in ("options", "fixed", "defaults", "argument_kinds"):
            mapped = getattr(self, field_name)
            if not isinstance(mapped, Mapping):
                raise ValueError(f"{field_name} is {mapped!r}; give a mapping of arguments")
        for argument, texts in self.options.items():
            is_list = isinstance(texts, tuple | list)
            if not is_list or not all(isinstance(one, str) for one in texts):
                raise ValueError(f"options of {argument} are {texts!r}; give a tuple of texts")
        allowed = {
            "norms": (*LP, "l0", UNRESTRICTED),
            "kinds": tuple(KINDS),
            "frameworks": ("torch", "tensorflow"),
        }
        for field_name, known in allowed.items():
            given = getattr(self, field_name)
            if not given or not set(given) <= set(known):
                raise ValueError(f"{field_name} is {given!r}; allowed: {', '.join(known)}")
        if self.rows not in ("chunk", "one", "all"):
            raise ValueError(f"rows is {self.rows!r}; allowed: chunk, one, all")

    @property
    def class_name(self) -> str:
        """Of what makes it, for records."""
        return self.label or self.target.partition(":")[2]

    @property
    def is_minimal(self) -> bool:
        """Whether it looks for the nearest adversarial example instead of staying in a budget."""
        return "minimal-norm" in self.kinds

    @property
    def ends_early(self) -> bool:
        """Whether it ends where an example has an adversarial point within the budget."""
        return self.rows == "one" or bool(self.enough)

    @property
    def can_leave(self) -> bool:
        """Whether asking no gradient at an example that is broken already makes it cheaper.

        The attacks of AutoAttack leave such examples alone anyway, and nobody knows what those of
        other distributions and libraries do with a gradient that was not asked for.
        """
        if self.label:
            return False
        follows = self.kinds == ("gradient",) and self.rows == "chunk"
        return follows and not self.target.startswith("benchmark.attacks.autoattack")

    @property
    def takes_marks(self) -> bool:
        """Whether it works on many examples that a value in them tells apart.

        It has to leave alone what the model doesn't depend on; see `benchmark.estimators.scaled`.
        """
        own = self.target.startswith(("benchmark.attacks.autoattack", "benchmark.attacks.nearest"))
        return self.kinds == ("gradient",) or (own and "score" not in self.kinds)

    @property
    def tells_rows(self) -> bool:
        """Whether the example that each of its queries is about can be told, of many."""
        return self.takes_marks or self.target.startswith("benchmark.attacks.decision.")

    @property
    def is_universal(self) -> bool:
        """Whether only what it returns counts: one perturbation for all examples."""
        return "universal" in self.kinds

    def obstacle(self, norm: str, input_shape: tuple[int, ...], *, features: bool = False) -> str:
        """Why it can't be run on these inputs under this norm; empty where it can.

        `features`: whether these have budgets of their own.
        """
        if norm not in self.norms:
            return f"serves {', '.join(self.norms)}, not {norm}"
        if features and (self.label or self.bare_only or self.is_universal or norm == UNRESTRICTED):
            return "knows no budgets of single features"
        if self.package and importlib.util.find_spec(self.package) is None:
            return f"needs the package {self.package}: pip install {self.package}"
        return self._shape_obstacle(input_shape)

    def _shape_obstacle(self, shape: tuple[int, ...]) -> str:
        is_image = len(shape) == 3
        if self.images_only and not is_image:
            return "works on images only, these data are tabular"
        if self.square_only and shape[0] != shape[1]:
            return f"needs square images, not {shape[0]}x{shape[1]}"
        if self.channels and shape[-1] not in self.channels:
            allowed = " or ".join(map(str, self.channels))
            return f"needs images of {allowed} channels, not {shape[-1]}"
        return ""
