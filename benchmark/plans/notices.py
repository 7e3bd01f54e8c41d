"""What the user should know before a run begins, a line each."""

from __future__ import annotations

import defenses
from benchmark.attacks.suites import Suite
from benchmark.cells import BASELINE, defenses_of
from benchmark.config import RunConfig
from benchmark.datasets import Dataset
from benchmark.datasets.extra import ExtraData
from benchmark.errors import ConfigError
from benchmark.text import counted
from defenses import wrappers


def notices(
    config: RunConfig, suite: Suite, dataset: Dataset, extra: ExtraData | None, jobs: int
) -> tuple[str, ...]:
    """All of a run; `jobs` is how many cells it has.

    Raises `ConfigError` and `SuiteError` as `left_out` does.
    """
    told = [*(extra.notices() if extra else ()), *dataset.notices()]
    told += left_out(config, suite, dataset)
    if config.shard is not None:
        told.append("shard {} of {} holds {}".format(*config.shard, counted(jobs, "cell")))
    if not config.baseline and BASELINE not in config.defense:
        told.append("no undefended twin in this run: nothing shows how strong the attacks are")
    bases = dict.fromkeys(wrappers.split(name)[0] for name in config.defense)
    parts = {part for name in defenses_of(config) for part in name.split(wrappers.SEPARATOR)}
    if idle := [name for name in config.parameters if name not in parts]:
        told.append(f"parameters of {', '.join(idle)} change nothing: no such defense in this run")
    others = [name for name in bases if defenses.distribution(name) is not None]
    if others and config.features is not None:
        told.append(
            f"{', '.join(others)}: of another distribution, and may train as if every feature had "
            "the budget eps"
        )
    published = [name for name in bases if config.dataset in defenses.presets(name)]
    if plain := [name for name in published if "preset" not in config.parameters.get(name, {})]:
        told.append(
            f"{', '.join(plain)}: trained with this project's defaults; as the papers do with "
            f"--set parameters.{plain[0]}.preset={config.dataset}"
        )
    wrapped = [name for name in config.defense if wrappers.SEPARATOR in name]
    if wrapped and config.protocol != "none":
        told.append(
            f"how well a model adapts is measured on models alone, so not of {', '.join(wrapped)}"
        )
    return tuple(told)


def left_out(config: RunConfig, suite: Suite, dataset: Dataset) -> list[str]:
    """A line that tells which attacks can't be run here.

    Raises:
        ConfigError: none can.
        SuiteError: one has arguments that don't fit these data.
    """
    suite.check_fits(config.norm, dataset.input_shape, dataset.classes)
    names = [
        f"{spec.name} ({reason})"
        for spec, reason in suite.applicable(
            config.norm, dataset.input_shape, features=config.features is not None
        )
        if reason
    ]
    if len(names) == len(suite.attacks):
        raise ConfigError(
            f"no attack of suite {suite.name!r} applies to {config.dataset} under {config.norm}: "
            f"{', '.join(names)}"
        )
    return [f"not applicable here, left out: {', '.join(names)}"] if names else []
