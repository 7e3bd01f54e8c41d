"""Attacks of a suite with their arguments and threats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmark.attacks import lookup
from benchmark.attacks.arguments import Value, misfit, resolved
from benchmark.attacks.entry import UNRESTRICTED, AttackEntry
from benchmark.errors import SuiteError

# What an attack of a suite may name as the norm of a threat of its own.
THREATS = ("linf", "l2", "l1", "l0", UNRESTRICTED)


@dataclass(frozen=True)
class AttackSpec:
    """One attack of a suite.

    Args:
        name: in reports; unique in its suite.
        attack: its name, which `benchmark.attacks.lookup` knows.
        arguments: as in the suite file: numbers, texts, or shares of eps such as "0.1 eps".
        transfers: run on the bare model below a cell's input and output defenses, and its points
            are tried on the whole.
        norm: of a threat of its own; None for the cell's.
        eps: the budget under a norm of its own; None for the data set's, or the cell's if the norm
            is the cell's.
        examples: how many of the cell's examples it attacks; None for all.
        source: made on the model that this defense trained in another cell, then tried here.
        to_the_end: whether to look for the nearest adversarial example where a first one is known.
        draws: of a random model, whose mean it follows; None for as many as there usually are.
        first_success: whether to ask no more for the gradient at an example once one is known.
    """

    name: str
    attack: str
    arguments: Mapping[str, Value]
    transfers: bool = False
    norm: str | None = None
    eps: float | None = None
    examples: int | None = None
    source: str | None = None
    to_the_end: bool = False
    first_success: bool = False
    draws: int | None = None

    def identity(self) -> list[object]:
        """Everything that changes what the attack does in a cell, as JSON values."""
        more = {
            "norm": self.norm,
            "eps": self.eps,
            "examples": self.examples,
            "source": self.source,
            "to_the_end": self.to_the_end or None,
            "first_success": self.first_success or None,
            "draws": self.draws,
            "distribution": self.entry.distribution or None,
        }
        more = {name: value for name, value in more.items() if value is not None}
        transfers = ["transfers"] if self.transfers else []
        return [self.attack, self._given, *transfers, *([more] if more else [])]

    @property
    def entry(self) -> AttackEntry:
        """The attack's row in the table."""
        return lookup.entry(self.attack)

    def resolved(self, eps: float) -> dict[str, Value]:
        """The arguments, and the entry's for those not given, with shares of eps as numbers."""
        return {name: resolved(value, eps) for name, value in self._given.items()}

    @property
    def _given(self) -> dict[str, Value]:
        return {**self.entry.defaults, **self.arguments}

    def threat(self, norm: str, eps: float) -> tuple[str, float]:
        """Norm and budget of the attack in a cell with these; no budget is infinite."""
        if self.norm is None:
            return norm, float(eps)  # ART refuses NumPy's
        if self.norm == UNRESTRICTED:
            return UNRESTRICTED, float("inf")
        if self.eps is None and self.norm != norm:
            raise SuiteError(f"attack {self.name!r} has no eps under {self.norm}")
        return self.norm, float(eps if self.eps is None else self.eps)

    def obstacle(self, norm: str, input_shape: tuple[int, ...], *, features: bool = False) -> str:
        """Why the attack can't be run on these inputs in a cell of this norm; empty if it can.

        `features`: whether these have budgets of their own.
        """
        return self.entry.obstacle(self.norm or norm, input_shape, features=features)


# Joins every suite in cells with input or output defenses: what such a defense hides from an attack
# that looks through it can be found without it.
TRANSFER = AttackSpec(
    "transfer", "pgd", {"max_iter": 40, "eps_step": "0.1 eps", "num_random_init": 1}, transfers=True
)


@dataclass(frozen=True)
class SecurityCurve:
    """Robust accuracy over budgets.

    Args:
        attack: name of an attack of the suite.
        budgets: in shares of its eps, ascending.
        examples: how many it is run on, where it is run for the curve; None as the attack is.
    """

    attack: str
    budgets: tuple[float, ...]
    examples: int | None = None


@dataclass(frozen=True)
class Smoothing:
    """Certification by randomised smoothing; the defaults are those of its paper's authors.

    Args:
        sigma: standard deviation of the noise, in pixel scale.
        n0: draws that choose an example's class.
        n: draws that bound that class's probability.
        alpha: how likely the bound of one example fails, at most.
        examples: how many are certified; None for all of the cell.
    """

    sigma: float
    n0: int = 100
    n: int = 100_000
    alpha: float = 0.001
    examples: int | None = None


@dataclass(frozen=True)
class Suite:
    """A named list of attacks, and the curve that is drawn of one of them, if any.

    corruptions: whether accuracy on corrupted images is measured beside them. certification: how
    the model is certified beside them, if at all.
    """

    name: str
    description: str
    attacks: tuple[AttackSpec, ...]
    curve: SecurityCurve | None = None
    corruptions: bool = False
    certification: Smoothing | None = None

    def applicable(
        self, norm: str, input_shape: tuple[int, ...], *, features: bool = False
    ) -> list[tuple[AttackSpec, str]]:
        """Every attack with the reason why it can't run here, or an empty one."""
        return [
            (spec, spec.obstacle(norm, input_shape, features=features)) for spec in self.attacks
        ]

    def check_fits(self, norm: str, input_shape: tuple[int, ...], classes: int) -> None:
        """Raises for what can't be done with such data: attacks, and corruptions.

        Raises:
            SuiteError: such data don't suit.
            ContributionError: another distribution's attack can't be made.
        """
        if self.corruptions and len(input_shape) != 3:
            raise SuiteError(
                f"suite {self.name!r} measures corruptions, which are of images; these are tabular "
                "data: choose another suite, or one without 'corruptions: true'"
            )
        for spec in self.attacks:
            if spec.obstacle(norm, input_shape):
                continue
            given = {**spec.entry.defaults, **spec.arguments}
            lookup.check_made(spec.attack, given)
            if wrong := misfit(spec.attack, given, spec.norm or norm, input_shape, classes):
                raise SuiteError(f"attack {spec.name!r} of suite {self.name!r}: {wrong}")

    def with_budgets(self, budgets: Mapping[str, float]) -> Suite:
        """The suite with these budgets, by norm, for threats that name a norm only.

        Raises:
            SuiteError: a norm of a threat has no budget.
        """
        return replace(self, attacks=tuple(_with_budget(spec, budgets) for spec in self.attacks))


def _with_budget(spec: AttackSpec, budgets: Mapping[str, float]) -> AttackSpec:
    if spec.norm in (None, UNRESTRICTED) or spec.eps is not None:
        return spec
    assert spec.norm is not None
    if spec.norm not in budgets:
        raise SuiteError(
            f"attack {spec.name!r}: the data have no default eps under {spec.norm}; write "
            f"'threat: {{norm: {spec.norm}, eps: NUMBER}}'"
        )
    return replace(spec, eps=budgets[spec.norm])
