"""What other installed distributions add to the tables of names, by their entry points.

    [project.entry-points."meta_adv_bench.defenses"]
    my-defense = "my_package.spec:MyDefense"

There is a group for each kind of `KINDS`. Nothing is imported before it is used by its name; a name
that is taken already is an error, whoever asks for the table. Importing this loads nothing.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from defenses.errors import DefenseError

# What can be contributed, to what an entry point of its group refers to.
KINDS: Mapping[str, str] = {
    "defenses": "a class derived from defenses.Defense",
    "attacks": "an instance of benchmark.attacks.entry.AttackEntry",
    "datasets": "an instance of benchmark.datasets.entry.DatasetEntry",
    "models": "an instance of benchmark.models.entry.ModelEntry",
    "suites": "the package that holds NAME.yaml",
}
_SAFE = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")


class ContributionError(DefenseError):
    """A contributed part that can't be named or loaded, and whose it is."""


@dataclass(frozen=True)
class Contribution:
    """A part of another distribution.

    Args:
        kind: of `KINDS`.
        name: on the command line.
        target: "module:attribute", or a package for a suite.
        distribution: name and version of what it comes with, such as "my-defenses 1.2".
    """

    kind: str
    name: str
    target: str
    distribution: str

    def load(self) -> Any:
        """What the entry point refers to; raises `ContributionError` where that can't be loaded."""
        module, _, attribute = self.target.partition(":")
        try:
            found: Any = importlib.import_module(module)
            return functools.reduce(getattr, filter(None, attribute.split(".")), found)
        except (Exception, SystemExit) as error:  # whatever the other distribution's code raises
            told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise self.unusable(f"can't be loaded from {self.target} ({told})") from error

    def unusable(self, why: str) -> ContributionError:
        """The line about it."""
        return ContributionError(
            f"{self.kind[:-1]} {self.name!r} of {self.distribution} {why}; mend or uninstall it"
        )


def is_target(target: object) -> bool:
    """Whether it is a text such as "module:attribute"."""
    return isinstance(target, str) and all(target.partition(":"))


def contributed(kind: str, built_in: Collection[str]) -> dict[str, Contribution]:
    """Name to what other distributions add to a table.

    Args:
        kind: of `KINDS`.
        built_in: names that are taken.

    Raises:
        ContributionError: a name is taken, is contributed twice, or is no name.
    """
    found: dict[str, Contribution] = {}
    for one in _installed(kind, tuple(sys.path)):
        what = f"{kind[:-1]} {one.name!r}"
        if not _SAFE.fullmatch(one.name):
            raise one.unusable("has a name that may hold a-z, 0-9 and hyphens only, 60 at most")
        if one.name in built_in:
            raise ContributionError(
                f"{one.distribution} contributes the {what}, which this project has itself; "
                "rename that entry point or uninstall the distribution"
            )
        if (other := found.get(one.name)) is not None:
            raise ContributionError(
                f"{other.distribution} and {one.distribution} both contribute the {what}; "
                "uninstall one of them"
            )
        found[one.name] = one
    return found


@functools.cache
def _installed(kind: str, places: tuple[str, ...]) -> tuple[Contribution, ...]:
    """All of one kind, by name; `places` are those of modules, which the answer depends on."""
    found = [
        Contribution(kind, one.name, one.value, f"{one.dist.name} {one.dist.version}")
        for one in entry_points(group=f"meta_adv_bench.{kind}")
        if one.dist is not None
    ]
    return tuple(sorted(found, key=lambda one: (one.name, one.distribution)))
