"""The checks of a defense, on a smooth model of 184 weights in float64."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

import defenses
from benchmark import frameworks
from benchmark.conformance.report import Broken, Check, NotApplicable
from defenses.errors import DefenseError
from defenses.help import undocumented
from defenses.kernel import Arrays, Kernel
from defenses.subject import recognise
from defenses.trial import EXAMPLES

_PARTS = {
    "torch": "benchmark.conformance.pytorch",
    "tensorflow": "benchmark.conformance.tensorflow",
}
SHAPE, CLASSES, COUNT, STEPS = (4, 3, 1), 4, 256, 5
# Budgets of the threat, and of others that a defense may want.
_EPS = {"linf": 0.1, "l2": 0.3, "l1": 0.6}
# Float64: after some steps, of losses and weights; and of a gradient against differences.
_PARITY, _GRADIENT, _DIFFERENCE = 1e-7, 1e-3, 1e-5
_PLAIN: dict[str, Any] = {
    "optimizer": "sgd",
    "nesterov": False,
    "weight_decay": 0.0,
    "gradient_clipping": 0.0,
}


def checks(name: str, **parameters: Any) -> Mapping[str, Check]:
    """The checks of the defense `name`, by their names."""
    subject = _Subject(name, parameters)
    _ = subject.defense  # one that can't be made is told once, not by every check
    return {
        "declaration": subject.declaration,
        "parity": subject.parity,
        "gradient": subject.gradient,
        "budget": subject.budget,
        "determinism": subject.determinism,
        "cost": subject.cost,
        "save and load": subject.save_and_load,
    }


class _Subject:
    """A defense with models and data to try it on."""

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        self.name, self.parameters = name, parameters
        generator = np.random.default_rng(5)
        self.x = generator.uniform(-0.5, 1.5, (COUNT, *SHAPE)).clip(0, 1).astype(np.float32)
        self.y = generator.integers(0, CLASSES, COUNT)
        shapes = [(int(np.prod(SHAPE)), 10), (10,), (10, CLASSES), (CLASSES,)]
        self.arrays = [generator.normal(0, 0.5, shape) for shape in shapes]

    @functools.cached_property
    def defense(self) -> defenses.Defense:
        """Against a budget under linf, with budgets under the other norms where it wants some."""
        return self._made(self.parameters).sized_for(COUNT)

    def _made(self, parameters: Mapping[str, Any]) -> defenses.Defense:
        known = defenses.parameter_names(self.name)
        others = {f"eps_{norm}": eps for norm, eps in _EPS.items() if norm != "linf"}
        given = {key: eps for key, eps in others.items() if key in known}
        threat = defenses.Threat("linf", _EPS["linf"])
        return defenses.create(self.name, threat, {**given, **parameters})

    @property
    def frameworks(self) -> tuple[str, ...]:
        """Those that it has a kernel for; runs in others refuse it."""
        return tuple(one for one in frameworks.FRAMEWORKS if one in self.defense.kernels)

    def needs(self, framework: str) -> None:
        """Raises `NotApplicable` without a kernel for a framework that a check looks into."""
        if framework not in self.frameworks:
            raise NotApplicable(f"looked at in {framework} alone, and it has no kernel for that")

    def model(self, framework: str, **settings: Any) -> Any:
        """The model, with its first weights."""
        more = settings if framework == "torch" else {"shape": SHAPE}
        return frameworks.part(_PARTS, framework).smooth(self.arrays, **more)

    def kernel(self, framework: str, defense: defenses.Defense | None = None) -> Kernel:
        """The defense's kernel of a new model."""
        return (defense or self.defense).kernel(recognise(self.model(framework)), self.x)

    def draws(self, generator: np.random.Generator, done: float = 0.0) -> Arrays:
        """Of an update."""
        defense = self.defense
        rows = generator.permutation(COUNT)[: defense.examples_per_step]
        pool = (self.x, self.y) if defense.draws_from_all else (self.x[rows], self.y[rows])
        return defense.at(defense.draw_augmented(generator, *pool), done)

    def declaration(self) -> str:
        """A line about it, its kernels, help for its parameters, and presets that can be made."""
        line = defenses.describe(self.name)
        if line == defenses.NO_DESCRIPTION:
            raise Broken("its class has no docstring, whose first line is its description")
        if unknown := self.defense.kernels.keys() - {*frameworks.FRAMEWORKS}:
            known = " and ".join(frameworks.FRAMEWORKS)
            raise Broken(f"it has a kernel for {min(unknown)!r}; frameworks are {known}")
        if not self.frameworks:
            raise Broken("it has no kernel")
        if untold := undocumented(type(self.defense)):
            raise Broken(f"its docstring says nothing of {', '.join(untold)} under Args")
        for preset in self.defense.presets:
            try:
                self._made({"preset": preset})
            except DefenseError as error:
                raise Broken(f"its preset {preset!r}: {error}") from error
        return line if len(self.frameworks) > 1 else f"{line} (for {self.frameworks[0]} alone)"

    def parity(self) -> str:
        """Equal losses and weights in both frameworks after each of some updates."""
        if len(self.frameworks) < 2:
            raise NotApplicable(f"it has a kernel for {self.frameworks[0]} alone")
        kernels = [self.kernel(framework) for framework in self.frameworks]
        generator, apart, moved = np.random.default_rng(1), 0.0, 0.0
        for step in range(STEPS):
            draws = self.draws(generator, step / STEPS)
            losses = [k.step(draws, learning_rate=0.01, eps=_EPS["linf"]) for k in kernels]
            ours, theirs = (self._weights(kernel) for kernel in kernels)
            both = zip([np.array(losses[0]), *ours], [np.array(losses[1]), *theirs], strict=True)
            apart = max(float(np.abs(one - other).max()) for one, other in both)
            if not apart <= _PARITY:
                raise Broken(f"update {step + 1}: losses or weights are {apart:.1g} apart")
            moved = max(np.abs(a - b).max() for a, b in zip(ours, self.arrays, strict=True))
        if not moved > _PARITY:
            raise Broken(f"{STEPS} updates move no weight")
        return f"{STEPS} updates are at most {apart:.1g} apart"

    def gradient(self) -> str:
        """An update of plain gradient descent goes down the gradient of the loss it gives."""
        if not self.defense.follows_its_loss:
            raise NotApplicable("it says that its updates follow something else than its loss")
        told = []
        for framework in self.frameworks:
            kernel = self.kernel(framework, dataclasses.replace(self.defense, **_PLAIN))
            draws = self.draws(np.random.default_rng(2))
            before = kernel.state()
            self._loss(kernel, draws)
            after = kernel.state()
            gradient = {key: before[key] - after[key] for key in before if key.startswith("model/")}
            length = float(np.sqrt(sum((value**2).sum() for value in gradient.values())))
            if not np.isfinite(length):
                raise Broken(f"the update in {framework} leaves weights that are not finite")
            if not length > 0:
                raise Broken(f"the update in {framework} moves no weight")
            ends = []
            for sign in (1, -1):
                step = {key: sign * _DIFFERENCE * g / length for key, g in gradient.items()}
                kernel.load_state({**before, **{k: before[k] + s for k, s in step.items()}})
                ends.append(self._loss(kernel, draws))
            slope = (ends[0] - ends[1]) / (2 * _DIFFERENCE)
            told.append(abs(slope - length) / length)
            if not told[-1] <= _GRADIENT:
                raise Broken(
                    f"in {framework} the update has length {length:.4g} a unit of learning rate, "
                    f"and differences of the loss along it {slope:.4g}"
                )
        return f"within {max(told):.1g} of finite differences"

    def budget(self) -> str:
        """What the model is trained on stays within the budget around the batch, and the box."""
        if not self.defense.makes_adversarial_examples:
            raise NotApplicable("it makes no adversarial examples")
        self.needs("torch")
        kernel, seen = self.kernel("torch"), []
        forward = kernel.training_logits  # type: ignore[attr-defined]

        def watched(x: Any) -> Any:
            seen.append(x.detach().cpu().numpy())
            return forward(x)

        kernel.training_logits = watched  # type: ignore[attr-defined]
        draws = self.draws(np.random.default_rng(3))
        kernel.step(draws, learning_rate=0.01, eps=_EPS["linf"])
        clean = np.asarray(draws["x"], dtype=np.float64)
        shown = [x for x in seen if x.size == clean.size]
        if not shown:
            raise NotApplicable("training_logits isn't asked about the batch as it is drawn")
        widest = max(self._use(x.reshape(len(clean), -1), clean) for x in shown)
        return f"at most {widest:.3g} of the budget is used, and nothing leaves [0, 1]"

    def determinism(self) -> str:
        """Equal seeds give equal weights, others don't."""
        for framework in self.frameworks:
            first, again, other = (self._trained(framework, seed) for seed in (0, 0, 1))
            if not all(np.array_equal(a, b) for a, b in zip(first, again, strict=True)):
                raise Broken(f"two trainings in {framework} with one seed end in other weights")
            if all(np.array_equal(a, b) for a, b in zip(first, other, strict=True)):
                raise Broken(f"two trainings in {framework} with two seeds end in equal weights")
        return "equal seeds give equal weights, bit by bit"

    def cost(self) -> str:
        """The passes that ran are those that `step_cost`, or `cost_of`, declares."""
        self.needs("torch")
        counted = frameworks.part(_PARTS, "torch").Counted.ran
        model = self.model("torch", counted=True)
        counted.update(forwards=0, backwards=0)
        budget = int(self.defense.step_cost().gradient_evaluations) + 1
        fitted = self.defense.fit(model, self.x, self.y, budget_ge=budget)
        ran = (counted["forwards"] - EXAMPLES, counted["backwards"])  # the trial isn't counted
        told = (fitted.cost.forwards, fitted.cost.backwards + fitted.cost.second_order)
        seen = f"{ran[0]} forwards and {ran[1]} backwards ran, {told[0]:g} and {told[1]:g} declared"
        # Passes through a model of its own are declared, too, and not seen here.
        if not all(least * 0.8 <= count <= least for count, least in zip(ran, told, strict=True)):
            raise Broken(f"{seen}, in {fitted.outcome.steps} update")
        return seen

    def save_and_load(self) -> str:
        """A saved model gives the same logits when it is loaded."""
        for framework in self.frameworks:
            model = self.model(framework)
            fitted = self.defense.fit(model, self.x, self.y, budget_ge=self._ge(2))
            with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
                fitted.save(folder)
                loaded = defenses.load(folder, self.model(framework))
            if not np.array_equal(fitted.predict(self.x), loaded.predict(self.x)):
                raise Broken(f"the {framework} model gives other logits when it is loaded again")
        return "loaded models give equal logits"

    def _use(self, x: np.ndarray, clean: np.ndarray) -> float:
        """The share of the nearest fitting budget that points use, at most."""
        if x.min() < 0 or x.max() > 1:
            raise Broken(f"it trains on values from {x.min():.4g} to {x.max():.4g}, out of [0, 1]")
        apart = x - clean.reshape(len(clean), -1)
        orders = {"linf": np.inf, "l2": 2, "l1": 1}
        shares = [
            np.linalg.norm(apart, orders[threat.norm], axis=1) / threat.eps
            for threat in self.defense.threats
        ]
        widest = float(np.min(shares, axis=0).max())
        if widest > 1 + 1e-4:
            raise Broken(f"it trains on points that use {widest:.4g} of the budget")
        return widest

    def _trained(self, framework: str, seed: int) -> list[np.ndarray]:
        model = self.model(framework)
        self.defense.fit(model, self.x, self.y, budget_ge=self._ge(2), seed=seed)
        return list(frameworks.part(_PARTS, framework).weights(model))

    def _weights(self, kernel: Kernel) -> list[np.ndarray]:
        part = next(one for one in _PARTS if recognise(kernel.model).framework == one)
        return list(frameworks.part(_PARTS, part).weights(kernel.model))

    def _ge(self, steps: int) -> int:
        return int(steps * self.defense.step_cost().gradient_evaluations) + 1

    @staticmethod
    def _loss(kernel: Kernel, draws: Arrays) -> float:
        return kernel.step(draws, learning_rate=1.0, eps=_EPS["linf"])
