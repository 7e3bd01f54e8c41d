"""The attacks of the families, with their budgets in numbers; `families` says what is attacked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmark import frameworks
from benchmark.attacks.creating import create
from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.geometry import is_within, spread
from benchmark.attacks.suites import AttackSpec
from benchmark.metatest.families import ASCENT, FAMILIES, LIBRARY, SHARED, Family
from benchmark.metatest.model import Adaptable
from benchmark.metatest.scales import OF_ALL, OF_EACH
from defenses.heads.spec import spreading
from defenses.labels import labels_of
from defenses.perturbation.spec import Ascent, default_relative_step
from defenses.threat import Threat

Draw = Mapping[str, np.ndarray]

# Kind of a family to how far apart the logits are that it follows.
SPREADS = {ASCENT: OF_EACH, SHARED: OF_ALL, LIBRARY: OF_EACH}


class Kept(NamedTuple):
    """Adversarial examples that count, (n, ...), and which were given up and are `x`, (n,)."""

    x_adv: np.ndarray
    given_up: np.ndarray


@dataclass(frozen=True)
class Attacker:
    """A family as one cell meets it.

    Args:
        name: of the family.
        eps: its budget, in pixel scale under its norm; 0 where it has no norm.
        steps: of gradient attacks.
    """

    name: str
    eps: float
    steps: int

    @classmethod
    def within(
        cls, budgets: Mapping[str, float], name: str, shape: tuple[int, ...], *, steps: int
    ) -> Attacker:
        """A family with its share of the budgets, norm to eps, on inputs of this shape."""
        row = FAMILIES[name]
        if row.norm == "l0":
            return cls(name, float(max(1, int(row.share * float(math.prod(shape))))), steps)
        return cls(name, row.share * budgets.get(row.norm, 0.0), steps)

    @property
    def family(self) -> Family:
        """Its row of the table."""
        return FAMILIES[self.name]

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Draw:
        """Everything random about attacking inputs of this shape, (n, ...)."""
        family = self.family
        if family.kind == ASCENT:
            return {"start": Threat(family.norm, self.eps).random_starts(generator, shape)}
        if family.kind != SHARED:
            return {"seed": generator.integers(2**32, size=1)}
        if not family.patch:
            return {"start": generator.uniform(-1, 1, shape[1:]).astype(np.float32)}
        side = self._side(shape)
        places = [generator.integers(size - side + 1, size=shape[0]) for size in shape[1:3]]
        start = generator.random((side, side, *shape[3:]), dtype=np.float32)
        return {"start": start, "rows": places[0], "columns": places[1]}

    def perturb(self, model: Adaptable, x: np.ndarray, y: np.ndarray, draw: Draw) -> Kept:
        """Adversarial examples of the model as it is; those out of budget or box are given up."""
        with np.errstate(all="ignore"):  # weights may have diverged: judged by what comes out
            x_adv = self._perturb(model, x, y, draw)
        return kept(x, x_adv, self.family.norm, self.eps)

    def _perturb(self, model: Adaptable, x: np.ndarray, y: np.ndarray, draw: Draw) -> np.ndarray:
        family, logits = self.family, model.logits(x)
        scale = float(spreading(SPREADS[family.kind], logits[None])[0])
        if family.kind == ASCENT:
            ascent = Ascent(family.norm, self.steps, default_relative_step(self.steps))
            return model.attack(x, y, draw["start"], eps=self.eps, ascent=ascent, scale=scale)
        if family.kind == SHARED:
            attack = _patch if family.patch else _universal
            return attack(self, model, x, y, draw, scale=scale)
        rows = np.flatnonzero(labels_of(logits) == y)
        return self._by_library(model, x, y, rows, int(draw["seed"][0]), scale=scale)

    def _by_library(
        self,
        model: Adaptable,
        x: np.ndarray,
        y: np.ndarray,
        rows: np.ndarray,
        seed: int,
        *,
        scale: float,
    ) -> np.ndarray:
        """On these rows, which are classified correctly; the rest stays as it is."""
        arguments = dict(self.family.arguments)
        if self.family.weighing:
            arguments[self.family.weighing] *= scale
        spec = AttackSpec(self.name, self.family.attack, arguments)
        frameworks.seed_everything(seed)
        x_adv = x.copy()
        if len(rows):
            attack = create(spec, model.estimator, self.family.norm or UNRESTRICTED, self.eps)
            x_adv[rows] = attack.generate(x=x[rows], y=y[rows])
        return x_adv

    def _side(self, shape: tuple[int, ...]) -> int:
        return max(1, round(self.family.patch * min(shape[1:3])))


def kept(x: np.ndarray, x_adv: np.ndarray, norm: str, eps: float) -> Kept:
    """What an attack made that is finite, in budget and box; `x` takes the place of the rest."""
    within = is_within(x_adv, x, norm, eps)
    return Kept(np.where(spread(within, x), x_adv, x), ~within)


def _universal(
    attacker: Attacker, model: Adaptable, x: np.ndarray, y: np.ndarray, draw: Draw, *, scale: float
) -> np.ndarray:
    """One change for all, by ascent on the sum of their losses; pixels are clipped to [0, 1].

    Moosavi-Dezfooli et al. 2017 define it; gradient ascent on it is that of Shafahi et al. 2020,
    "Universal adversarial training", algorithm 2.
    """
    eps, size = attacker.eps, default_relative_step(attacker.steps) * attacker.eps
    change = eps * draw["start"]
    for _ in range(attacker.steps):
        gradients = _finite(model.input_gradient(np.clip(x + change, 0, 1), y, scale=scale))
        change = np.clip(change + size * np.sign(gradients.sum(axis=0)), -eps, eps)
    return np.clip(x + change, 0, 1)


def _patch(
    attacker: Attacker, model: Adaptable, x: np.ndarray, y: np.ndarray, draw: Draw, *, scale: float
) -> np.ndarray:
    """One square for all, pasted at each example's place, by ascent on the sum of their losses.

    Brown et al. 2017, "Adversarial patch", with fixed places and any wrong class.
    """
    patch, size = draw["start"], default_relative_step(attacker.steps) / 2
    side = np.arange(len(patch))
    rows, columns = (draw[name][:, None] + side for name in ("rows", "columns"))  # (n, side)
    place = np.arange(len(x))[:, None, None], rows[:, :, None], columns[:, None, :]

    def pasted() -> np.ndarray:
        x_adv = x.copy()
        x_adv[place] = patch
        return x_adv

    for _ in range(attacker.steps):
        gradients = _finite(model.input_gradient(pasted(), y, scale=scale))[place]
        patch = np.clip(patch + size * np.sign(gradients.sum(axis=0)), 0, 1)  # (side, side, C)
    return pasted()


def _finite(gradients: np.ndarray) -> np.ndarray:
    """0 for what isn't finite: one example's gradient takes no other's with it."""
    return np.where(np.isfinite(gradients), gradients, 0)
