"""Suites: YAML files to attacks with resolved arguments, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, cast

from benchmark import documents
from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.specification import (
    SHARE_OF_EPS,
    THREATS,
    AttackSpec,
    SecurityCurve,
    Suite,
    Value,
)
from benchmark.attacks.specification import TRANSFER as TRANSFER
from benchmark.attacks.table import ATTACKS
from benchmark.errors import SuiteError, UnknownName, did_you_mean

_SAFE_NAME = re.compile(r"^[a-z0-9][a-z0-9-]*$")


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
    content = _read(name)
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
    curve = _curve(name, content.get("security_curve"), attacks)
    if curve is not None:
        # A stop at the first point within the budget would hide the nearest one.
        specs = [
            replace(spec, to_the_end=spec.name == curve.attack and spec.entry.ends_early)
            for spec in specs
        ]
    return Suite(_suite_name(name), str(content.get("description", "")), tuple(specs), curve)


def _suite_name(name: str) -> str:
    return Path(name).stem


def _read(name: str) -> Mapping[str, Any]:
    try:
        content = documents.read(_path(name))
    except OSError as error:
        raise SuiteError(f"can't read suite file {name!r}: {error.strerror or error}") from error
    except documents.NotYaml as error:
        raise SuiteError(f"suite {name!r} is not valid YAML: {error}") from error
    content = _mapping(content, f"suite {name!r}")
    _check_keys(content, ("description", "attacks", "security_curve"), f"suite {name!r}")
    return content


def _path(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    builtin = resources.files("attacks_cfg")
    names = [file.name.removesuffix(".yaml") for file in builtin.iterdir()]
    file = builtin / f"{name}.yaml"
    if not _SAFE_NAME.match(name) or not file.is_file():
        raise UnknownName("suite", name, [n for n in names if _SAFE_NAME.match(n)])
    return Path(str(file))


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
    _check_keys(body, ("attack", "arguments", "threat", "examples", "from"), f"attack {name!r}")
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
    examples = _examples(f"attack {name!r}", body.get("examples"))
    source = body.get("from")
    if source is not None and not isinstance(source, str):
        raise SuiteError(
            f"attack {name!r}: from is {source!r}; give the name of a defense such as none"
        )
    return AttackSpec(name, attack, arguments, norm=norm, eps=eps, examples=examples, source=source)


def _curve(suite: str, given: object, attacks: Mapping[str, Any]) -> SecurityCurve | None:
    if given is None:
        return None
    what = f"suite {suite!r}: 'security_curve'"
    body = _mapping(given, what)
    _check_keys(body, ("attack", "budgets", "examples"), what)
    attack, budgets = str(body.get("attack")), body.get("budgets")
    if attack not in attacks:
        raise SuiteError(f"{what} names the attack {attack!r}{did_you_mean(attack, attacks)}")
    if (
        not isinstance(budgets, list)
        or not budgets
        or not all(map(_is_budget, budgets))
        or budgets != sorted(set(budgets))
    ):
        raise SuiteError(
            f"{what}: budgets are {budgets!r}; give ascending shares of eps such as [0.5, 1, 2]"
        )
    examples = _examples(what, body.get("examples"))
    return SecurityCurve(attack, tuple(float(share) for share in budgets), examples)


def _examples(what: str, given: object) -> int | None:
    if given is not None and (type(given) is not int or given < 1):
        raise SuiteError(f"{what}: examples must be a whole number from 1 up, got {given!r}")
    return given


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


def _check_value(attack: str, argument: str, value: object, texts: tuple[str, ...]) -> None:
    if texts:
        if value not in texts:
            raise SuiteError(
                f"attack {attack!r}: {argument} is {value!r}{did_you_mean(str(value), texts)}"
            )
    elif isinstance(value, str):
        if not SHARE_OF_EPS.match(value):
            raise SuiteError(
                f"attack {attack!r}: {argument} is {value!r}; allowed: a number, or a share of the "
                "budget such as '0.1 eps'"
            )
    elif not isinstance(value, (int, float)) or value < 0:
        raise SuiteError(f"attack {attack!r}: {argument} must be a number from 0 up, got {value!r}")


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SuiteError(f"{what} must be a mapping of names to values, got {value!r}")
    return value


def _check_keys(found: Mapping[str, Any], allowed: tuple[str, ...], what: str) -> None:
    for key in found:
        if key not in allowed:
            raise SuiteError(f"{what} has the unknown key {key!r}{did_you_mean(str(key), allowed)}")
