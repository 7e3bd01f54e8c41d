"""The harness. `evaluate` is its interface to other programs; `bench` is that to people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import DataFrame

    from defenses import Threat

__all__ = ["evaluate"]


def evaluate(
    model: Any,
    x: ndarray,
    y: ndarray,
    *,
    threat: Threat,
    suite: str = "quick",
    seed: int = 0,
    name: str = "model",
    attack_timeout: float | None = None,
    out: Path | str | None = None,
) -> DataFrame:
    """Attack a model as `bench attack` does; gives the frame of `reports.load`, a row an attack.

    It runs in this process, on the device that the model is on, and leaves the model as it is.

    Args:
        model: a `torch.nn.Module` (taking NCHW) or a `keras.Model`; gives logits or probabilities,
            (n, classes).
        x: test inputs in [0, 1], (n, H, W, C) or (n, d).
        y: their labels, 0 .. classes-1, (n,).
        threat: norm and budget.
        suite: the name of a suite, or the path of a YAML file.
        seed: of the attacks.
        name: stands where a trained model has its defense.
        attack_timeout: seconds that an attack may take.
        out: a results folder that the records go to, beside what it holds; None keeps none.

    Raises:
        BenchError: the model, the data or the suite can't be used, in one line.
    """
    from benchmark.evaluation import evaluate

    return evaluate(
        model,
        x,
        y,
        threat=threat,
        suite=suite,
        seed=seed,
        name=name,
        attack_timeout=attack_timeout,
        out=out,
    )
