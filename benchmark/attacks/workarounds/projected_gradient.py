"""PGD as ART has it, less what it asks for a line in its log; without a wait in TensorFlow.

At its end ART's PGD asks the model about all examples, before and after, for a success rate that it
logs: two forward passes beside a forward and a backward pass a step. Its TensorFlow code takes its
batches from an iterator that may wait at its end as long as the attack took, and raises
NotImplementedError for momentum.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeAlias
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
from art.utils import compute_success_array

_Inner: TypeAlias = of_numpy.ProjectedGradientDescentCommon


class _Mended(ArtProjectedGradientDescent):
    """Without the question and the wait at the end; in TensorFlow with momentum too."""

    _attack: _Inner

    def generate(
        self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: np.ndarray
    ) -> np.ndarray:
        """ART's adversarial examples, (n, ...)."""
        self._attack = _mended(self._attack)
        with _no_success_rate():
            return super().generate(x, y, **kwargs)


class BasicIterativeMethod(_Mended, ArtBasicIterativeMethod):
    """ART's PGD from the clean example."""


class ProjectedGradientDescent(_Mended):
    """ART's PGD."""


class MomentumIterativeMethod(_Mended, ArtMomentumIterativeMethod):
    """ART's PGD with momentum."""


class _InTensorFlow(ProjectedGradientDescentTensorFlowV2):
    """ART's PGD in TensorFlow, with batches that are cut from the arrays.

    ART's come out of `tf.data`, whose iterator at its end waits for a thread that tunes it. That
    sleeps for 10 ms, then twice as long each time, and isn't always woken at the end: then an
    attack of six or of nine seconds takes 10.23, the sum of ten sleeps.
    """

    def generate(
        self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: np.ndarray
    ) -> np.ndarray:
        """ART's adversarial examples, (n, ...)."""
        mask = self._get_mask(x, **kwargs)
        self._check_compatibility_input_and_eps(x=x)
        self._random_eps()
        targets, x_adv = self._set_targets(x, y).astype(np.float32), x.astype(np.float32)
        for start in range(0, len(x), self.batch_size):
            rows = slice(start, start + self.batch_size)
            batch, labels = x[rows].astype(np.float32), targets[rows]
            per_row = [_of_rows(value, rows, x) for value in (mask, self.eps, self.eps_step)]
            x_adv[rows] = self._generate_batch(batch, labels, *per_row)
            for _ in range(1, self.num_random_init):
                again = np.asarray(self._generate_batch(batch, labels, *per_row))
                broken = compute_success_array(
                    self.estimator, batch, labels, again, self.targeted, self.batch_size
                )
                x_adv[rows][broken] = again[broken]
        return x_adv


def _of_rows(value: object, rows: slice, x: np.ndarray) -> object:
    """What has a value an example, for some examples; all else as it is."""
    if isinstance(value, np.ndarray) and value.ndim == x.ndim and len(value) == len(x):
        return value[rows]
    return value


@contextlib.contextmanager
def _no_success_rate() -> Iterator[None]:
    """While this lasts ART's PGD logs NaN for a success rate; restarts ask by another function."""
    with contextlib.ExitStack() as stack:
        for module in (of_numpy, of_pytorch):
            stack.enter_context(mock.patch.object(module, "compute_success", _unknown))
        yield


def _unknown(*args: object, **kwargs: object) -> float:
    return float("nan")


def _mended(inner: _Inner) -> _Inner:
    """The same attack by code that can do it, and without a wait; itself where it is that."""
    if type(inner) is not ProjectedGradientDescentTensorFlowV2:
        return inner
    kind = _InTensorFlow if inner.decay is None else ProjectedGradientDescentNumpy
    return kind(
        inner.estimator,
        norm=inner.norm,
        eps=inner.eps,
        eps_step=inner.eps_step,
        decay=inner.decay,
        max_iter=inner.max_iter,
        targeted=inner.targeted,
        num_random_init=inner.num_random_init,
        batch_size=inner.batch_size,
        random_eps=inner.random_eps,
        verbose=inner.verbose,
    )
