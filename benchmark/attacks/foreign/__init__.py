"""Attacks of other libraries, and classes of any installed distribution, by their names.

    art:CLASS           a class of ART's evasion attacks, as it is
    torchattacks:NAME   of torchattacks, on models of PyTorch
    foolbox:NAME        of Foolbox, likewise
    module:Class        derived from ART's EvasionAttack, of an installed distribution

What they may be given is read from their signatures. What they return is re-measured like the
points of every attack, so that none can claim more than it did.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Collection, Mapping
from importlib.metadata import packages_distributions, version
from typing import Any

from benchmark.attacks.arguments import ArgumentKind, kind_like
from benchmark.attacks.classes import not_names
from benchmark.attacks.entry import LP, AttackEntry
from benchmark.errors import SuiteError, shortened
from benchmark.text import reason_of
from defenses.errors import did_you_mean
from defenses.imports import import_torch_first

_ART = "art.attacks.evasion"
_ALL = (*LP, "l0")
_MINIMAL = ("minimal-norm",)
# What a budget is called by attacks that stay in one.
_BUDGETS = {"eps", "max_epsilon"}
# What the benchmark itself gives, and what makes no attack another one.
_TAKEN = {
    *("self", "estimator", "classifier", "model", "norm", "eps", "batch_size", "verbose"),
    *("summary_writer", "device", "seed", "targeted", "ord", "tensor_board"),
}
# Likewise, where the class is not of ART: how many classes, a budget, the norm that is minimal.
_TAKEN_ELSEWHERE = {"n_classes", "max_epsilon", "constraint"}


def is_of_a_library(name: str) -> bool:
    """Whether it is one of a library that this project knows, so that no other code is imported."""
    return name.partition(":")[0] in _LIBRARIES


@functools.cache
def entry(name: str) -> AttackEntry:
    """What a suite may do with the class; `SuiteError` where that is no attack."""
    place, _, attribute = name.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in place.split(".")):
        raise SuiteError(
            f"attack {shortened(name)} is no class; write art:CLASS, torchattacks:NAME, "
            "foolbox:NAME or module:Class"
        )
    import_torch_first()  # ART and the others import it
    return _LIBRARIES.get(place, _of_a_module)(place, attribute)


def _of_art(place: str, name: str) -> AttackEntry:
    return _of_art_class(_class(place, _ART, name), f"{_ART}:{name}", f"art:{name}")


def _of_a_module(place: str, name: str) -> AttackEntry:
    owners = packages_distributions().get(place.partition(".")[0])
    if not owners:
        raise SuiteError(
            f"attack '{place}:{name}': no installed distribution has the module {place}; install "
            "the package that holds it"
        )
    found = _class(place, place, name)
    distribution = f"{owners[0]} {version(owners[0])}"
    return _of_art_class(found, f"{place}:{name}", f"{place}:{name}", distribution)


def _of_art_class(found: Any, target: str, shown: str, distribution: str = "") -> AttackEntry:
    base = importlib.import_module("art.attacks").EvasionAttack
    if not (isinstance(found, type) and issubclass(found, base)):
        raise SuiteError(f"attack {shown!r} is not derived from art.attacks.EvasionAttack")
    if inspect.isabstract(found):
        raise SuiteError(f"attack {shown!r} is abstract; name a class that has its own generate")
    if why := not_names(getattr(found, "attack_params", None)):
        raise SuiteError(f"attack {shown!r}: its attack_params are {why}")
    kinds = _arguments(found, shown)
    known = inspect.signature(found).parameters
    return AttackEntry(
        target=target,
        description=f"{shown} as it is",
        norms=LP if "norm" in known else _ALL,
        arguments=tuple(kinds),
        kinds=("gradient",) if "eps" in known else _MINIMAL,
        argument_kinds=kinds,
        label=shown,  # the bare name could be that of one of this project's own
        distribution=distribution,
    )


def _of_torchattacks(place: str, name: str) -> AttackEntry:
    found = _class(place, "torchattacks", name)
    kinds = _arguments(found, f"{place}:{name}", taken=_TAKEN | _TAKEN_ELSEWHERE)
    known = inspect.signature(found).parameters
    bounded = not _BUDGETS.isdisjoint(known)
    norms: tuple[str, ...] = ("linf",)
    if "norm" in known:
        norms = ("linf", "l2")
    elif name.endswith("L2"):
        norms = ("l2",)
    elif not bounded:
        norms = _ALL
    fixed = {"name": name} | ({"seed": 0} if "seed" in known else {})
    return AttackEntry(
        target="benchmark.attacks.foreign.pytorch:Torchattack",
        description=f"{name} of torchattacks",
        norms=norms,
        arguments=tuple(kinds),
        kinds=("gradient",) if bounded else _MINIMAL,
        images_only=True,
        frameworks=("torch",),
        fixed=fixed,
        argument_kinds=kinds,
        label=f"torchattacks.{name}",
        distribution=f"torchattacks {version('torchattacks')}",
    )


def _of_foolbox(place: str, name: str) -> AttackEntry:
    found = _class(place, "foolbox.attacks", name)
    kinds = _arguments(found, f"{place}:{name}", taken=_TAKEN | _TAKEN_ELSEWHERE)
    minimal = issubclass(found, importlib.import_module("foolbox.attacks.base").MinimizationAttack)
    return AttackEntry(
        target="benchmark.attacks.foreign.pytorch:FoolboxAttack",
        description=f"{name} of Foolbox",
        norms=_norms_of_foolbox(found, f"{place}:{name}"),
        arguments=tuple(kinds),
        kinds=_MINIMAL if minimal else ("gradient",),
        frameworks=("torch",),
        fixed={"name": name},
        argument_kinds=kinds,
        label=f"foolbox.{name}",
        distribution=f"foolbox {version('foolbox')}",
    )


def _norms_of_foolbox(found: Any, shown: str) -> tuple[str, ...]:
    """Those that a class of Foolbox serves: its objects say, which may differ from the class."""
    try:
        made = found()
    except Exception as error:  # such as a package that it needs
        raise SuiteError(f"attack {shown!r} can't be created: {reason_of(error)}") from error
    if "constraint" in inspect.signature(found).parameters:
        return ("linf", "l2")
    try:
        order = made.distance.p
    except (AttributeError, ValueError):  # it has none, or is to be told one
        return _ALL
    return ({float("inf"): "linf", 2: "l2", 1: "l1", 0: "l0"}[order],)


_LIBRARIES = {"art": _of_art, "torchattacks": _of_torchattacks, "foolbox": _of_foolbox}


def _class(place: str, module: str, name: str) -> Any:
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        wanted = module.partition(".")[0]
        told = f"pip install {wanted}" if error.name == wanted else str(error)
        raise SuiteError(f"attack '{place}:{name}' needs the package {wanted}; {told}") from error
    except (Exception, SystemExit) as error:  # other people's module may raise anything
        raise SuiteError(f"attack '{place}:{name}' can't be loaded: {reason_of(error)}") from error
    if not isinstance(getattr(found, name, None), type):
        classes = [key for key, value in vars(found).items() if isinstance(value, type)]
        raise SuiteError(f"attack '{place}:{name}': no such class{did_you_mean(name, classes)}")
    return getattr(found, name)


def _arguments(
    attack: Any, shown: str, *, taken: Collection[str] = frozenset(_TAKEN)
) -> Mapping[str, ArgumentKind]:
    """What a suite may set, from the signature; `SuiteError` where something else is needed."""
    kinds: dict[str, ArgumentKind] = {}
    for name, one in list(inspect.signature(attack).parameters.items()):
        if name in taken or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            continue
        if one.default is one.empty:
            raise SuiteError(f"attack {shown!r} needs {name}, which no suite can give")
        annotation = getattr(one.annotation, "__name__", str(one.annotation))
        if (kind := kind_like(one.default, annotation)) is not None:
            kinds[name] = kind
    return kinds
