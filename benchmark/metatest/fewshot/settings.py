"""How much of adaptation to new classes is measured, and what of it the data can give."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BeforeValidator, ValidationError
from pydantic.dataclasses import dataclass

from benchmark import documents
from benchmark.digest import digest
from benchmark.errors import ConfigError, UnknownName, shortened
from benchmark.metatest.fewshot.names import READOUTS

if TYPE_CHECKING:
    from benchmark.datasets import Dataset
    from benchmark.datasets.dataset import Pool

NAME = "few-shot"  # of the protocol
VERSION = 1  # numbers of different versions are never ranked together
STORED = "stored"

# No machine gets through more.
_MOST = 1_000_000


def _parts(value: Any) -> list[Any]:
    """A list from a list, a single value or text such as "1,5"."""
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    return [int(p) if re.fullmatch(r"\s*\d{1,9}\s*", str(p)) else p for p in parts]


def _whole(value: Any, least: int) -> int:
    if type(value) is not int or not least <= value <= _MOST:
        raise ValueError(f"must be whole numbers from {least} to {_MOST:,}, got {shortened(value)}")
    return value


def _counts(least: int) -> BeforeValidator:
    return BeforeValidator(
        lambda value: tuple(sorted({_whole(one, least) for one in _parts(value)}))
    )


def _count(least: int) -> BeforeValidator:
    def check(value: Any) -> int:
        parts = _parts(value)
        if len(parts) != 1:
            raise ValueError(f"must be one whole number, got {shortened(value)}")
        return _whole(parts[0], least)

    return BeforeValidator(check)


def _queries(value: Any) -> tuple[int, bool]:
    """From "15", "stored" or "15,stored", or what that was made into."""
    parts = list(value) if isinstance(value, list | tuple) else _parts(value)
    flags = [p for p in parts if isinstance(p, bool) or p == STORED]
    numbers = [p for p in _parts(parts) if not isinstance(p, bool) and p != STORED]
    if len(numbers) > 1 or len(flags) > 1:
        raise ValueError(f"must be one number, {STORED} or both, got {shortened(value)}")
    return (_whole(numbers[0], 1) if numbers else _QUERIES), bool(flags and flags[0])


def _readouts(value: Any) -> tuple[str, ...]:
    names = [n.strip() for n in value.split(",")] if isinstance(value, str) else list(value)
    for name in names:
        if name not in READOUTS:
            raise UnknownName("read-out", str(name), READOUTS)
    if not names:
        raise ValueError("is empty; give at least one")
    return tuple(dict.fromkeys(names))


_QUERIES = 5


@dataclass(frozen=True)
class FewShot:
    """The size of the measurement.

    Args:
        ways: classes of an episode; several are measured apart, as shots are.
        shots: labelled examples a class, the support.
        queries: examples a class that are attacked after adaptation, and whether they are also
            attacked once before it ("stored").
        episodes: of each read-out, ways and shots.
        readouts: names of `READOUTS`.
        attack_steps: of PGD on queries, white-box through the adapted model.
        support_attack_steps: of PGD on supports, by read-outs that attack them.
        tuning_episodes: on validation classes, for each setting that is tried.
        autoattack_episodes: episodes whose queries are attacked by the suite autoattack, too.
    """

    ways: Annotated[tuple[int, ...], _counts(2)] = (5,)
    shots: Annotated[tuple[int, ...], _counts(1)] = (1, 5)
    queries: Annotated[tuple[int, bool], BeforeValidator(_queries)] = (_QUERIES, False)
    episodes: Annotated[int, _count(2)] = 600
    readouts: Annotated[tuple[str, ...], BeforeValidator(_readouts)] = tuple(READOUTS)
    attack_steps: Annotated[int, _count(1)] = 20
    support_attack_steps: Annotated[int, _count(1)] = 10
    tuning_episodes: Annotated[int, _count(2)] = 20
    autoattack_episodes: Annotated[int, _count(0)] = 5

    @property
    def query_shots(self) -> int:
        """Queries a class."""
        return self.queries[0]

    @property
    def stored(self) -> bool:
        """Whether queries that were attacked before adaptation are measured, too."""
        return self.queries[1]

    def keys(self) -> dict[tuple[str, int, int], str]:
        """(read-out, ways, shots) to the key of its stage in the store."""
        settings = dataclasses.asdict(self) | {"version": VERSION}
        shared = {k: v for k, v in settings.items() if k not in ("ways", "shots", "readouts")}
        return {
            (name, ways, shots): f"{name}-{ways}way-{shots}shot-{digest([ways, shots, shared])[:8]}"
            for name in self.readouts
            for ways in self.ways
            for shots in self.shots
        }

    def whole(self) -> float:
        """About what all read-outs take, with all ways and shots."""
        each = sum(self.gradient_evaluations(ways) for ways in self.ways)
        return each * len(self.shots) * len(self.readouts)

    def gradient_evaluations(self, ways: int) -> float:
        """About what a read-out takes: attacks on queries of test and of validation classes."""
        tried = 8 * self.tuning_episodes
        return (self.episodes + tried) * ways * self.query_shots * (self.attack_steps + 1)


def resolve(settings: Mapping[str, Any]) -> FewShot:
    """The protocol with these settings; raises `ConfigError` for unknown or wrong ones."""
    known = [field.name for field in dataclasses.fields(FewShot)]
    for name in settings:
        if name not in known:
            raise UnknownName("adaptation setting", name, known)
    try:
        return FewShot(**settings)
    except ValidationError as error:
        name, wrong = documents.fault(error)
        raise ConfigError(f"{name} {wrong}") from error


def check(protocol: FewShot, dataset: Dataset) -> None:
    """Raises `ConfigError` for ways or shots that the classes can't give."""
    for part, pool in dataset.novel.items():
        there, ways = len(pool.class_names), max(protocol.ways)
        # Settings are chosen on fewer ways where there are fewer validation classes.
        if part == "test" and ways > there:
            raise ConfigError(
                f"ways {ways} is more than the {there} test classes; lower --ways, or give another "
                "--split"
            )
        _check_examples(protocol, part, pool)


def _check_examples(protocol: FewShot, part: str, pool: Pool) -> None:
    shots, queries = max(protocol.shots), protocol.query_shots
    asked = {"shots": (shots, pool.y_support), "queries": (queries, pool.y_query)}
    if pool.shared:
        asked = {"shots and queries": (shots + queries, pool.y_support)}
    for name, (count, y) in asked.items():
        counts = np.bincount(y, minlength=len(pool.class_names))
        if counts.min() < count:
            least = pool.class_names[int(counts.argmin())]
            raise ConfigError(
                f"{count} {name} a class are asked for, {part} class {least!r} has "
                f"{counts.min()} examples for them; lower them, or leave it out by --split"
            )
