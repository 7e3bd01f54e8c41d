"""Projected gradient ascent on the loss, the inner maximisation of every training here.

Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks", eq. (2); with
one step and a random start it is FGSM-RS of Wong et al. 2020.

    x_0     = clip(x + eps * start, 0, 1)                              (step 1)
    g_k     = grad_x L(x_k), where L(x) = l(f(x), y)                   (step 2)
              with momentum m, d_k in its place: d_k = m d_{k-1} + g_k / |g_k|_1
    x_{k+1} = x_k + a sign(g_k)            for linf                    (step 3)
              x_k + a g_k / |g_k|_2        for l2
              x_k + a s_k / |s_k|_1        for l1
    x_{k+1} = clip(project(x_{k+1}, ball(x, eps)), 0, 1)               (step 4)

Momentum is that of Dong et al. 2018, "Boosting adversarial attacks with momentum", eq. (6).
s_k holds the signs of the largest entries of g_k, and zeros elsewhere; an entry that would push its
pixel out of [0, 1] is passed over (Maini et al. 2020, "Adversarial robustness against the union of
multiple perturbation models", section 4.2). They are as many as the budget could move from one end
of [0, 1] to the other, eps, rounded: that is 10 on MNIST, amid the 5 to 20 which Maini et al. draw
from, where a fixed share of the pixels finds far less (5 % is 39). The projection is exact for
every norm, onto the l1 ball by sorting (Duchi et al. 2008, figure 1); clipping afterwards never
leaves the ball, because it moves each pixel towards x.

`start` lies in the unit ball and comes from outside: kernels draw nothing. The result is a
constant, no gradient goes through it. `ascend` takes another loss L, and x_0 from its caller.
`eps` is a number, or one an example, shaped to broadcast against `x`.

With weights w of the features the same is done to u = x / w, where the ball is an ordinary one: the
direction is w d(w g_k), and the projection moves x + w p((x_k - x) / w). A feature of weight 0
stays where it is.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from defenses.cost import Cost, gradients
from defenses.threat import Threat


@dataclass(frozen=True)
class Ascent:
    """The settings of one inner maximisation.

    Args:
        norm: "linf", "l2" or "l1".
        steps: gradient steps, at least 1.
        relative_step: the step size as a share of eps, so that it follows eps when that ramps up.
        clipped_start: whether x_0 is clipped to [0, 1]; only the final result has to be.
        momentum: m, of the gradients; 0 leaves it out.
        random_start: whether `start` is drawn from the unit ball, or zero.
        weights: of the features, as those of `defenses.Threat`.
    """

    norm: str
    steps: int
    relative_step: float
    clipped_start: bool = True
    momentum: float = 0.0
    random_start: bool = True
    weights: tuple[float, ...] | None = None

    def within(self, weights: tuple[float, ...] | None) -> Ascent:
        """The same with these weights of the features."""
        return dataclasses.replace(self, weights=weights)

    def cost(self, examples: int) -> Cost:
        """One forward and one backward pass a step and example."""
        return gradients(examples) * self.steps

    def starts(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """`start` for examples of this shape, float32."""
        if not self.random_start:
            return np.zeros(shape, np.float32)
        return Threat(self.norm, 1.0, self.weights).random_starts(generator, shape)


def default_relative_step(steps: int) -> float:
    """2.5 / steps lets every point of the ball be reached; a single step stays at 1.25."""
    return min(1.25, 2.5 / steps)


def pgd(
    norm: str,
    steps: int,
    relative_step: float | None = None,
    *,
    weights: tuple[float, ...] | None = None,
) -> Ascent:
    """Many steps from a random start, by default of the default size."""
    if relative_step is None:
        relative_step = default_relative_step(steps)
    return Ascent(norm, steps, relative_step, weights=weights)


def fgsm(norm: str, *, weights: tuple[float, ...] | None = None) -> Ascent:
    """One step of eps from the example itself."""
    return Ascent(norm, steps=1, relative_step=1.0, random_start=False, weights=weights)
