"""Compute, counted in passes of one example through the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass

# What a backward pass through an inner gradient step adds, in gradient evaluations an example:
# the product of the loss's second derivative with a vector, a forward and a backward pass.
SECOND_ORDER_GE = 1.0


@dataclass(frozen=True)
class Cost:
    """Passes of single examples; fractions where they are expected, not counted.

    Args:
        forwards: forward passes.
        backwards: backward passes, to the input or to the weights.
        second_order: examples whose inner gradient step was differentiated.
    """

    forwards: float = 0
    backwards: float = 0
    second_order: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.forwards + other.forwards,
            self.backwards + other.backwards,
            self.second_order + other.second_order,
        )

    def __mul__(self, times: float) -> Cost:
        return Cost(self.forwards * times, self.backwards * times, self.second_order * times)

    @property
    def gradient_evaluations(self) -> float:
        """A forward and its backward pass are 1; a forward alone is a third."""
        return self.forwards / 3 + self.backwards * 2 / 3 + self.second_order * SECOND_ORDER_GE

    def as_record(self) -> dict[str, float]:
        """The counts and what they come to, as JSON values."""
        return {**asdict(self), "gradient_evaluations": self.gradient_evaluations}


def gradients(examples: int) -> Cost:
    """`examples` forward passes, each with its backward pass."""
    return Cost(forwards=examples, backwards=examples)
