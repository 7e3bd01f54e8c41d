"""What another distribution says of a model that it provides, to be trained as this one's are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.frameworks import FRAMEWORKS
from benchmark.models.architectures import ARCHITECTURES
from defenses.contributed import KINDS, Contribution, contributed, is_target


@dataclass(frozen=True)
class ModelEntry:
    """A model by a name of its own.

    Args:
        description: one line.
        builders: framework to "module:function" that is called with the input shape, (H, W, C) or
            (d,), and the number of classes; gives a model of that framework without trained
            weights, whose outputs are logits. It draws its weights from the framework's global
            generator, which is seeded before.
    """

    description: str
    builders: Mapping[str, str]

    def __post_init__(self) -> None:
        if not isinstance(self.builders, Mapping):
            raise ValueError(f"builders are {self.builders!r}; they map a framework to a target")
        for target in self.builders.values():
            if not is_target(target):
                raise ValueError(f"builder {target!r} is not 'module:function'")


def contributions() -> dict[str, Contribution]:
    """Name to what other distributions provide."""
    return contributed("models", ARCHITECTURES)


def entry(name: str) -> ModelEntry | None:
    """A contributed model; None where no other distribution has one of this name.

    Raises:
        ContributionError: it is no entry, or names an unknown framework.
    """
    if (other := contributions().get(name)) is None:
        return None
    found = other.load()
    if not isinstance(found, ModelEntry) or not found.builders:
        raise other.unusable(f"is not {KINDS['models']} with builders")
    if unknown := found.builders.keys() - {*FRAMEWORKS}:
        raise other.unusable(f"has a builder for {min(unknown)!r}, which is none of the frameworks")
    return found


def distribution(name: str) -> str | None:
    """Name and version of the other distribution that a model comes with."""
    found = contributions().get(name)
    return None if found is None else found.distribution
