"""Adaptation of a trained model to a new task: a few labelled examples under an attack.

    x_adv     = A(f_theta_0, x, y), attacked once, before any step      (step 1)
                or x, where the inner loop was trained on clean supports
    theta_k+1 = theta_k - r grad l(f(x_adv; theta_k), y)                (step 2)

l is the cross-entropy, averaged over the support.
"""

from __future__ import annotations

from dataclasses import dataclass

from defenses.cost import Cost, gradients
from defenses.parameters import LARGEST, MOST, check_number
from defenses.perturbation.spec import Ascent, pgd


@dataclass(frozen=True)
class Adaptation:
    """How a model adapts.

    Args:
        norm: of the attack on the support.
        attack_steps: of the attack on the support.
        steps: gradient steps.
        rate: of plain gradient descent.
        attacked: whether step 1 is made.
        closed_form: whether neither step is made, and a head is fitted to the clean support.
        weights: of the features, as those of a threat.

    Raises:
        DefenseError: steps or rate are no number, or below 0.
    """

    norm: str
    attack_steps: int = 10
    steps: int = 1
    rate: float = 0.01
    attacked: bool = True
    closed_form: bool = False
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_number("steps", self.steps, whole=True, low=0, high=MOST)
        check_number("rate", self.rate, whole=False, low=0, high=LARGEST)

    @property
    def ascent(self) -> Ascent:
        """The attack on the support."""
        return pgd(self.norm, self.attack_steps, weights=self.weights)

    @property
    def is_clean(self) -> bool:
        """Whether weights are moved on examples as they are."""
        return not (self.attacked or self.closed_form)

    def cost(self, examples: int) -> Cost:
        """Of attacking and learning a support of `examples`."""
        if self.closed_form:
            return Cost(forwards=examples)
        attack = self.ascent.cost(examples) if self.attacked else Cost()
        return attack + gradients(examples) * self.steps
