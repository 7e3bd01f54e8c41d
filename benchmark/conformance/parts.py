"""The checks of a data set and of a provided model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import defenses
from benchmark import datasets
from benchmark.conformance.report import Broken, Check
from benchmark.datasets import Dataset
from benchmark.errors import ModelError
from benchmark.limits import MAX_EPOCHS, eps_fault
from benchmark.models.provided.building import make
from benchmark.models.provided.origin import origin_of

_SHAPE, _CLASSES, _COUNT = (8, 8, 1), 4, 32


def dataset_checks(name: str, data_dir: str | None = None) -> Mapping[str, Check]:
    """The checks of the data set `name`, whose files are in `data_dir` where it has some."""

    defaults = datasets.defaults(name)  # a set that can't be used is told once, not by every check

    def load() -> Dataset:
        return datasets.load(name, data_dir=Path(data_dir) if data_dir else None)

    def declaration() -> str:
        if missing := {"linf", "l2", "l1"} - defaults.eps.keys():
            raise Broken(f"it has no default eps under {', '.join(sorted(missing))}")
        for norm, eps in defaults.eps.items():
            if why := eps_fault(norm, eps) if norm != "l0" or not eps >= 1 else "":
                raise Broken(f"its default under {norm}: {why}")
        if not (isinstance(defaults.epochs, int) and 1 <= defaults.epochs <= MAX_EPOCHS):
            raise Broken(f"it has {defaults.epochs!r} default epochs; give 1 or more")
        return f"eps {defaults.eps['linf']:.3g} under linf, {defaults.epochs} epochs"

    def values() -> str:
        found = load()
        for part in (found.x_train, found.x_validation, found.x_test):
            for chunk in part.chunks():
                if not (np.isfinite(chunk).all() and chunk.min() >= 0 and chunk.max() <= 1):
                    raise Broken(f"values reach from {chunk.min()} to {chunk.max()}, not [0, 1]")
        sizes = [len(found.y_train), len(found.y_validation), len(found.y_test)]
        return f"{found.classes} classes of shape {found.input_shape}, {sizes} examples"

    def determinism() -> str:
        first, again = load().fingerprint, load().fingerprint
        if first != again:
            raise Broken(f"its fingerprint is {first}, and {again} when it is loaded again")
        return f"its fingerprint is {first} each time"

    return {"declaration": declaration, "values": values, "determinism": determinism}


def model_checks(name: str) -> Mapping[str, Check]:
    """The checks of the provided model `name`, on images of 8x8 grey and 4 classes."""
    subject = _Model(name)
    return {
        "builds": subject.builds,
        "determinism": subject.determinism,
        "trains": subject.trains,
        "save and load": subject.save_and_load,
    }


class _Model:
    """A provided model with a few examples."""

    def __init__(self, name: str) -> None:
        self.origin = origin_of(name, None)
        if self.origin.entry is None:
            raise ModelError(f"model {name!r} is no contributed one")
        self.frameworks = tuple(self.origin.entry.builders)
        generator = np.random.default_rng(0)
        self.x = generator.random((_COUNT, *_SHAPE), dtype=np.float32)
        self.y = np.arange(_COUNT) % _CLASSES

    def model(self, framework: str, seed: int = 0) -> Any:
        """The model, as a run makes it."""
        return make(self.origin, _SHAPE, _CLASSES, framework=framework, seed=seed).model

    def fitted(self, framework: str, seed: int = 0, epochs: int = 0) -> defenses.Fitted:
        """The same trained for some epochs without a defense, or not at all."""
        defense = defenses.create("none", defenses.Threat("linf", 0.1))
        model = self.model(framework, seed)
        if not epochs:
            return defense.resume(model)
        return defense.fit(model, self.x, self.y, epochs=epochs)

    def builds(self) -> str:
        """A model of its framework, with an output a class."""
        for framework in self.frameworks:
            outputs = self.fitted(framework).predict(self.x)
            if outputs.shape != (_COUNT, _CLASSES):
                told = f"{outputs.shape}, not {(_COUNT, _CLASSES)}"
                raise Broken(f"in {framework} it gives outputs of shape {told}")
            if not np.isfinite(outputs).all():
                raise Broken(f"in {framework} it gives outputs that are not finite")
        return f"in {' and '.join(self.frameworks)}, with finite logits"

    def determinism(self) -> str:
        """Equal seeds give equal weights and answers, others don't."""
        for framework in self.frameworks:
            first, again, other = (
                self.fitted(framework, seed).predict(self.x) for seed in (0, 0, 1)
            )
            if not np.array_equal(first, again) or np.array_equal(first, other):
                raise Broken(f"in {framework} its weights don't follow the seed")
        return "its weights follow the seed"

    def trains(self) -> str:
        """Its loss falls."""
        told = []
        for framework in self.frameworks:
            history = self.fitted(framework, epochs=10).history
            first, last = history[0]["loss"], history[-1]["loss"]
            if not last < first:
                raise Broken(f"in {framework} its loss goes from {first:.3g} to {last:.3g}")
            told.append(f"{first:.3g} to {last:.3g} in {framework}")
        return f"its loss falls from {', '.join(told)}"

    def save_and_load(self) -> str:
        """A saved model gives the same logits when it is loaded."""
        for framework in self.frameworks:
            fitted = self.fitted(framework, epochs=1)
            with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
                fitted.save(folder)
                loaded = defenses.load(folder, self.model(framework, seed=1))
            if not np.array_equal(fitted.predict(self.x), loaded.predict(self.x)):
                raise Broken(f"the {framework} model gives other logits when it is loaded again")
        return "loaded models give equal logits"
