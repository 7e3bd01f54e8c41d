"""What a row of the table of data sets says, of this project's and of contributed ones."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import cast

from benchmark.datasets.dataset import Request, Source
from defenses.contributed import is_target


@dataclass(frozen=True)
class DatasetDefaults:
    """What a run uses where it is told nothing else.

    eps: norm to budget in pixel scale [0, 1]; under l0 the number of values changed.
    epochs: training epochs of a defense.
    crop, flip: of augmentation, on for photos of scenes and objects: the padding as a share of the
    shorter side, and whether a mirrored image still means the same.
    """

    eps: Mapping[str, float]
    epochs: int
    crop: float = 0.0
    flip: bool = False

    def augmentation(self, input_shape: Sequence[int] = ()) -> dict[str, int | bool]:
        """The parameters of every defense that augment inputs of this shape; {} for none."""
        crop = int(self.crop * min(input_shape[:2], default=0))
        found = {"crop": (self.crop, crop), "flip": (self.flip, self.flip)}
        return {name: value for name, (on, value) in found.items() if on}


@dataclass(frozen=True)
class DatasetEntry:
    """A data set, or a kind of them, as the command line may name it.

    Args:
        target: "module:function" of the loader, called with a `Request`; gives a `Source`.
        description: one line.
        defaults: of its runs.
        place: what stands after the colon of its name, such as "FILE"; "" where nothing does.
        is_path: whether that is a path.
        resized: whether it has images of different sizes, which --image-size makes one.
    """

    target: str
    description: str
    defaults: DatasetDefaults
    place: str = ""
    is_path: bool = False
    resized: bool = False

    def __post_init__(self) -> None:
        if not is_target(self.target):
            raise ValueError(f"target {self.target!r} is not 'module:function'")
        if not isinstance(self.defaults, DatasetDefaults):
            raise ValueError(f"defaults are {self.defaults!r}; give a DatasetDefaults")
        eps = self.defaults.eps
        if not isinstance(eps, Mapping) or not all(isinstance(one, Real) for one in eps.values()):
            raise ValueError(f"eps is {eps!r}; give a mapping of norms to numbers")

    @property
    def loader(self) -> Callable[[Request], Source]:
        """The loader, imported."""
        module, _, function = self.target.partition(":")
        return cast(Callable[[Request], Source], getattr(importlib.import_module(module), function))
