"""Suites: YAML files to attacks with resolved arguments, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, cast

import defenses
from benchmark import documents
from benchmark.attacks.arguments import Kind, Value, kind_of
from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.specification import THREATS, AttackSpec, SecurityCurve, Suite
from benchmark.attacks.specification import TRANSFER as TRANSFER
from benchmark.attacks.table import ATTACKS
from benchmark.errors import SuiteError, UnknownName, shortened
from benchmark.limits import MAX_EPS, MAX_EXAMPLES, eps_fault
from defenses import wrappers
from defenses.errors import did_you_mean

_SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
# Names of attacks become names of files, with a hash and an ending behind them.
_LONGEST_NAME = 60
_LONGEST_SUITE = 150

_EXAMPLES = Kind("a whole number from 1 up", 1, MAX_EXAMPLES, whole=True)


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
    return _suite(name, _read(name), overrides or {})


def suite_of(name: str, text: str, overrides: Mapping[str, Mapping[str, Value]]) -> Suite:
    """The suite of a file's text, as `load_suite` makes it of the file; raises `SuiteError`."""
    try:
        content = documents.parse(text)
    except documents.NotYaml as error:
        raise SuiteError(f"suite {name!r} is not valid YAML: {error}") from error
    return _suite(name, _checked(name, content), overrides)


