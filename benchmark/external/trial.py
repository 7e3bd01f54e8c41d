"""An external model tried on a few examples: what it gives, and what stands in an attack's way."""

from __future__ import annotations

import dataclasses
import traceback
from dataclasses import dataclass

import numpy as np

from benchmark.datasets.examples import Examples
from benchmark.errors import BenchError, ModelError
from benchmark.external import loading
from benchmark.external.model import CHANNELS, ExternalModel, default_channels
from benchmark.text import reason_of

# Examples that the model is tried on.
EXAMPLES = 32

# Batches that it must take too: attacks ask about what is left of the examples, or about one.
_OTHER_BATCHES = (7, 1)

# How far a row of probabilities may be from summing to 1, by rounding.
_ROUNDING = 1e-3

# What a model may give, and what attacks work on then, where it isn't the outputs themselves.
KINDS = {
    "logits": "",
    "probabilities": "their logarithm",
    "sigmoids": "what stands before them: one sigmoid a class saturates",
}

# A model that is right no more often than chance and this share of the rest, or twice by chance,
# takes other inputs, most likely.
_BARELY = 1 / 9


@dataclass(frozen=True)
class Trial:
    """What to try: a model, and a few examples, x (n, ...) and their labels (n,)."""

    external: ExternalModel
    x: np.ndarray
    y: np.ndarray
    classes: int


@dataclass(frozen=True)
class TrialResult:
    """What a trial found: `outputs` is one of `KINDS`; `notices` are lines to tell."""

    framework: str
    outputs: str
    builder_sha256: str | None
    accuracy: float
    notices: tuple[str, ...]


def result_of(trial: Trial) -> TrialResult:
    """Builds the model here and tries it; raises `ModelError` for what can't be attacked."""
    loaded = loading.load_external(trial.external, trial.x.shape[1:], trial.classes)
    external = dataclasses.replace(
        trial.external,
        channels=trial.external.channels or default_channels(loaded.framework),
        outputs="logits",
    )
    outputs, told = _tried(loaded, external, trial)
    found = kind_of(outputs)
    chosen = _chosen(trial.external, found)
    if chosen != "logits":  # of one sigmoid the more likely class shows in its logits alone
        outputs, _ = _asked(loaded, dataclasses.replace(external, outputs=chosen), trial.x)
    accuracy = float((outputs.argmax(axis=1) == trial.y).mean())
    return TrialResult(
        loaded.framework,
        chosen,
        loaded.builder_sha256,
        accuracy,
        (*loaded.notices, *[told] * bool(told), *_notices(trial, found, accuracy)),
    )


def _tried(loaded: loading.Loaded, external: ExternalModel, trial: Trial) -> tuple[np.ndarray, str]:
    """Its outputs for the trial's examples, and which part of what it gives they are."""
    try:
        outputs, told = _asked(loaded, external, trial.x)
    except BenchError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise ModelError(_no_outputs(loaded, external, trial, error)) from error
    _check_outputs(outputs, told, trial)
    for size in _OTHER_BATCHES:
        try:
            fewer = _asked(loaded, external, trial.x[:size])[0].shape
        except Exception as error:
            traceback.print_exc()
            raise ModelError(
                f"the model takes {len(trial.x)} examples at a time, but not {size}: "
                f"{reason_of(error)}; let it take any number"
            ) from error
        if fewer != (min(size, len(trial.x)), trial.classes):
            raise ModelError(
                f"the model gives outputs of shape {fewer} for a batch of {size} examples; let it "
                "keep the first axis (no squeeze, no fixed batch size)"
            )
    return outputs, told


def _asked(
    loaded: loading.Loaded, external: ExternalModel, x: np.ndarray
) -> tuple[np.ndarray, str]:
    kernel = loading.kernel(loaded.framework)
    model = kernel.adapted(loaded.model, external, input_shape=x.shape[1:], device="cpu")
    return kernel.outputs_of(model, x), kernel.taken(model, x)


