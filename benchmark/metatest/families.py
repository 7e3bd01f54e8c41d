"""The attack families of the protocol: what each does, and what part it plays.

A support is attacked once, against the model before adaptation; a query white-box, against the
model as it is after adaptation. What is drawn at random (`draw`) is drawn once an episode, so that
all checkpoints of a curve meet the same starts, places and seeds.

    ascent   projected gradient ascent on each example by itself, within a ball
    shared   one perturbation for all examples of the set: that of a support is made of the whole
             support (of the largest size, whose first examples the smaller ones are), that of a
             query of the whole query, which is the strongest attacker that the setting allows
    library  an attack of ART on each example by itself, through the estimator

Gradient ascent within linf, at whatever step size, is one family: none of its variants is held out
but the larger budget, which no training here sees.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from benchmark.errors import UnknownName

SEEN, VALIDATION, HELD_OUT = "seen", "validation", "held-out"
ASCENT, SHARED, LIBRARY = "ascent", "shared", "library"


@dataclass(frozen=True)
class Family:
    """A row of the table.

    Args:
        description: one line.
        kind: ASCENT, SHARED or LIBRARY.
        norm: of its budget; "" where it has none, but is bounded in another way.
        share: its budget as a multiple of the norm's, or of the number of values for "l0".
        patch: side of the square that it may change, as a share of the image's shorter side.
        attack: its entry in `benchmark.attacks.table`, for LIBRARY.
        arguments: of that attack.
        weighing: the argument that its loss of the logits is multiplied by; "" where their scale
            makes no difference.
        images_only: whether it needs (H, W, C) inputs.
    """

    description: str
    kind: str
    norm: str = ""
    share: float = 1.0
    patch: float = 0.0
    attack: str = ""
    arguments: Mapping[str, float] = field(default_factory=dict)
    weighing: str = ""
    images_only: bool = False


FAMILIES: dict[str, Family] = {
    "linf": Family("gradient ascent within linf", ASCENT, "linf"),
    "l2": Family("gradient ascent within l2", ASCENT, "l2"),
    "l1": Family("gradient ascent within l1", ASCENT, "l1"),
    "linf-large": Family("gradient ascent within 1.5 times linf's budget", ASCENT, "linf", 1.5),
    "universal": Family("one perturbation for all examples, within linf", SHARED, "linf"),
    "patch": Family("one patch for all, at a random place", SHARED, patch=0.3, images_only=True),
    "elastic-net": Family(
        "ElasticNet, successes within l1's budget",
        LIBRARY,
        "l1",
        attack="elastic-net",
        arguments={"max_iter": 20, "binary_search_steps": 2, "initial_const": 1.0},
        weighing="initial_const",
    ),
    "jsma": Family("the most salient tenth of the values", LIBRARY, "l0", 0.1, attack="jsma"),
    "square": Family(
        "Square, 100 queries, within linf",
        LIBRARY,
        "linf",
        attack="square",
        arguments={"max_iter": 100},
        images_only=True,
    ),
    "spatial": Family(
        "the worst shift and rotation of a grid for all examples",
        LIBRARY,
        attack="spatial",
        arguments={
            "max_translation": 10,
            "num_translations": 3,
            "max_rotation": 20,
            "num_rotations": 3,
        },
        images_only=True,
    ),
}

# Norm of the run to the family that rate and steps are tuned on. It is never the run's own norm,
# and of the lp families the others count as seen.
_VALIDATION = {"linf": "l1", "l2": "l1", "l1": "l2"}
_LP = ("linf", "l2", "l1")


def family(name: str) -> Family:
    """The row of a family; raises `UnknownName`."""
    if name not in FAMILIES:
        raise UnknownName("attack family", name, FAMILIES)
    return FAMILIES[name]


def validation_family(norm: str) -> str:
    """The family that adaptation is tuned on in a run under `norm`."""
    return _VALIDATION[norm]


def role(name: str, norm: str, met: Collection[str] = ()) -> str:
    """SEEN, VALIDATION or HELD_OUT, in a run under `norm`, of a training that `met` families."""
    if name == validation_family(norm):
        return VALIDATION
    return SEEN if name in _LP or name in met else HELD_OUT


def obstacle(name: str, input_shape: tuple[int, ...]) -> str:
    """Why the family can't be measured on these inputs; empty where it can."""
    if FAMILIES[name].images_only and len(input_shape) != 3:
        return "works on images only, these data are tabular"
    return ""
