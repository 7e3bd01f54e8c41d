"""A model with ART's input and output defenses around it: as it predicts, and as it is attacked.

The two differ on purpose. `Pipeline` is what is deployed, and what success is judged on.
`WrappedClassifier` is what an adaptive attack sees: the gradient goes straight through input
defenses that have none (BPDA) and is averaged over those that are random (expectation over
transformation; both Athalye et al. 2018, "Obfuscated gradients give a false sense of security"),
and output defenses are left out: the attack works on the logits below them. Only whether a point is
misclassified is decided by what is given out for these, unless that is random.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from art.defences.postprocessor.postprocessor import Postprocessor
from art.defences.preprocessor.preprocessor import Preprocessor

from benchmark.estimators.estimator import BareEstimator, Label, Weights
from benchmark.estimators.median import back_through_median
from benchmark.estimators.passes import Observer, Passes
from benchmark.estimators.probabilities import Around, softmax
from defenses.wrappers import WRAPPERS, Wrapper


@dataclass(frozen=True)
class Stage:
    """One of ART's defenses, called as its row of the table says."""

    wrapper: Wrapper
    defence: Preprocessor | Postprocessor

    def on_inputs(self, x: np.ndarray) -> np.ndarray:
        """The model's inputs for `x` in [0, 1], float32; of another depth if it encodes."""
        # A copy, because ART's thermometer clips its input in place.
        x = np.clip(x, 0, 1).astype(np.float32)
        if self.wrapper.feed != "flat":
            return np.asarray(self.defence(x)[0], dtype=np.float32)
        depth = x.shape[-1] * getattr(self.defence, self.wrapper.depth)
        flat, _ = self.defence(x.reshape(1, -1))
        return np.asarray(flat, dtype=np.float32).reshape(*x.shape[:-1], depth)

    def back(self, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """The gradient at its output taken back to its input `x`, exactly or by BPDA."""
        if self.wrapper.depth:
            return self._back_through_thresholds(x, gradient)
        if self.wrapper.window:
            # ART's own estimate takes the filter for the identity: on `digits` (linf 0.15) PGD left
            # 24 % with it and 7 % with the gradient, Square 12 %.
            size = getattr(self.defence, self.wrapper.window)
            inputs = np.clip(x, 0, 1).astype(np.float32)
            return back_through_median(inputs, self.on_inputs(inputs), gradient, size=size)
        return np.asarray(self.defence.estimate_gradient(x, gradient))

    def _back_through_thresholds(self, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """The gradient back through a step at each k / levels: a hat two levels wide on each side.

        ART's own estimate passes the gradient of the steps below `x` only, so that an attack can't
        see what brightening a pixel would do: on `digits` (linf 0.15) PGD left 50 % with it and
        22 % with the hat, Square 28 %.
        """
        levels = getattr(self.defence, self.wrapper.depth)
        steps = np.arange(1, levels)  # the first channel is always on
        hat = np.maximum(0, 1 - np.abs(x[..., np.newaxis] * levels - steps) / 2)
        by_step = gradient.reshape(*x.shape, levels)[..., 1:]  # (n, H, W, C, levels - 1)
        return np.asarray((by_step * hat).sum(axis=-1))

    def on_outputs(self, probabilities: np.ndarray) -> np.ndarray:
        """The scores that are given out for `probabilities`, (n, classes)."""
        if self.wrapper.feed == "rows":
            rows = [self.defence(row[np.newaxis]) for row in probabilities]
            return np.concatenate(rows) if rows else probabilities
        return np.asarray(self.defence(probabilities))


@dataclass(frozen=True)
class Stages:
    """The defenses around a model, in the order in which they work."""

    before: tuple[Stage, ...]
    after: tuple[Stage, ...]

    def encode(self, x: np.ndarray) -> list[np.ndarray]:
        """`x`, what each input defense made of it, and so at last the model's inputs."""
        inputs = [x]
        for stage in self.before:
            inputs.append(stage.on_inputs(inputs[-1]))
        return inputs

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """What is given out for logits, (n, classes): these, or what the output defenses make."""
        if not self.after:
            return np.asarray(logits)
        finite = np.isfinite(logits).all(axis=1)
        # float64, because ART's reverse sigmoid divides by zero where float32 rounds to 1.
        scores = softmax(np.where(finite[:, np.newaxis], logits, 0).astype(np.float64))
        for stage in self.after:
            scores = stage.on_outputs(scores)
        return np.where(finite[:, np.newaxis], scores, np.nan)


def stages(settings: Mapping[str, Mapping[str, object]]) -> Stages:
    """ART's defenses, built.

    Args:
        settings: wrapper to all of its arguments, in the order in which they were attached.
    """
    built = [_build(WRAPPERS[name], arguments) for name, arguments in settings.items()]
    return Stages(
        before=tuple(stage for stage in built if stage.wrapper.kind == "pre"),
        after=tuple(stage for stage in built if stage.wrapper.kind == "post"),
    )


def _build(wrapper: Wrapper, arguments: Mapping[str, object]) -> Stage:
    module, _, name = wrapper.target.partition(":")
    defence = getattr(importlib.import_module(module), name)
    return Stage(wrapper, defence(**arguments, **wrapper.fixed))


class Pipeline:
    """The whole of what is deployed; draws from NumPy's global generator where it is random.

    Args:
        bare: a fast estimator of the model alone; gives logits.
        around: the defenses around it.
    """

    def __init__(self, bare: BareEstimator, around: Stages) -> None:
        self._bare = bare
        self._around = around

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Scores, (n, classes): logits, or what the output defenses make of the probabilities."""
        return self._around.scores(self._bare.predict(self._around.encode(_float32(x))[-1]))


class WrappedClassifier(Around):
    """What an adaptive attack sees of a wrapped model, in either framework.

    No subclass of ART's PyTorch or TensorFlow classifiers: ART's attacks would go round the
    NumPy defenses with code of their own.

    `observer`, where one is set, is told of every point that is asked about, as it was before any
    defense; its outputs are known where they are of one draw.

    Args:
        bare: a fast estimator of the model alone; gives logits.
        around: the defenses around it.
        input_shape: (H, W, C) or (d,) of the data, before any encoding.
        draws: of random defenses, whose mean answer and gradient are given; None for as many as
            they need.
        is_random: whether the whole is random, by any of its parts.
    """

    observer: Observer | None = None

    def __init__(
        self,
        bare: BareEstimator,
        around: Stages,
        *,
        input_shape: tuple[int, ...],
        draws: int | None = None,
        is_random: bool = False,
    ) -> None:
        super().__init__(bare, input_shape)
        self.is_random = is_random
        self.scores = around.scores if around.after and not is_random else None
        self._bare = bare
        self._around = around
        self._draws = draws or max((stage.wrapper.draws for stage in around.before), default=1)

    @property
    def passes(self) -> Passes:
        """What attacks asked of the model."""
        return self._bare.passes

    def predict(self, x: np.ndarray, batch_size: int = 128, **kwargs: object) -> np.ndarray:
        """Logits below the output defenses, (n, classes), the mean of the draws."""
        inputs = _float32(x)
        drawn = [self._bare.predict(self._around.encode(inputs)[-1]) for _ in range(self._draws)]
        outputs = np.asarray(drawn[0] if len(drawn) == 1 else np.mean(drawn, axis=0))
        self._tell(x, outputs)
        return outputs

    def loss_gradient(self, x: np.ndarray, y: np.ndarray, **kwargs: object) -> np.ndarray:
        """The estimated gradient of the mean loss with respect to `x`, of its shape."""
        self._tell(x)
        return self._averaged(x, lambda inputs: self._bare.loss_gradient(inputs, y), self._back)

    def class_gradient(self, x: np.ndarray, label: Label = None, **kwargs: object) -> np.ndarray:
        """The estimated gradients of the logits, (n, classes or 1, ...)."""

        def back(inputs: Sequence[np.ndarray], gradients: np.ndarray) -> np.ndarray:
            by_class = [self._back(inputs, gradients[:, i]) for i in range(gradients.shape[1])]
            return np.stack(by_class, axis=1)

        self._tell(x)
        return self._averaged(x, lambda inputs: self._bare.class_gradient(inputs, label), back)

    def logits_and_gradient(self, x: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
        """Logits, and the estimated gradient of a function of them, both the mean of the draws."""
        logits: np.ndarray | float = 0.0

        def gradient_at(inputs: np.ndarray) -> np.ndarray:
            nonlocal logits
            found, gradient = self._bare.logits_and_gradient(inputs, weights)
            logits = logits + found / self._draws
            return np.asarray(gradient)

        gradient = self._averaged(x, gradient_at, self._back)
        self._tell(x, np.asarray(logits))
        return np.asarray(logits), gradient

    def compute_loss(self, x: np.ndarray, y: np.ndarray, **kwargs: object) -> np.ndarray:
        """The loss on the logits, of one draw; see the bare estimator's."""
        self._tell(x)
        inputs = self._around.encode(_float32(x))[-1]
        return np.asarray(self._bare.compute_loss(inputs, y, **kwargs))

    def _tell(self, x: np.ndarray, outputs: np.ndarray | None = None) -> None:
        if self.observer is not None:
            self.observer(_float32(x), outputs)

    def _averaged(
        self,
        x: np.ndarray,
        gradient_at: Callable[[np.ndarray], np.ndarray],
        back: Callable[[Sequence[np.ndarray], np.ndarray], np.ndarray],
    ) -> np.ndarray:
        total: np.ndarray | float = 0.0
        for _ in range(self._draws):
            inputs = self._around.encode(_float32(x))
            total = total + back(inputs, np.asarray(gradient_at(inputs[-1])))
        return np.asarray(total / self._draws, dtype=np.float32)

    def _back(self, inputs: Sequence[np.ndarray], gradient: np.ndarray) -> np.ndarray:
        for stage, x in reversed(list(zip(self._around.before, inputs[:-1], strict=True))):
            gradient = stage.back(x, gradient)
        return gradient


def _float32(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, dtype=np.float32)
