"""Suites: YAML files to attacks with resolved arguments, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml

from benchmark.attacks.entry import UNRESTRICTED, AttackEntry
from benchmark.attacks.table import ATTACKS
from benchmark.errors import SuiteError, UnknownName, did_you_mean

Value = int | float | str | bool

# What an attack of a suite may name as the norm of a threat of its own.
THREATS = ("linf", "l2", "l1", "l0", UNRESTRICTED)

_SHARE_OF_EPS = re.compile(r"^(\d+(?:\.\d*)?)\s*eps$")
_SAFE_NAME = re.compile(r"^[a-z0-9][a-z0-9-]*$")


@dataclass(frozen=True)
class AttackSpec:
    """One attack of a suite.

    Args:
        name: in reports; unique in its suite.
        attack: its entry in `benchmark.attacks.table`.
        arguments: as in the suite file: numbers, texts, or shares of eps such as "0.1 eps".
        transfers: run on the bare model below a cell's input and output defenses, and its points
            are tried on the whole.
        norm: of a threat of its own; None for the cell's.
        eps: the budget under a norm of its own; None for the data set's, or the cell's if the norm
            is the cell's.
        examples: how many of the cell's examples it attacks; None for all.
        to_the_end: whether to look for the nearest adversarial example where a first one is known.
    """

    name: str
    attack: str
    arguments: Mapping[str, Value]
    transfers: bool = False
    norm: str | None = None
    eps: float | None = None
    examples: int | None = None
    to_the_end: bool = False

    @property
    def entry(self) -> AttackEntry:
        """The attack's row in the table."""
        return ATTACKS[self.attack]

    def resolved(self, eps: float) -> dict[str, Value]:
        """The arguments with shares of eps as numbers."""
        return {name: _resolve(value, eps) for name, value in self.arguments.items()}

    def threat(self, norm: str, eps: float) -> tuple[str, float]:
        """Norm and budget of the attack in a cell with these; no budget is infinite."""
        if self.norm is None:
            return norm, eps
        if self.norm == UNRESTRICTED:
            return UNRESTRICTED, float("inf")
        if self.eps is None and self.norm != norm:
            raise SuiteError(f"attack {self.name!r} has no eps under {self.norm}")
        return self.norm, eps if self.eps is None else self.eps

    def obstacle(self, norm: str, input_shape: tuple[int, ...]) -> str:
        """Why the attack can't be run on these inputs in a cell of this norm; empty if it can."""
        return self.entry.obstacle(self.norm or norm, input_shape)


# Joins every suite in cells with input or output defenses: what such a defense hides from an attack
# that looks through it can be found without it.
TRANSFER = AttackSpec(
    "transfer", "pgd", {"max_iter": 40, "eps_step": "0.1 eps", "num_random_init": 1}, transfers=True
)


@dataclass(frozen=True)
class Suite:
    """A named list of attacks."""

    name: str
    description: str
    attacks: tuple[AttackSpec, ...]

    def applicable(self, norm: str, input_shape: tuple[int, ...]) -> list[tuple[AttackSpec, str]]:
        """Every attack with the reason why it can't run here, or an empty one."""
        return [(spec, spec.obstacle(norm, input_shape)) for spec in self.attacks]

    def with_budgets(self, budgets: Mapping[str, float]) -> Suite:
        """The suite with these budgets, by norm, for threats that name a norm only.

        Raises:
            SuiteError: a norm of a threat has no budget.
        """
        return replace(self, attacks=tuple(_with_budget(spec, budgets) for spec in self.attacks))


def list_suites() -> dict[str, str]:
    """The suites that come with the project, with a line about each."""
    files = resources.files("attacks_cfg").iterdir()
    names = sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))
    return {name: load_suite(name).description for name in names}


def load_suite(name: str, overrides: Mapping[str, Mapping[str, Value]] | None = None) -> Suite:
    """A suite by its name, or by the path of a YAML file, with arguments set on top.

    Args:
        name: one of `list_suites`, or a path that ends in .yaml.
        overrides: attack name to arguments.

    Raises:
        UnknownName: no such suite.
        SuiteError: the file is no suite, or names an unknown attack or argument.
    """
    content = _parse(name, _read(name))
    attacks = _mapping(content.get("attacks"), f"suite {name!r}: 'attacks'")
    if not attacks:
        raise SuiteError(f"suite {name!r} has no attacks; list at least one under 'attacks'")
    overrides = overrides or {}
    for attack in overrides:
        if attack not in attacks:
            raise SuiteError(
                f"suite {name!r} has no attack {attack!r}{did_you_mean(attack, attacks)}"
            )
    specs = [
        _attack(name, attack, _mapping(body, f"attack {attack!r}"), overrides.get(attack, {}))
        for attack, body in attacks.items()
    ]
    return Suite(_suite_name(name), str(content.get("description", "")), tuple(specs))


def _suite_name(name: str) -> str:
    return Path(name).stem


