"""The checks of an attack, on a small untrained network that is right on half of its examples."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping

import numpy as np

from benchmark import frameworks, models
from benchmark.attacks import lookup
from benchmark.attacks.classes import attack_class, fault
from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.running import run_attack
from benchmark.attacks.suites import AttackSpec, recorded_attack
from benchmark.attacks.target import Target
from benchmark.conformance.report import Broken, Check, NotApplicable
from benchmark.digest import digest
from benchmark.results import Record

_SIZE, _CLASSES, _COUNT = 8, 3, 24
_EPS = {"linf": 0.2, "l2": 1.0, "l1": 6.0, "l0": 6.0, UNRESTRICTED: 1.0}
# The share of examples that must end alike in both frameworks: float32 rounds near boundaries.
_ALIKE = 0.9
_NO_GRADIENTS = {"score", "decision"}

Ran = tuple[Record, dict[str, np.ndarray]]


def checks(name: str) -> Mapping[str, Check]:
    """The checks of the attack `name`, by their names."""
    subject = _Subject(name)
    return {
        "declaration": subject.declaration,
        "runs": subject.runs,
        "parity": subject.parity,
        "gradient": subject.gradient,
        "budget": subject.budget,
        "determinism": subject.determinism,
        "cost": subject.cost,
        "save and load": subject.save_and_load,
    }


class _Subject:
    """An attack with targets to try it on."""

    def __init__(self, name: str) -> None:
        self.name, self.entry = name, lookup.entry(name)
        self.spec = AttackSpec("tried", name, {})
        self._ran: dict[tuple[str, str, int], Ran] = {}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of images that it works on: grey ones unless it says that it needs others."""
        channels = self.entry.channels
        return _SIZE, _SIZE, 1 if not channels or 1 in channels else min(channels)

    @functools.cached_property
    def specification(self) -> models.ModelSpecification:
        """Of the network."""
        return models.specification("cnn", self.shape, _CLASSES)

    def target(self, framework: str) -> Target:
        """The network in one framework, and every other example with its own answer as label."""
        weights = self.specification.initial_weights(0)
        model = models.built(framework, self.specification, weights)
        kernel = frameworks.part(frameworks.ESTIMATORS, framework)
        estimator = kernel.wrap(model, input_shape=self.shape, classes=_CLASSES, device="cpu")
        x = np.random.default_rng(0).random((_COUNT, *self.shape), dtype=np.float32)
        found = estimator.predict(x).argmax(axis=1)
        y = np.where(np.arange(_COUNT) % 2 == 0, found, (found + 1) % _CLASSES)
        return Target(estimator, x, y, found, np.arange(_COUNT), framework=framework)

    def ran(self, framework: str, norm: str, *, turn: int = 0) -> Ran:
        """What came of it under a norm; anything but success is `Broken`."""
        if (framework, norm, turn) not in self._ran:
            target = self.target(framework)
            record, arrays = run_attack(
                self.spec, target, key="", norm=norm, eps=_EPS[norm], seed=0
            )
            if record["status"] != "ok":
                raise Broken(f"{record['status']} under {norm} in {framework}: {record['reason']}")
            self._ran[framework, norm, turn] = record, arrays
        return self._ran[framework, norm, turn]

    def every(self) -> list[tuple[str, str]]:
        """Framework and norm, of all that it serves."""
        return [(one, norm) for one in self.entry.frameworks for norm in self.entry.norms]

    def declaration(self) -> str:
        """Its class takes the arguments that it is said to take."""
        made = attack_class(self.entry)
        if wrong := fault(self.entry, self.entry.defaults):
            raise Broken(f"it {wrong}")
        lacking = [one for one in self.entry.arguments if one not in made.attack_params]
        if lacking:
            raise Broken(f"attack_params of its class doesn't name {', '.join(lacking)}")
        return f"{self.entry.description} ({', '.join(self.entry.norms)})"

    def runs(self) -> str:
        """In every framework and under every norm that it declares."""
        told = []
        for framework, norm in self.every():
            record, _ = self.ran(framework, norm)
            told.append(f"{record['robust_accuracy']:.0%} left under {norm} in {framework}")
        return ", ".join(told)

    def parity(self) -> str:
        """Both frameworks come to the same examples, from the same weights and seed."""
        if len(self.entry.frameworks) < 2:
            raise NotApplicable(f"it runs in {self.entry.frameworks[0]} alone")
        shares = []
        for norm in self.entry.norms:
            ours, theirs = (self.ran(one, norm)[1]["success"] for one in frameworks.FRAMEWORKS)
            shares.append(float((ours == theirs).mean()))
            if shares[-1] < _ALIKE:
                raise Broken(f"under {norm} {shares[-1]:.0%} of examples end alike")
        return f"{min(shares):.0%} of examples end alike"

    def gradient(self) -> str:
        """An attack asks the benchmark for gradients."""
        raise NotApplicable("gradients are the estimator's, which has tests of its own")

    def budget(self) -> str:
        """No point leaves the budget or the box, and none is no number."""
        for framework, norm in self.every():
            found = self.ran(framework, norm)[0]["violations"]
            if any(found.values()):
                told = ", ".join(f"{count} {name}" for name, count in found.items() if count)
                raise Broken(f"points refused under {norm} in {framework}: {told}")
        return "no point was refused"

    def determinism(self) -> str:
        """The same seed gives the same points."""
        for framework, norm in self.every():
            _, first = self.ran(framework, norm)
            _, again = self.ran(framework, norm, turn=1)
            if not all(np.array_equal(first[key], again[key], equal_nan=True) for key in first):
                raise Broken(f"two runs with one seed differ under {norm} in {framework}")
        return "equal seeds give equal points, bit by bit"

    def cost(self) -> str:
        """It asks the estimator alone, and for gradients only if its kinds say so."""
        framework, norm = self.every()[0]
        record, _ = self.ran(framework, norm)
        if not record["forwards"]:
            raise Broken("it asked the estimator for nothing, so that its cost is not counted")
        if record["backwards"] and _NO_GRADIENTS & {*self.entry.kinds}:
            raise Broken(
                f"it asked for {record['backwards']} gradients; its kinds say it needs none"
            )
        return f"{record['forwards']} forwards and {record['backwards']} backwards were counted"

    def save_and_load(self) -> str:
        """What a record says of it names the same attack again."""
        identity = json.loads(json.dumps(self.spec.identity()))
        again = recorded_attack(self.spec.name, identity)
        if digest(again.identity()) != digest(self.spec.identity()):
            raise Broken(f"its record is read back as {again.identity()}")
        return "its record names the same attack"
