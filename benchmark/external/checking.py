"""A given model tried on a few examples, in a process of its own, before anything is written.

Whatever its code does to that process, this one goes on and says so in a line.
"""

from __future__ import annotations

import dataclasses
import tempfile
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import frameworks
from benchmark.errors import BenchError, ModelError
from benchmark.external.given import Given, default_channels
from benchmark.process import last_words, spawn

SERVE = "benchmark.external.checking:serve"

# Examples that the model is tried on.
EXAMPLES = 32

# How far a row of probabilities may be from summing to 1, by rounding.
_ROUNDING = 1e-3

# A model that is right no more often than this many times chance takes other inputs, most likely.
_BARELY = 2.0


@dataclass(frozen=True)
class Trial:
    """What to try: a model, and a few examples, x (n, ...) and their labels (n,)."""

    given: Given
    x: np.ndarray
    y: np.ndarray
    classes: int


@dataclass(frozen=True)
class Findings:
    """What a trial found: `outputs` is "logits" or "probabilities"; `notices` are lines to tell."""

    framework: str
    outputs: str
    builder_sha256: str | None
    accuracy: float
    notices: tuple[str, ...]


def check(trial: Trial, *, serve: str = SERVE) -> Findings:
    """Tries the model in a process of its own.

    Raises:
        ModelError: it can't be built or loaded, or what it gives can't be attacked.
    """
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        log = Path(folder) / "check.log"
        # Which framework a builder's model is of shows when it is there.
        framework = trial.given.framework or "torch"
        process, ours = spawn(
            serve, log, framework=framework, device="cpu", threads=1, name="bench-check"
        )
        try:
            answer = _ask(ours, process.sentinel, trial)
        finally:
            ours.close()
            process.join(2)
            if process.is_alive():
                process.kill()
            process.join()
        if answer is None:
            words = last_words(log, 0)
            raise ModelError(
                f"the model's check ended with exit code {process.exitcode}"
                + (f": {words}" if words else "")
            )
    if isinstance(answer, str):
        raise ModelError(answer)
    return answer


def _ask(connection: Connection, sentinel: int, trial: Trial) -> Findings | str | None:
    """The findings, the line that says what is wrong, or None if the process died."""
    try:
        connection.send(trial)
        wait([connection, sentinel])
        answer: Findings | str | None = connection.recv() if connection.poll() else None
    except (EOFError, OSError):
        return None
    return answer


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    """Answers one trial with its findings, or with what is wrong."""
    trial = connection.recv()
    frameworks.prepare(framework, device=device, threads=threads)
    try:
        connection.send(findings(trial))
    except BenchError as error:
        connection.send(str(error))


def findings(trial: Trial) -> Findings:
    """Builds the model here and tries it; raises `ModelError` for what can't be attacked."""
    from benchmark.external import loading

    model, framework, digest = loading.load(trial.given, trial.x.shape[1:], trial.classes)
    given = dataclasses.replace(
        trial.given,
        channels=trial.given.channels or default_channels(framework),
        outputs="logits",
    )
    kernel = loading.kernel(framework)
    try:
        outputs = kernel.outputs_of(kernel.adapted(model, given, device="cpu"), trial.x)
    except BenchError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise ModelError(_no_outputs(trial, given, error)) from error
    _check_outputs(outputs, trial)
    found = "probabilities" if are_probabilities(outputs) else "logits"
    return Findings(
        framework,
        _chosen(trial.given, found),
        digest,
        accuracy := float((outputs.argmax(axis=1) == trial.y).mean()),
        tuple(_notices(trial, found, accuracy)),
    )


def are_probabilities(outputs: np.ndarray) -> bool:
    """Whether every row (n, classes) lies in [0, 1] and sums to 1."""
    inside = bool((outputs >= 0).all() and (outputs <= 1).all())
    return inside and bool(np.abs(outputs.sum(axis=1) - 1).max() <= _ROUNDING)


def _no_outputs(trial: Trial, given: Given, error: Exception) -> str:
    words = " ".join(f"{type(error).__name__}: {error}".split())[:250]
    shape = trial.x.shape[1:]
    if len(shape) != 3:
        return f"the model can't take inputs of shape {shape}: {words}"
    first = given.channels == "first"
    taken = (shape[2], *shape[:2]) if first else shape
    other = "last" if first else "first"
    return (
        f"the model can't take images of shape {taken}, channels {given.channels} "
        f"(--channels {other}?): {words}"
    )


def _check_outputs(outputs: np.ndarray, trial: Trial) -> None:
    n = len(trial.x)
    if outputs.shape != (n, trial.classes):
        raise ModelError(
            f"the model gives outputs of shape {outputs.shape} for {n} examples; the data have "
            f"{trial.classes} classes, so {(n, trial.classes)} is needed"
        )
    if broken := int((~np.isfinite(outputs)).any(axis=1).sum()):
        raise ModelError(
            f"the model's outputs are not finite (NaN or infinite) for {broken} of {n} clean "
            "examples; check the weights, --mean and --std"
        )


def _chosen(given: Given, found: str) -> str:
    if given.outputs == "probabilities" and found == "logits":
        raise ModelError(
            "--outputs probabilities: the model's outputs don't lie in [0, 1] or don't sum to 1; "
            "give --outputs logits or auto"
        )
    return found if given.outputs == "auto" else given.outputs


def _notices(trial: Trial, found: str, accuracy: float) -> list[str]:
    told = []
    if trial.given.outputs == "auto" and found == "probabilities":
        told.append("the model gives probabilities; attacks work on their logarithm")
    if trial.given.outputs == "logits" and found == "probabilities":
        told.append(
            "the model gives probabilities, which weaken attacks that expect logits; "
            "leave --outputs out, or give --outputs probabilities"
        )
    if accuracy * trial.classes <= _BARELY:
        told.append(
            f"the model is right on {accuracy:.0%} of {len(trial.x)} clean examples; "
            "do --channels, --mean, --std and the order of its classes fit?"
        )
    return told


def few(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`EXAMPLES` of the examples, evenly from the whole."""
    rows: Any = np.unique(np.linspace(0, len(x) - 1, EXAMPLES).astype(np.int64))
    return x[rows], y[rows]
