"""Which inputs an external model takes, where those that were asked for don't fit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from benchmark import fits
from benchmark.external import loading
from benchmark.external.model import ExternalModel, default_channels
from benchmark.external.trial import Trial
from defenses.labels import labels_of


@dataclass(frozen=True)
class Fitting:
    """Asks what fits, in place of a trial."""

    trial: Trial


def fitting(trial: Trial) -> str:
    """A line that says what the model would be right with; empty where nothing fits better.

    Nothing is chosen: what was asked for is what is attacked.
    """
    loaded = loading.load_external(trial.external, trial.x.shape[1:], trial.classes)
    kernel = loading.kernel(loaded.framework)
    channels = trial.external.channels or default_channels(loaded.framework)
    asked = dataclasses.replace(trial.external, channels=channels)
    bare = dataclasses.replace(asked, mean=(), std=(), input_range=())

    def outputs(external: ExternalModel, x: np.ndarray) -> np.ndarray:
        model = kernel.adapted(loaded.model, external, input_shape=x.shape[1:], device="cpu")
        return np.asarray(kernel.outputs_of(model, x))

    x, y = trial.x, trial.y
    accuracy = float((labels_of(outputs(asked, x)) == y).mean())
    found = fits.likely(lambda x: outputs(asked, x), _reordered(x), y, accuracy)
    found |= fits.likely(
        lambda x: outputs(bare, x), _unnormalised(x, given=bare != asked), y, accuracy
    )
    if not found:
        return ""
    best = dict(sorted(found.items(), key=lambda item: -item[1]))
    return (
        f"of {len(y)} clean examples the model is right on {100 * accuracy:.3g} % as asked, and "
        f"would be on {fits.in_words(best)}; it is attacked as asked"
    )


def _reordered(x: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs as they are, and what can go with any normalisation."""
    found = {fits.AS_THEY_ARE: x}
    if x.ndim == 4 and x.shape[-1] == 3:
        found["the channels in the order BGR (a layer of the model)"] = x[..., ::-1]
    return found


def _unnormalised(x: np.ndarray, *, given: bool) -> dict[str, np.ndarray]:
    """What the model may take where --mean, --std and --input-range are wrong, if given."""
    found = dict(fits.usual_inputs(x))
    if given:
        found["inputs in 0..1 (no --mean, --std or --input-range: it has its own)"] = x
    return found
