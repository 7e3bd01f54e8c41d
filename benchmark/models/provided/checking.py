"""A provided model tried on a few examples, in a process of its own, before anything is written."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

import defenses
from benchmark import frameworks
from benchmark.child import checked
from benchmark.errors import BenchError, ModelError
from benchmark.models.provided.building import make
from benchmark.models.provided.origin import Origin
from benchmark.text import reason_of
from defenses.subject import recognise
from defenses.trial import try_out

SERVE = "benchmark.models.provided.checking:serve"


@dataclass(frozen=True)
class Trial:
    """What to try: a model, a few examples x (n, ...) with labels, and what is to train it.

    framework: of a model that is of several; None where the model tells.
    reads: whether heads are to be read out of its features.
    """

    origin: Origin
    x: np.ndarray
    y: np.ndarray
    classes: int
    defenses: Sequence[defenses.Defense]
    framework: str | None = None
    reads: bool = False


@dataclass(frozen=True)
class TrialResult:
    """What a trial found."""

    framework: str
    builder_sha256: str | None
    notices: tuple[str, ...]


def check(trial: Trial, *, serve: str = SERVE) -> TrialResult:
    """Tries the model in a process of its own.

    Raises:
        ModelError: it can't be built or loaded, can't take the data, or a defense can't train it.
    """
    found = checked(serve, trial, trial.framework or trial.origin.framework)
    assert isinstance(found, TrialResult)
    return found


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    """Answers one trial with its result, or with what is wrong."""
    trial = connection.recv()
    frameworks.prepare(framework, device=device, threads=threads)
    try:
        connection.send(result_of(trial, framework))
    except BenchError as error:
        connection.send(str(error))


def result_of(trial: Trial, framework: str) -> TrialResult:
    """Builds the model here and tries it; raises `BenchError` for what can't be trained."""
    name = trial.origin.name
    made = make(trial.origin, trial.x.shape[1:], trial.classes, framework=framework, seed=0)
    for defense in trial.defenses:
        try:
            kernel = defense.kernel(recognise(made.model), trial.x)
            try_out(kernel, trial.x, trial.y)
            outputs = kernel.predict(trial.x[:1])
            if trial.reads:
                body = frameworks.part(frameworks.HEADS, made.framework).Body(kernel)
                body.features(trial.x[:1])
        except defenses.DefenseError as error:
            raise ModelError(f"model {name!r}: {error}") from error
        except Exception as error:  # whatever the model's own code raises
            traceback.print_exc()
            raise ModelError(
                f"model {name!r} can't take images of shape {trial.x.shape[1:]}: {reason_of(error)}"
            ) from error
        if outputs.shape != (1, trial.classes):
            raise ModelError(
                f"model {name!r} gives outputs of shape {outputs.shape} for 1 example; the data "
                f"have {trial.classes} classes, so {(1, trial.classes)} is needed"
            )
    return TrialResult(made.framework, made.builder_sha256, made.notices)


def distinct(chosen: Sequence[defenses.Defense]) -> list[defenses.Defense]:
    """One defense of each kind: what they can train depends on that."""
    return list({type(one): one for one in chosen}.values())