def kind_of(outputs: np.ndarray) -> str:
    """What outputs (n, classes) are, one of `KINDS`.

    In [0, 1] throughout they are probabilities where each row sums to 1, and sigmoids else.
    """
    if not ((outputs >= 0).all() and (outputs <= 1).all()):
        return "logits"
    if outputs.shape[1] == 2 and not outputs[:, 0].any():  # of one output
        return "sigmoids"
    apart = np.abs(outputs.sum(axis=1) - 1).max()
    return "probabilities" if apart <= _ROUNDING else "sigmoids"


def _no_outputs(
    loaded: loading.Loaded, external: ExternalModel, trial: Trial, error: Exception
) -> str:
    shape = trial.x.shape[1:]
    if len(shape) != 3:
        return f"the model can't take inputs of shape {shape}: {reason_of(error)}"
    first = external.channels == "first"
    taken = (shape[2], *shape[:2]) if first else shape
    (other,) = set(CHANNELS) - {external.channels}
    hint = f" (--channels {other} works)" if _takes(loaded, external, trial, other) else ""
    return (
        f"the model can't take images of shape {taken}, channels {external.channels}{hint}: "
        f"{reason_of(error)}"
    )


def _takes(loaded: loading.Loaded, external: ExternalModel, trial: Trial, channels: str) -> bool:
    """Whether the model gives the right outputs for images with the channels there."""
    try:
        outputs, _ = _asked(loaded, dataclasses.replace(external, channels=channels), trial.x)
    except Exception:  # whatever it raises: then this is no way out
        return False
    return outputs.shape == (len(trial.x), trial.classes)


def _check_outputs(outputs: np.ndarray, told: str, trial: Trial) -> None:
    n = len(trial.x)
    if outputs.shape != (n, trial.classes):
        raise ModelError(
            f"the model gives outputs of shape {outputs.shape} for {n} examples; the data have "
            f"{trial.classes} classes, so {(n, trial.classes)} is needed" + f"; {told}" * bool(told)
        )
    if broken := int((~np.isfinite(outputs)).any(axis=1).sum()):
        raise ModelError(
            f"the model's outputs are not finite (NaN or infinite) for {broken} of {n} clean "
            "examples; check the weights, --mean and --std"
        )


def _chosen(external: ExternalModel, found: str) -> str:
    if external.outputs == "probabilities" and found != "probabilities":
        raise ModelError(
            "--outputs probabilities: the model's outputs don't lie in [0, 1] or don't sum to 1; "
            f"give --outputs {found} or auto"
        )
    if external.outputs == "sigmoids" and found == "logits":
        raise ModelError(
            "--outputs sigmoids: the model's outputs don't lie in [0, 1]; give --outputs logits or "
            "auto"
        )
    return found if external.outputs == "auto" else external.outputs


def _notices(trial: Trial, found: str, accuracy: float) -> list[str]:
    told = []
    inverse = KINDS[found]
    if trial.external.outputs == "auto" and inverse:
        told.append(f"the model gives {found}; attacks work on {inverse}")
    if trial.external.outputs == "logits" and inverse:
        told.append(
            f"the model gives {found}, which weaken attacks that expect logits; "
            f"leave --outputs out, or give --outputs {found}"
        )
    if is_near_chance(accuracy, trial.classes):
        told.append(
            f"the model is right on {accuracy:.0%} of {len(trial.x)} clean examples; "
            "do --input-range (such as 0..255), --channels, --mean, --std and the order of its "
            "classes fit?"
        )
    return told


def is_near_chance(accuracy: float, classes: int) -> bool:
    """Whether a model of this many classes is right about as often as one that guesses."""
    chance = 1 / classes
    return accuracy <= chance + min(chance, _BARELY * (1 - chance))


def few(x: Examples, y: np.ndarray, count: int = EXAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """So many of the examples, evenly from the whole."""
    rows: np.ndarray = np.unique(np.linspace(0, len(x) - 1, count).astype(np.int64))
    return x[rows], y[rows]
