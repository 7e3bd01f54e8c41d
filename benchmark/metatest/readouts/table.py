"""What adapts to a support: how each read-out is fitted, what it costs, and what is tuned.

The defender's settings are those with the highest robust accuracy on validation data. The scale
of the logits is the attacker's (`metatest.scales`): the one that leaves the least, so that no
read-out is taken for robust because its gradients vanish.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmark.metatest.readouts.model import Adapted
from benchmark.metatest.scales import MIDDLE, SCALES
from defenses.adaptation.spec import Adaptation
from defenses.cost import Cost, gradients
from defenses.heads import spec
from defenses.heads.spec import Heads
from defenses.perturbation.spec import Ascent

Setting = Mapping[str, float]
Costs = Callable[[int, Setting, Ascent], Cost]


@dataclass(frozen=True)
class Support:
    """The supports of a batch of E episodes; a read-out that moves weights has one at a time.

    Args:
        x: (E * n, ...).
        y: (n,), alike in each.
        ways: classes.
        start: where an attack on `x` begins; None for a read-out that attacks none.
        eps: its budget.
        ascent: its steps.
        fixed: features (E, n, d) of the weights as trained; None where they are not used.
    """

    x: np.ndarray
    y: np.ndarray
    ways: int
    start: np.ndarray | None
    eps: float
    ascent: Ascent
    fixed: np.ndarray | None

    @property
    def features(self) -> np.ndarray:
        """Of the weights as trained."""
        assert self.fixed is not None
        return self.fixed


@dataclass(frozen=True)
class ReadOut:
    """One of `names.READOUTS`.

    Args:
        fit: gives heads; moves the model's weights where `moves`.
        grid: the settings that are tried.
        cost: of one support of n examples, with its setting and the attack's steps.
        moves: whether weights move, so that episodes are adapted to one by one.
        attacks: whether supports are attacked.
    """

    fit: Callable[[Adapted, Support, Setting], Heads]
    grid: tuple[Setting, ...]
    cost: Costs
    moves: bool = False
    attacks: bool = False


def choose(chosen: ReadOut, robust: Callable[[Setting, float], float]) -> tuple[Setting, float]:
    """The defender's setting, and then the attacker's scale of the logits.

    Args:
        chosen: the read-out.
        robust: the share that a setting and a scale leave of validation data.
    """
    found = [robust(setting, MIDDLE) for setting in chosen.grid]
    setting = chosen.grid[int(np.argmax(found))]
    left = {scale: robust(setting, scale) for scale in SCALES if scale != MIDDLE}
    left[MIDDLE] = max(found)
    return setting, min(SCALES, key=lambda scale: left[scale])


def tries(chosen: ReadOut) -> int:
    """How often `choose` asks."""
    return len(chosen.grid) + len(SCALES) - 1


def readout(name: str, model: Adapted) -> ReadOut:
    """The read-out of this name; "own" is as the model was trained."""
    return _own(model) if name == "own" else _TABLE[name]


def _grid(**values: tuple[float, ...]) -> tuple[Setting, ...]:
    return tuple(dict(zip(values, one, strict=True)) for one in itertools.product(*values.values()))


def _centroid(model: Adapted, support: Support, setting: Setting) -> Heads:
    return spec.centroid(support.features, support.y, support.ways)


def _ridge(model: Adapted, support: Support, setting: Setting) -> Heads:
    return spec.ridge(support.features, support.y, support.ways, penalty=setting["penalty"])


def _linear(model: Adapted, support: Support, setting: Setting) -> Heads:
    steps, rate = int(setting["steps"]), setting["rate"]
    return spec.linear(support.features, support.y, support.ways, steps=steps, rate=rate)


def _linear_adv(model: Adapted, support: Support, setting: Setting) -> Heads:
    """Attacked once, through the head of the clean support."""
    x_adv = _attacked(model, support, _linear(model, support, setting))
    features = model.features(x_adv).reshape(support.features.shape)
    steps, rate = int(setting["steps"]), setting["rate"]
    return spec.linear(features, support.y, support.ways, steps=steps, rate=rate)


def _finetune(model: Adapted, support: Support, setting: Setting) -> Heads:
    steps, rate = int(setting["steps"]), setting["rate"]
    return model.finetune(support.x, support.y, support.ways, steps=steps, rate=rate)


def _attacked(model: Adapted, support: Support, heads: Heads) -> np.ndarray:
    assert support.start is not None
    y = np.tile(support.y, len(heads))
    return model.attack(support.x, y, support.start, heads, eps=support.eps, ascent=support.ascent)


def _features_cost(count: int, setting: Setting, ascent: Ascent) -> Cost:
    return Cost(forwards=count)


def _attacked_cost(count: int, setting: Setting, ascent: Ascent) -> Cost:
    return Cost(forwards=2 * count) + ascent.cost(count)


def _descent_cost(count: int, setting: Setting, ascent: Ascent) -> Cost:
    return gradients(count) * setting["steps"]


_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
_OF_HEADS = _grid(rate=(0.3, 3.0), steps=(10, 100))
_RATES, _STEPS = (0.01, 0.03, 0.1), (5, 20)

_TABLE: dict[str, ReadOut] = {
    "centroid": ReadOut(_centroid, _grid(), _features_cost),
    "ridge": ReadOut(_ridge, _grid(penalty=_PENALTIES), _features_cost),
    "linear": ReadOut(_linear, _OF_HEADS, _features_cost),
    "linear-adv": ReadOut(_linear_adv, _OF_HEADS, _attacked_cost, attacks=True),
    "finetune": ReadOut(_finetune, _grid(rate=_RATES, steps=_STEPS), _descent_cost, moves=True),
}


def grid_and_cost(
    name: str, adaptation: Adaptation | None = None
) -> tuple[tuple[Setting, ...], Costs]:
    """The settings that a read-out tries, and its cost; of "own" where the defense adapts so."""
    if adaptation is None or name != "own":
        return _TABLE[name].grid, _TABLE[name].cost
    if adaptation.closed_form:
        return _grid(), _features_cost

    def cost(count: int, setting: Setting, ascent: Ascent) -> Cost:
        attack = ascent.cost(count) if adaptation.attacked else Cost()
        return attack + _descent_cost(count, setting, ascent)

    grid = _grid(
        rate=tuple(sorted({*_RATES, adaptation.rate})),
        steps=tuple(sorted({*_STEPS, adaptation.steps})),
    )
    return grid, cost


def moves_weights(name: str, adaptation: Adaptation) -> bool:
    """Whether a read-out of a model that adapts so moves weights, as `ReadOut` says."""
    return not adaptation.closed_form if name == "own" else _TABLE[name].moves


def _own(model: Adapted) -> ReadOut:
    """The inner loop that the defense trains for, or fine-tuning of its own head."""
    defense, adaptation = model.defense, model.defense.adaptation
    if (head := getattr(defense, "head", None)) in spec.CLOSED_FORMS:
        penalty = _grid(penalty=(defense.head_penalty,))  # type: ignore[attr-defined]
        return ReadOut(_TABLE[head].fit, penalty, _features_cost)
    attacks = adaptation.attacked
    grid, cost = grid_and_cost("own", adaptation)

    def fit(model: Adapted, support: Support, setting: Setting) -> Heads:
        x = _attacked(model, support, model.own(support.ways)) if attacks else support.x
        steps, rate = int(setting["steps"]), setting["rate"]
        return model.descend(x, support.y, support.ways, steps=steps, rate=rate)

    return ReadOut(fit, grid, cost, moves=True, attacks=attacks)
