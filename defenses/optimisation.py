"""How a gradient moves the weights: the parameters that all defenses share, and what follows.

Both frameworks follow these rules, in this order, in float64 to rounding (as `torch.optim` has
them; m is 0.9, r the rate of the step):

    g <- g min(1, gradient_clipping / (|g| + 1e-6)), |.| the L2 norm over all weights at once
    g <- g + weight_decay theta, where theta is decayed
    v <- m v + g; theta <- theta - r v, or theta <- theta - r (g + m v) with Nesterov momentum
"""

from __future__ import annotations

from dataclasses import dataclass

from defenses.errors import DefenseError
from defenses.parameters import check_parameters, parameter, shares_parameter
from defenses.schedules import SCHEDULES, piecewise

OPTIMIZERS = ("adam", "sgd")
DECAYED = ("all", "weights")


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """From a gradient to the next weights.

    Args:
        learning_rate: base rate of the optimiser, before the schedule.
        optimizer: "adam" or "sgd" (momentum 0.9).
        schedule: how the rate moves: "constant", "cosine", "cyclic" (up to two fifths, then down),
            "triangular" (up to a half, then down), "one-cycle" or "piecewise".
        milestones: shares of the training after each of which a "piecewise" rate falls to a tenth.
        nesterov: whether the momentum of "sgd" is Nesterov's.
        weight_decay: L2 penalty that the optimiser adds to the gradient, as in `torch.optim`.
        decayed: "all", or "weights", which spares biases and the scales of normalisations.
        gradient_clipping: largest L2 norm of the gradient over all weights; 0 turns it off.
        weight_averaging: decay of the exponential moving average of weights and running
            statistics, which is what is validated and returned; 0 turns it off.
    """

    learning_rate: float = parameter(3e-3, low=0)
    optimizer: str = parameter("adam", choices=OPTIMIZERS)
    schedule: str = parameter("cyclic", choices=tuple(SCHEDULES))
    milestones: tuple[float, ...] = shares_parameter((0.5, 0.75), later=True)
    nesterov: bool = parameter(False, later=True)
    weight_decay: float = parameter(0.0, low=0)
    decayed: str = parameter("all", choices=DECAYED, later=True)
    gradient_clipping: float = parameter(0.0, low=0, later=True)
    weight_averaging: float = parameter(0.0, low=0, high=0.9999)

    def __post_init__(self) -> None:
        check_parameters(self)
        if self.nesterov and self.optimizer != "sgd":
            raise DefenseError(
                f"nesterov is of optimizer sgd, and it is {self.optimizer}; give optimizer sgd"
            )

    def rate(self, done: float) -> float:
        """The learning rate where the share `done` of the training is behind."""
        if self.schedule == "piecewise":
            return self.learning_rate * piecewise(done, self.milestones)
        return self.learning_rate * SCHEDULES[self.schedule](done)

    def decay_of(self, axes: int) -> float:
        """The weight decay of a parameter with so many axes: biases and scales have one."""
        return self.weight_decay if self.decayed == "all" or axes > 1 else 0.0
