"""Every attack by its name: this project's table, what others add to it, and foreign classes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from importlib.util import find_spec

from benchmark.attacks import classes, foreign
from benchmark.attacks.arguments import ArgumentKind
from benchmark.attacks.arguments import kind_of as known_kind
from benchmark.attacks.entry import AttackEntry
from benchmark.attacks.table import ATTACKS
from benchmark.errors import SuiteError, shortened
from defenses.contributed import KINDS, Contribution, contributed
from defenses.errors import did_you_mean


def names() -> list[str]:
    """The attacks that have names of their own; contributed ones come last."""
    return [*ATTACKS, *_contributed()]


def is_known(name: str) -> bool:
    """Whether a suite may name it: one of `names`, or "PLACE:CLASS", which `entry` then checks."""
    return name in ATTACKS or ":" in name or name in _contributed()


def entry(name: str) -> AttackEntry:
    """What a suite may do with an attack.

    Raises:
        SuiteError: a foreign class that isn't there, or that is no attack.
        ContributionError: another distribution's attack can't be used.
    """
    if name in ATTACKS:
        return ATTACKS[name]
    if ":" in name:
        return foreign.entry(name)
    other = _contributed()[name]
    found = other.load()
    if not isinstance(found, AttackEntry):
        raise other.unusable(f"is not {KINDS['attacks']}")
    for argument in found.arguments:
        if argument not in found.argument_kinds and not _is_known_argument(name, argument):
            raise other.unusable(f"says nothing of {argument} in argument_kinds")
    for argument, kind in found.argument_kinds.items():
        if not isinstance(kind, ArgumentKind):
            raise other.unusable(f"has {shortened(kind)} as the kind of {argument}; give a Kind")
    for argument, value in found.defaults.items():
        if argument not in {*found.arguments, *found.options}:
            raise other.unusable(f"has a default of {shortened(argument)}, none of its arguments")
        if wrong := misgiven(name, found, argument, value):
            raise other.unusable(f"has defaults where {wrong}")
    # The bare name of its class could be that of one of this project's own.
    return replace(found, label=found.target, distribution=other.distribution)


def check_made(name: str, given: Collection[str]) -> None:
    """Raises `ContributionError` where another distribution's attack can't be made with these.

    Its class is imported for that. Those of this project have tests, and classes that a suite names
    by their place have been read already.
    """
    other = _contributed().get(name)
    if other is None or not any(map(find_spec, entry(name).frameworks)):
        return
    if wrong := classes.fault(entry(name), given):
        raise other.unusable(wrong)


def distribution(name: str) -> str | None:
    """Name and version of the other distribution that contributes an attack."""
    found = _contributed().get(name)
    return None if found is None else found.distribution


def kind_of(name: str, entry: AttackEntry, argument: str) -> ArgumentKind:
    """What an argument of an attack may be."""
    return entry.argument_kinds.get(argument) or known_kind(name, argument)


def misgiven(name: str, entry: AttackEntry, argument: str, value: object) -> str:
    """Why an argument of an attack can't have this value in a suite; empty where it can."""
    if (texts := entry.options.get(argument)) is not None:
        if isinstance(value, str) and value in texts:
            return ""
        meant = did_you_mean(value if isinstance(value, str) else shortened(value), texts)
        return f"{argument} is {shortened(value)}{meant}"
    kind = kind_of(name, entry, argument)
    return "" if kind.takes(value) else f"{argument} is {shortened(value)}; allowed: {kind.text}"


def check_recorded(name: str, distribution: object) -> None:
    """Raises `SuiteError` where an attack of a record is not the one that is installed here.

    Classes of any module are not looked for either: a record may name anything.
    """
    if name in ATTACKS:
        return
    if ":" in name and not foreign.is_of_a_library(name):
        raise SuiteError(
            f"attack {shortened(name)} is a class that a record names, and such are not imported; "
            "with an entry point it would be"
        )
    if not is_known(name):
        raise SuiteError(
            f"attack {shortened(name)} of {shortened(distribution)} is not installed here"
        )
    if (here := entry(name).distribution) != (distribution or ""):
        raise SuiteError(
            f"attack {shortened(name)} was of {shortened(distribution)}; installed is {here}"
        )


def _is_known_argument(name: str, argument: str) -> bool:
    try:
        return bool(known_kind(name, argument))
    except KeyError:
        return False


def _contributed() -> dict[str, Contribution]:
    return contributed("attacks", ATTACKS)
