"""Attacks of torchattacks and Foolbox with the interface of ART's.

They differentiate through a module of PyTorch, which asks an estimator: so passes are counted,
points are seen, and what stands around a model is attacked with it.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmark.estimators.estimator import Estimator

_NORMS = {np.inf: "Linf", 2: "L2", 1: "L1"}


class _Ask(torch.autograd.Function):
    """Logits of NCHW or (n, d) inputs, and the gradient of any function of them."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, estimator: Estimator) -> torch.Tensor:
        ctx.estimator, ctx.asked = estimator, _nhwc(x)
        return torch.from_numpy(np.asarray(estimator.predict(ctx.asked))).to(x)

    @staticmethod
    def backward(ctx: Any, *pulls: torch.Tensor) -> tuple[torch.Tensor, None]:
        pull = pulls[0].detach().cpu().numpy()
        with torch.enable_grad():  # which is off in here
            _, gradient = ctx.estimator.logits_and_gradient(
                ctx.asked, lambda logits, rows: pull[rows]
            )
        return _nchw(gradient).to(pulls[0]), None


class Asked(nn.Module):
    """The estimator as a module that takes NCHW, as other libraries want it."""

    def __init__(self, estimator: Estimator) -> None:
        super().__init__()
        self._estimator = estimator
        # Libraries look at the parameters to learn the device, and there is no other.
        self.place = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, (n, classes)."""
        logits: torch.Tensor = _Ask.apply(x, self._estimator)
        return logits


class Torchattack:
    """A class of torchattacks.

    Args:
        estimator: what is attacked.
        name: of the class.
        norm: where the class takes one.
        eps: likewise.
        arguments: its own.
    """

    attack_params = ("norm", "eps")

    def __init__(
        self,
        estimator: Estimator,
        *,
        name: str,
        norm: float = np.inf,
        eps: float = 0.3,
        **arguments: Any,
    ) -> None:
        found = getattr(importlib.import_module("torchattacks"), name)
        known = inspect.signature(found).parameters
        given = {"norm": _NORMS.get(norm), "eps": eps, "max_epsilon": eps}  # no class takes l0
        given["n_classes"] = estimator.nb_classes
        given = {key: value for key, value in given.items() if key in known}
        self._attack = found(Asked(estimator).eval(), **{**given, **arguments})

    def generate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Adversarial examples for `x`, (n, H, W, C), with labels `y`, (n,)."""
        return _nhwc(self._attack(_nchw(x), torch.from_numpy(np.asarray(y))))


class FoolboxAttack:
    """A class of Foolbox.

    Args:
        estimator: what is attacked.
        name: of the class.
        norm: that is minimal, where the class takes one.
        eps: of those that stay in a budget; others look for the nearest adversarial example.
        arguments: its own.
    """

    attack_params = ("norm", "eps")

    def __init__(
        self,
        estimator: Estimator,
        *,
        name: str,
        norm: float | None = None,
        eps: float | None = None,
        **arguments: Any,
    ) -> None:
        foolbox = importlib.import_module("foolbox")
        found = getattr(foolbox.attacks, name)
        if norm is not None and "constraint" in inspect.signature(found).parameters:
            arguments["constraint"] = _NORMS[norm].lower()
        self._attack = found(**arguments)
        self._model = foolbox.PyTorchModel(Asked(estimator).eval(), bounds=(0, 1), device="cpu")
        minimal = isinstance(self._attack, foolbox.attacks.base.MinimizationAttack)
        self._eps = None if minimal else eps

    def generate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Adversarial examples for `x`, (n, ...), with labels `y`, (n,)."""
        labels = torch.from_numpy(np.asarray(y))
        _, x_adv, _ = self._attack(self._model, _nchw(x), labels, epsilons=self._eps)
        return _nhwc(x_adv)


def _nchw(x: np.ndarray) -> torch.Tensor:
    """NHWC as NCHW; (n, d) as it is."""
    x = np.asarray(x, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x))


def _nhwc(x: torch.Tensor) -> np.ndarray:
    """The inverse of `_nchw`."""
    array = x.detach().cpu().numpy().astype(np.float32)
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1) if array.ndim == 4 else array)
