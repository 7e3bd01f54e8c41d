"""Suites: YAML files to attacks with resolved arguments, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from benchmark.attacks.table import ATTACKS, AttackEntry
from benchmark.errors import SuiteError, UnknownName, did_you_mean

Value = int | float | str | bool

_SHARE_OF_EPS = re.compile(r"^(\d+(?:\.\d*)?)\s*eps$")
_SAFE_NAME = re.compile(r"^[a-z0-9][a-z0-9-]*$")


@dataclass(frozen=True)
class AttackSpec:
    """One attack of a suite.

    Args:
        name: in reports; unique in its suite.
        attack: its entry in `benchmark.attacks.table`.
        arguments: as in the suite file: numbers, or shares of eps such as "0.1 eps".
        transfers: run on the bare model below a cell's input and output defenses, and its points
            are tried on the whole.
    """

    name: str
    attack: str
    arguments: Mapping[str, Value]
    transfers: bool = False

    @property
    def entry(self) -> AttackEntry:
        """The attack's row in the table."""
        return ATTACKS[self.attack]

    def resolved(self, eps: float) -> dict[str, Value]:
        """The arguments with shares of eps as numbers."""
        return {name: _resolve(value, eps) for name, value in self.arguments.items()}

    def obstacle(self, norm: str, input_shape: tuple[int, ...]) -> str:
        """Why the attack can't be run on these inputs under this norm; empty where it can."""
        if norm not in self.entry.norms:
            return f"serves {', '.join(self.entry.norms)}, not {norm}"
        if self.entry.images_only and len(input_shape) != 3:
            return "works on images only, these data are tabular"
        smallest = self.entry.smallest_side.get(norm, 1)
        if len(input_shape) == 3 and min(input_shape[:2]) < smallest:
            return f"needs images of at least {smallest}x{smallest} pixels under {norm}"
        return ""


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
    _check_keys(body, ("attack", "arguments"), f"attack {name!r}")
    attack = str(body.get("attack"))
    if attack not in ATTACKS:
        raise SuiteError(
            f"attack {name!r} names the unknown attack {attack!r}{did_you_mean(attack, ATTACKS)}"
        )
    arguments = {
        **_mapping(body.get("arguments", {}), f"attack {name!r}: 'arguments'"),
        **overrides,
    }
    _check_keys(arguments, ATTACKS[attack].arguments, f"attack {name!r}")
    for argument, value in arguments.items():
        _check_value(name, argument, value)
    return AttackSpec(name, attack, arguments)


def _check_value(attack: str, argument: str, value: object) -> None:
    if isinstance(value, str):
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
