"""Defenses against adversarial examples, trained in PyTorch and in TensorFlow.

    from defenses import MetaAdversarial, Threat

    defense = MetaAdversarial(threat=Threat("linf", 0.3), inner_steps=1)
    fitted = defense.fit(model, x_train, y_train, epochs=5, seed=0)
    adapted = fitted.adapt(x_support, y_support, steps=5)
    fitted.save("folder")                       # load("folder", model) reads it

`model` is a `torch.nn.Module`, a `keras.Model`, or ART's `PyTorchClassifier` or
`TensorFlowV2Classifier`; data are NumPy. Importing this package loads no framework: a kernel is
imported when a model of its framework is fitted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from defenses import foreign, help, saved, wrappers
from defenses.adversarial.spec import AdversarialTraining, FastTraining, FgsmTraining
from defenses.awp.spec import WeightPerturbation
from defenses.contributed import KINDS, Contribution, ContributionError, contributed
from defenses.defense import Defense
from defenses.errors import DefenseError, TrainingDivergedError, did_you_mean
from defenses.extra import Extra
from defenses.fitted import Fitted
from defenses.free.spec import FreeTraining
from defenses.mart.spec import Mart
from defenses.meta.spec import MetaAdversarial
from defenses.standard.spec import StandardTraining
from defenses.threat import Threat
from defenses.trades.spec import Trades

__all__ = [
    "NO_DESCRIPTION",
    "TABLE",
    "AdversarialTraining",
    "ContributionError",
    "Defense",
    "DefenseError",
    "Extra",
    "FastTraining",
    "FgsmTraining",
    "Fitted",
    "FreeTraining",
    "Mart",
    "MetaAdversarial",
    "StandardTraining",
    "Threat",
    "Trades",
    "TrainingDivergedError",
    "WeightPerturbation",
    "check_parameters",
    "create",
    "describe",
    "distribution",
    "load",
    "names",
    "parameter_help",
    "parameter_names",
    "presets",
]

# Name on the command line to "module:class"; others add to it by entry points.
TABLE: dict[str, str] = {
    "none": "defenses.standard.spec:StandardTraining",
    "fgsm-at": "defenses.adversarial.spec:FgsmTraining",
    "fgsm-rs": "defenses.adversarial.spec:FastTraining",
    "free-at": "defenses.free.spec:FreeTraining",
    "pgd-at": "defenses.adversarial.spec:AdversarialTraining",
    "trades": "defenses.trades.spec:Trades",
    "mart": "defenses.mart.spec:Mart",
    "awp": "defenses.awp.spec:WeightPerturbation",
    "random-norm": "defenses.random_norm.spec:RandomNorm",
    "msd": "defenses.msd.spec:MultiSteepestDescent",
    "meta-gen": "defenses.meta_gen.spec:MetaGenerator",
    "mng-ac": "defenses.mng_ac.spec:MetaNoise",
    "gaussian": "defenses.gaussian.spec:GaussianTraining",
    "meta-adv": "defenses.meta.spec:MetaAdversarial",
    "seed-listing": "defenses.seed_listing.spec:SeedListing",
}

NO_DESCRIPTION = "(no description)"


def names() -> list[str]:
    """The defenses that can be named on the command line; contributed ones come last."""
    return [*TABLE, *_contributed()]


def distribution(name: str) -> str | None:
    """Name and version of the other distribution that a defense comes with."""
    found = _contributed().get(name)
    return None if found is None else found.distribution


def describe(name: str) -> str:
    """One line about a defense: the first of its docstring."""
    kind = _load(name)
    told = (kind.__doc__ or "").strip()
    is_made = told.startswith(f"{kind.__name__}(")  # by `dataclass`, where there is none
    return NO_DESCRIPTION if is_made or not told else told.splitlines()[0]


def parameter_names(name: str) -> list[str]:
    """What `create` takes as parameters of a defense."""
    return [field.name for field in dataclasses.fields(_load(name)) if field.name != "threat"]


def check_parameters(name: str, parameters: Mapping[str, Any]) -> None:
    """Raises DefenseError for one that the defense `name` has not, or an unknown preset.

    Whether their values do is told by `create`, which knows the threat.
    """
    _load(name).named(parameters)


def parameter_help(name: str) -> dict[str, str]:
    """Parameter to its default and what it means, of a defense."""
    return help.parameter_help(_load(name))


def presets(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Published recipes of a defense, which its parameter `preset` names, to their parameters."""
    return _load(name).presets


def create(name: str, threat: Threat, parameters: Mapping[str, Any] | None = None) -> Defense:
    """The defense `name` against `threat`, with `parameters` on top of its defaults.

    Raises:
        DefenseError: unknown name, unknown parameter or a value out of range.
        ContributionError: another distribution's defense can't be made, or tells no cost.
    """
    kind = _load(name)
    if (other := _contributed().get(name)) is None:
        return kind.from_parameters(threat, parameters or {})
    return foreign.made(other, kind, threat, parameters or {})


def load(path: Path | str, model: Any) -> Fitted:
    """What `Fitted.save` wrote to the folder `path`, with `model` to take up its weights.

    Args:
        model: built as the trained one was, and built already, of the same framework; its weights
            are replaced.

    Raises:
        DefenseError: the folder holds something else, or the model doesn't fit.
    """
    record = saved.read(Path(path))
    try:
        name = _name_of(record["defense"])
        defense = create(name, Threat(**record["threat"]), record["parameters"])
        fitted = defense.resume(model)
        learned = record["learned"]
        outcome = saved.outcome_of(record["outcome"])
        framework = record["framework"]
    except (KeyError, TypeError) as error:
        raise DefenseError(f"{path} holds no trained model that can be read: {error!r}") from error
    if fitted.subject.framework != framework:
        raise DefenseError(
            f"{path} holds a {framework} model, and a {fitted.subject.framework} one was given"
        )
    fitted.kernel.read_weights(Path(path))
    fitted.kernel.load_learned(learned)
    return dataclasses.replace(fitted, outcome=outcome)


def _name_of(target: str) -> str:
    """The defense whose class a record names; raises `KeyError` for what no table holds."""
    names_of = {target: name for name, target in TABLE.items()}
    if target not in names_of:
        names_of = {}
        for name in _contributed():
            with contextlib.suppress(ContributionError):  # another one's, which is told by its name
                names_of[saved.target_of(_load(name))] = name
    return names_of[target]


def _contributed() -> dict[str, Contribution]:
    # What goes around a trained model shares the namespace, as "all" does.
    return contributed("defenses", [*TABLE, *wrappers.WRAPPERS, "all"])


def _load(name: str) -> type[Defense]:
    if (target := TABLE.get(name)) is not None:
        module, _, attribute = target.partition(":")
        defense: type[Defense] = getattr(importlib.import_module(module), attribute)
        return defense
    if (other := _contributed().get(name)) is None:
        raise DefenseError(f"unknown defense {name!r}{did_you_mean(name, names())}")
    found = other.load()
    if not (isinstance(found, type) and issubclass(found, Defense)):
        raise other.unusable(f"is not {KINDS['defenses']}")
    if why := foreign.fault(found):
        raise other.unusable(why)
    return found
