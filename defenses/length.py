"""How long a training runs, from epochs or from a budget of gradient evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from defenses.errors import DefenseError
from defenses.parameters import check_number, of_python


@dataclass(frozen=True)
class Length:
    """How long a training runs.

    Args:
        epochs: passes over the data, the last one possibly cut short.
        steps: updates of the weights in all.
        steps_per_epoch: updates in a whole epoch.
        gradient_evaluations: what the steps and their robust validation are expected to cost: a
            training that is stopped early costs less, and one whose updates cost what they happen
            to draw (`meta-adv` under several attacks) some per cent more or less.
    """

    epochs: int
    steps: int
    steps_per_epoch: int
    gradient_evaluations: float

    @classmethod
    def of(
        cls,
        *,
        epochs: int | None,
        budget_ge: int | None,
        per_epoch: int,
        per_step: float,
        check: float,
    ) -> Self:
        """The length that one of `epochs` and `budget_ge` gives.

        Args:
            per_epoch: updates in a whole epoch.
            per_step: gradient evaluations of an update.
            check: those of the validation after each epoch.

        Raises:
            DefenseError: neither or both are given, they are no numbers, or nothing can be trained
                with that.
        """
        epochs, budget_ge = of_python(epochs), of_python(budget_ge)
        if (epochs is None) == (budget_ge is None):
            raise DefenseError("give either epochs or a budget of gradient evaluations")
        if epochs is not None:
            check_number("epochs", epochs, whole=True, low=1, high=None)
            steps = epochs * per_epoch
        else:
            check_number("budget_ge", budget_ge, whole=False, low=1, high=None)
            whole, rest = divmod(budget_ge or 0, per_epoch * per_step + check)
            steps = int(whole * per_epoch + max(0, rest - check) // per_step)
        if steps < 1:
            checked = f" and its check on validation data {check:g}" if check else ""
            raise DefenseError(
                f"a budget of {budget_ge} trains nothing: one update costs {per_step:g} gradient "
                f"evaluations, an epoch has {per_epoch} updates{checked}; give more"
            )
        epochs = -(-steps // per_epoch)
        return cls(epochs, steps, per_epoch, steps * per_step + epochs * check)
