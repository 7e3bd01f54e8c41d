"""Suites: YAML files to attacks with resolved arguments, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

from benchmark import documents
from benchmark.attacks import lookup
from benchmark.attacks.arguments import SHARE_OF_EPS, Value
from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.specification import TRANSFER as TRANSFER
from benchmark.attacks.specification import AttackSpec, SecurityCurve, Smoothing, Suite
from benchmark.attacks.suite_file import (
    Attack,
    SuiteFile,
    check_keys,
    checked,
    text,
)
from benchmark.errors import SuiteError, UnknownName, shortened
from defenses.contributed import Contribution, contributed
from defenses.errors import did_you_mean

_LONGEST_SUITE = 150  # characters of its name


def suite_names() -> list[str]:
    """The suites that come with the project, and after them those that others contribute."""
    return [*_built_in(), *_contributed()]


def distribution(name: str) -> str | None:
    """Name and version of the other distribution that contributes a suite."""
    found = _contributed().get(name)
    return None if found is None else found.distribution


def load_suite(name: str, overrides: Mapping[str, Mapping[str, Value]] | None = None) -> Suite:
    """A suite by its name, or by the path of a YAML file, with arguments set on top.

    Args:
        name: one of `suite_names`, or a path that ends in .yaml.
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
    return _suite(name, content, overrides)


def _suite(name: str, content: object, overrides: Mapping[str, Mapping[str, Value]]) -> Suite:
    file = checked(SuiteFile, content, name)
    for attack in overrides:
        if attack not in file.attacks:
            raise SuiteError(
                f"suite {name!r} has no attack {shortened(attack)}"
                f"{did_you_mean(attack, file.attacks)}"
            )
    specs = [
        _spec(attack, body, overrides.get(attack, {})) for attack, body in file.attacks.items()
    ]
    curve = None
    if file.curve is not None:
        if (attack := file.curve.attack) not in file.attacks:
            raise SuiteError(
                f"suite {name!r}: 'security_curve' names the attack {shortened(attack)}"
                f"{did_you_mean(text(attack), file.attacks)}"
            )
        curve = SecurityCurve(attack, file.curve.budgets, file.curve.examples)
        # A stop at the first point within the budget would hide the nearest one.
        specs = [
            replace(spec, to_the_end=spec.name == attack and spec.entry.ends_early)
            for spec in specs
        ]
    specs = [
        replace(spec, first_success=file.first_success and spec.entry.can_leave) for spec in specs
    ]
    asked = file.certification
    certification = None if asked is None else Smoothing(**asked.model_dump())
    return Suite(
        _suite_name(name),
        str(file.description),
        tuple(specs),
        curve,
        file.corruptions,
        certification,
    )


def recorded_attack(name: str, identity: object) -> AttackSpec:
    """The attack that a record's `AttackSpec.identity` tells, checked as one of a suite file is.

    Raises:
        SuiteError: it is no such identity.
    """
    if name == TRANSFER.name:
        return TRANSFER
    attack, given, *rest = identity if isinstance(identity, list) and len(identity) > 1 else (0, 0)
    more = dict(rest[0]) if rest and isinstance(rest[0], dict) else {}
    threat = {key: more.pop(key) for key in ("norm", "eps") if key in more}
    to_the_end = more.pop("to_the_end", None) is True
    first_success = more.pop("first_success", None) is True
    lookup.check_recorded(str(attack), more.pop("distribution", None))
    body = {"attack": attack, "arguments": given, "threat": threat or None}
    body |= {"from": more.pop("source", None), **more}
    file = checked(SuiteFile, {"attacks": {name: body}}, "as recorded")
    spec = _spec(name, file.attacks[name], {})
    return replace(spec, to_the_end=to_the_end, first_success=first_success)


def suite_file(name: str) -> tuple[str, str] | None:
    """A suite file's name without folders, and its text; None for a suite of the project."""
    if not name.endswith((".yaml", ".yml")) and name not in _contributed():
        return None
    path = _path(name)
    try:
        return path.name, documents.text(path)
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


def _read(name: str) -> object:
    try:
        return documents.read(_path(name))
    except OSError as error:
        raise SuiteError(f"can't read suite file {name!r}: {error.strerror or error}") from error
    except documents.NotYaml as error:
        raise SuiteError(f"suite {name!r} is not valid YAML: {error}") from error


def _path(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    if name in _built_in():
        return Path(str(resources.files("attacks_cfg") / f"{name}.yaml"))
    if (other := _contributed().get(name)) is None:
        raise UnknownName("suite", name, suite_names())
    other.load()
    return Path(str(resources.files(other.target) / f"{name}.yaml"))


def _built_in() -> list[str]:
    files = resources.files("attacks_cfg").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def _contributed() -> dict[str, Contribution]:
    return contributed("suites", _built_in())


def _spec(name: str, body: Attack, overrides: Mapping[str, Value]) -> AttackSpec:
    """An attack with the arguments that were set on top, which its row of the table has to know."""
    arguments = {**body.arguments, **overrides}
    entry, threat = lookup.entry(body.attack), body.threat
    try:
        check_keys(arguments, (*entry.arguments, *entry.options))
    except ValueError as error:
        raise SuiteError(f"attack {name!r}{error}") from error
    norm, eps = (None, None) if threat is None else (threat.norm, threat.eps)
    for argument, value in arguments.items():
        if wrong := lookup.misgiven(body.attack, entry, argument, value):
            raise SuiteError(f"attack {name!r}: {wrong}")
    for argument, value in {**entry.defaults, **arguments}.items():
        if norm == UNRESTRICTED and isinstance(value, str) and SHARE_OF_EPS.fullmatch(value):
            raise SuiteError(f"attack {name!r}: {argument} is {value!r}, but it has no budget")
    return AttackSpec(
        name,
        body.attack,
        arguments,
        norm=norm,
        eps=None if eps is None else float(eps),
        examples=body.examples,
        source=body.source,
        draws=body.draws,
    )