def _suite(
    name: str, content: Mapping[str, Any], overrides: Mapping[str, Mapping[str, Value]]
) -> Suite:
    attacks = _mapping(content.get("attacks"), f"suite {name!r}: 'attacks'")
    if not attacks:
        raise SuiteError(f"suite {name!r} has no attacks; list at least one under 'attacks'")
    for attack in overrides:
        if attack not in attacks:
            raise SuiteError(
                f"suite {name!r} has no attack {shortened(attack)}{did_you_mean(attack, attacks)}"
            )
    specs = [
        _attack(
            name, attack, _mapping(body, f"attack {shortened(attack)}"), overrides.get(attack, {})
        )
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


def recorded_attack(name: str, identity: object) -> AttackSpec:
    """The attack that a record's `AttackSpec.identity` tells, checked as one of a suite file is.

    Raises:
        SuiteError: it is no such identity.
    """
    if name == TRANSFER.name:
        return TRANSFER
    attack, given, *rest = identity if isinstance(identity, list) and len(identity) > 1 else (0, 0)
    more = _mapping(rest[0] if rest else {}, f"attack {name!r}: the rest of its identity")
    _check_keys(more, ("norm", "eps", "examples", "source", "to_the_end"), f"attack {name!r}")
    threat = {key: more[key] for key in ("norm", "eps") if key in more}
    body = {"attack": attack, "arguments": given, "threat": threat or None}
    body |= {"examples": more.get("examples"), "from": more.get("source")}
    spec = _attack("as recorded", name, body, {})
    return replace(spec, to_the_end=more.get("to_the_end") is True)


def suite_file(name: str) -> tuple[str, str] | None:
    """A suite file's name without folders, and its text; None for a suite of the project."""
    if not name.endswith((".yaml", ".yml")):
        return None
    try:
        return Path(name).name, documents.text(Path(name))
    except OSError as error:
        raise SuiteError(f"can't read suite file {name!r}: {error.strerror or error}") from error


def _suite_name(name: str) -> str:
    stem = Path(name).stem
    if len(stem) > _LONGEST_SUITE:
        raise SuiteError(
            f"suite file {shortened(stem)}: its name has {len(stem)} characters; at most "
            f"{_LONGEST_SUITE} are allowed"
        )
    return stem


def _read(name: str) -> Mapping[str, Any]:
    try:
        content = documents.read(_path(name))
    except OSError as error:
        raise SuiteError(f"can't read suite file {name!r}: {error.strerror or error}") from error
    except documents.NotYaml as error:
        raise SuiteError(f"suite {name!r} is not valid YAML: {error}") from error
    return _checked(name, content)


def _checked(name: str, content: object) -> Mapping[str, Any]:
    found = _mapping(content, f"suite {name!r}")
    _check_keys(found, ("description", "attacks", "security_curve"), f"suite {name!r}")
    return found


def _path(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    builtin = resources.files("attacks_cfg")
    names = [file.name.removesuffix(".yaml") for file in builtin.iterdir()]
    file = builtin / f"{name}.yaml"
    if not _SAFE_NAME.fullmatch(name) or not file.is_file():
        raise UnknownName("suite", name, [n for n in names if _SAFE_NAME.fullmatch(n)])
    return Path(str(file))


def _attack(suite: str, name: object, given: object, overrides: Mapping[str, Value]) -> AttackSpec:
    name = _attack_name(suite, name)
    body = _mapping(given, f"attack {name!r}")
    _check_keys(body, ("attack", "arguments", "threat", "examples", "from"), f"attack {name!r}")
    attack = _text(body.get("attack"))
    if attack not in ATTACKS:
        raise SuiteError(
            f"attack {name!r} names the unknown attack {shortened(attack)}"
            f"{did_you_mean(attack, ATTACKS)}"
        )
    arguments = {
        **_mapping(body.get("arguments", {}), f"attack {name!r}: 'arguments'"),
        **overrides,
    }
    entry = ATTACKS[attack]
    _check_keys(arguments, (*entry.arguments, *entry.options), f"attack {name!r}")
    norm, eps = _threat(name, body.get("threat"))
    for argument, value in arguments.items():
        _check_value(name, attack, argument, value)
        if norm == UNRESTRICTED and isinstance(value, str) and argument not in entry.options:
            raise SuiteError(f"attack {name!r}: {argument} is {value!r}, but it has no budget")
    examples = _examples(f"attack {name!r}", body.get("examples"))
    source = _source(name, body.get("from"))
    return AttackSpec(name, attack, arguments, norm=norm, eps=eps, examples=examples, source=source)


def _attack_name(suite: str, name: object) -> str:
    """The name of an attack in a suite, which becomes that of files."""
    if not isinstance(name, str) or not _SAFE_NAME.fullmatch(name):
        raise SuiteError(
            f"suite {suite!r}: attack name {shortened(name)} may hold a-z, 0-9 and hyphens only"
            + ("" if isinstance(name, str) else "; write it in quotes")
        )
    if len(name) > _LONGEST_NAME:
        raise SuiteError(
            f"suite {suite!r}: attack name {shortened(name)} has {len(name)} characters; at most "
            f"{_LONGEST_NAME} are allowed"
        )
    if name == TRANSFER.name:
        raise SuiteError(
            f"suite {suite!r}: the name {name!r} is kept for the attack that joins every suite in "
            "cells with input or output defenses; choose another"
        )
    return name


def _source(attack: str, given: object) -> str | None:
    """The defense on whose model an attack is made, None where it is the cell's own."""
    if given is None or (isinstance(given, str) and given in defenses.names()):
        return given
    trains = _text(given).partition(wrappers.SEPARATOR)[0]
    if trains in defenses.names():
        raise SuiteError(
            f"attack {attack!r}: from names a model, not what stands around it; write {trains!r}"
        )
    raise SuiteError(
        f"attack {attack!r}: from names the unknown defense {shortened(given)}"
        f"{did_you_mean(_text(given), defenses.names())}"
    )


def _curve(suite: str, given: object, attacks: Mapping[str, Any]) -> SecurityCurve | None:
    if given is None:
        return None
    what = f"suite {suite!r}: 'security_curve'"
    body = _mapping(given, what)
    _check_keys(body, ("attack", "budgets", "examples"), what)
    attack, shares = _text(body.get("attack")), body.get("budgets")
    if attack not in attacks:
        raise SuiteError(
            f"{what} names the attack {shortened(attack)}{did_you_mean(attack, attacks)}"
        )
    if (
        not isinstance(shares, list)
        or not shares
        or not all(map(_is_budget, shares))
        or shares != sorted(set(shares))
    ):
        raise SuiteError(
            f"{what}: budgets are {shortened(shares)}; give ascending shares of eps such as "
            "[0.5, 1, 2]"
        )
    examples = _examples(what, body.get("examples"))
    return SecurityCurve(attack, tuple(float(share) for share in shares), examples)


def _examples(what: str, given: object) -> int | None:
    if given is not None and not _EXAMPLES.takes(given):
        raise SuiteError(f"{what}: examples must be {_EXAMPLES.text}, got {shortened(given)}")
    return cast(int | None, given)


def _threat(name: str, given: object) -> tuple[str | None, float | None]:
    """Norm and budget of an attack's own threat, None where they are left open."""
    if given is None:
        return None, None
    body = {"norm": given} if isinstance(given, str) else _mapping(given, f"{name!r}: 'threat'")
    _check_keys(body, ("norm", "eps"), f"the threat of {name!r}")
    norm, eps = _text(body.get("norm")), body.get("eps")
    if norm not in THREATS:
        raise SuiteError(
            f"attack {name!r}: the threat's norm is {shortened(norm)}{did_you_mean(norm, THREATS)}"
        )
    if eps is not None and (norm == UNRESTRICTED or not _is_budget(eps)):
        raise SuiteError(
            f"attack {name!r}: the threat's eps is {shortened(eps)}; give a number above 0 "
            f"under a norm, and none if {UNRESTRICTED}"
        )
    if eps is not None and (wrong := eps_fault(norm, float(eps))):
        raise SuiteError(f"attack {name!r}: the threat's {wrong}")
    return norm, None if eps is None else float(eps)


def _is_budget(value: object) -> bool:
    return type(value) in (int, float) and 0 < cast(float, value) <= MAX_EPS


def _text(value: object) -> str:
    return value if isinstance(value, str) else shortened(value)


def _check_value(name: str, attack: str, argument: str, value: object) -> None:
    texts = ATTACKS[attack].options.get(argument)
    if texts is not None:
        if value not in texts:
            raise SuiteError(
                f"attack {name!r}: {argument} is {shortened(value)}"
                f"{did_you_mean(_text(value), texts)}"
            )
    elif not (kind := kind_of(attack, argument)).takes(value):
        raise SuiteError(f"attack {name!r}: {argument} is {shortened(value)}; allowed: {kind.text}")


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SuiteError(f"{what} must be a mapping of names to values, got {shortened(value)}")
    return value


def _check_keys(found: Mapping[str, Any], allowed: tuple[str, ...], what: str) -> None:
    for key in found:
        if key not in allowed:
            raise SuiteError(
                f"{what} has the unknown key {shortened(key)}{did_you_mean(_text(key), allowed)}"
            )