def _read(name: str) -> str:
    if name.endswith((".yaml", ".yml")):
        try:
            return Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SuiteError(f"can't read suite file {name!r}: {error}") from error
    builtin = resources.files("attacks_cfg")
    names = [file.name.removesuffix(".yaml") for file in builtin.iterdir()]
    file = builtin / f"{name}.yaml"
    if not _SAFE_NAME.match(name) or not file.is_file():
        raise UnknownName("suite", name, [n for n in names if _SAFE_NAME.match(n)])
    return file.read_text(encoding="utf-8")


def _parse(name: str, text: str) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise SuiteError(f"suite {name!r} is not valid YAML: {line}") from error
    content = _mapping(content, f"suite {name!r}")
    _check_keys(content, ("description", "attacks"), f"suite {name!r}")
    return content


def _attack(
    suite: str, name: str, body: Mapping[str, Any], overrides: Mapping[str, Value]
) -> AttackSpec:
    if not _SAFE_NAME.match(str(name)):
        raise SuiteError(
            f"suite {suite!r}: attack name {name!r} may hold a-z, 0-9 and hyphens only"
        )
    if name == TRANSFER.name:
        raise SuiteError(
            f"suite {suite!r}: the name {name!r} is kept for the attack that joins every suite in "
            "cells with input or output defenses; choose another"
        )
    _check_keys(body, ("attack", "arguments", "threat", "examples"), f"attack {name!r}")
    attack = str(body.get("attack"))
    if attack not in ATTACKS:
        raise SuiteError(
            f"attack {name!r} names the unknown attack {attack!r}{did_you_mean(attack, ATTACKS)}"
        )
    arguments = {
        **_mapping(body.get("arguments", {}), f"attack {name!r}: 'arguments'"),
        **overrides,
    }
    entry = ATTACKS[attack]
    _check_keys(arguments, (*entry.arguments, *entry.options), f"attack {name!r}")
    norm, eps = _threat(name, body.get("threat"))
    for argument, value in arguments.items():
        _check_value(name, argument, value, entry.options.get(argument, ()))
        if norm == UNRESTRICTED and isinstance(value, str) and argument not in entry.options:
            raise SuiteError(f"attack {name!r}: {argument} is {value!r}, but it has no budget")
    examples = body.get("examples")
    if examples is not None and (type(examples) is not int or examples < 1):
        raise SuiteError(
            f"attack {name!r}: examples must be a whole number from 1 up, got {examples!r}"
        )
    return AttackSpec(name, attack, arguments, norm=norm, eps=eps, examples=examples)


def _threat(name: str, given: object) -> tuple[str | None, float | None]:
    """Norm and budget of an attack's own threat, None where they are left open."""
    if given is None:
        return None, None
    body = {"norm": given} if isinstance(given, str) else _mapping(given, f"{name!r}: 'threat'")
    _check_keys(body, ("norm", "eps"), f"the threat of {name!r}")
    norm, eps = str(body.get("norm")), body.get("eps")
    if norm not in THREATS:
        raise SuiteError(
            f"attack {name!r}: the threat's norm is {norm!r}{did_you_mean(norm, THREATS)}"
        )
    if eps is not None and (norm == UNRESTRICTED or not _is_budget(eps)):
        raise SuiteError(
            f"attack {name!r}: the threat's eps is {eps!r}; give a number above 0 under a norm, "
            f"and none if {UNRESTRICTED}"
        )
    return norm, None if eps is None else float(eps)


def _is_budget(value: object) -> bool:
    return type(value) in (int, float) and 0 < cast(float, value) < float("inf")


def _with_budget(spec: AttackSpec, budgets: Mapping[str, float]) -> AttackSpec:
    if spec.norm in (None, UNRESTRICTED) or spec.eps is not None:
        return spec
    assert spec.norm is not None
    if spec.norm not in budgets:
        raise SuiteError(
            f"attack {spec.name!r}: the data have no default eps under {spec.norm}; write "
            f"'threat: {{norm: {spec.norm}, eps: NUMBER}}'"
        )
    return replace(spec, eps=budgets[spec.norm])


def _check_value(attack: str, argument: str, value: object, texts: tuple[str, ...]) -> None:
    if texts:
        if value not in texts:
            raise SuiteError(
                f"attack {attack!r}: {argument} is {value!r}{did_you_mean(str(value), texts)}"
            )
    elif isinstance(value, str):
        if not _SHARE_OF_EPS.match(value):
            raise SuiteError(
                f"attack {attack!r}: {argument} is {value!r}; allowed: a number, or a share of the "
                "budget such as '0.1 eps'"
            )
    elif not isinstance(value, (int, float)) or value < 0:
        raise SuiteError(f"attack {attack!r}: {argument} must be a number from 0 up, got {value!r}")


def _resolve(value: Value, eps: float) -> Value:
    match = _SHARE_OF_EPS.match(value) if isinstance(value, str) else None
    return float(match[1]) * eps if match else value


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SuiteError(f"{what} must be a mapping of names to values, got {value!r}")
    return value


def _check_keys(found: Mapping[str, Any], allowed: tuple[str, ...], what: str) -> None:
    for key in found:
        if key not in allowed:
            raise SuiteError(f"{what} has the unknown key {key!r}{did_you_mean(str(key), allowed)}")
