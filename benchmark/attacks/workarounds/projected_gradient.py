"""PGD as ART has it, less what it asks for a line in its log; with momentum in TensorFlow too.

At its end ART's PGD asks the model about all examples, before and after, for a success rate that it
logs: two forward passes beside a forward and a backward pass a step. Its TensorFlow code raises
NotImplementedError for momentum.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

import numpy as np
from art.attacks.evasion import BasicIterativeMethod as ArtBasicIterativeMethod
from art.attacks.evasion import MomentumIterativeMethod as ArtMomentumIterativeMethod
from art.attacks.evasion import ProjectedGradientDescent as ArtProjectedGradientDescent
from art.attacks.evasion import ProjectedGradientDescentNumpy, ProjectedGradientDescentTensorFlowV2
from art.attacks.evasion.projected_gradient_descent import (
    projected_gradient_descent_numpy as of_numpy,
)
from art.attacks.evasion.projected_gradient_descent import (
    projected_gradient_descent_pytorch as of_pytorch,
)
from art.attacks.evasion.projected_gradient_descent import (
    projected_gradient_descent_tensorflow_v2 as of_tensorflow,
)


class _Unlogged(ArtProjectedGradientDescent):
    """Without the question at the end."""

    def generate(
        self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: np.ndarray
    ) -> np.ndarray:
        """ART's adversarial examples, (n, ...)."""
        with _no_success_rate():
            return super().generate(x, y, **kwargs)


class BasicIterativeMethod(_Unlogged, ArtBasicIterativeMethod):
    """ART's PGD from the clean example."""


class ProjectedGradientDescent(_Unlogged):
    """ART's PGD, by its NumPy code where its TensorFlow code can't."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        _mend(self)


class MomentumIterativeMethod(_Unlogged, ArtMomentumIterativeMethod):
    """ART's PGD with momentum, the same."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        _mend(self)


@contextlib.contextmanager
def _no_success_rate() -> Iterator[None]:
    """While this lasts ART's PGD logs NaN for a success rate; restarts ask by another function."""
    with contextlib.ExitStack() as stack:
        for module in (of_numpy, of_pytorch, of_tensorflow):
            stack.enter_context(mock.patch.object(module, "compute_success", _unknown))
        yield


def _unknown(*args: object, **kwargs: object) -> float:
    return float("nan")


def _mend(attack: ArtProjectedGradientDescent) -> None:
    inner = attack._attack
    if inner.decay is None or not isinstance(inner, ProjectedGradientDescentTensorFlowV2):
        return
    attack._attack = ProjectedGradientDescentNumpy(
        attack.estimator,
        norm=attack.norm,
        eps=attack.eps,
        eps_step=attack.eps_step,
        decay=inner.decay,
        max_iter=attack.max_iter,
        targeted=attack.targeted,
        num_random_init=attack.num_random_init,
        batch_size=attack.batch_size,
        random_eps=attack.random_eps,
        verbose=attack.verbose,
    )
