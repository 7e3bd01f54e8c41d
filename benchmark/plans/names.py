"""The names that a run is given, looked up before any data are read."""

from __future__ import annotations

import defenses
from benchmark import datasets
from benchmark.config import RunConfig
from benchmark.errors import ConfigError, UnknownName
from benchmark.external import builders
from benchmark.models.provided.origin import origin_of
from benchmark.plans.model import check_frameworks
from defenses import wrappers

# Any that `--init` may be given with: which one is taken is told by the data.
_ANY_MODEL = "mlp"


def check_names(config: RunConfig) -> None:
    """Raises `BenchError` for a defense, parameter, model, file or data set that isn't there.

    What a library's model or a suite may be called is told where they are read.
    """
    for name in (*config.defense, *config.parameters):
        base = name.partition(wrappers.SEPARATOR)[0]
        if base not in (*defenses.names(), *wrappers.WRAPPERS):
            raise UnknownName("defense", name, defenses.names())
    for name in config.defense:
        try:
            wrappers.split(name)
        except defenses.DefenseError as error:
            raise ConfigError(str(error)) from error
    for name in config.parameters:
        _check_parameters(name, config)
    origin = origin_of(_ANY_MODEL if config.model is None else config.model, config.init)
    if config.model is not None:
        check_frameworks(config, origin)
    if origin.builder is not None:
        builders.check_there(origin.builder)
    datasets.defaults(config.dataset)


def _check_parameters(name: str, config: RunConfig) -> None:
    if wrappers.SEPARATOR in name:
        parts = " and ".join(map(repr, name.split(wrappers.SEPARATOR)))
        raise ConfigError(f"parameters.{name}: give the parameters of {parts} apart")
    try:
        if name in wrappers.WRAPPERS:
            wrappers.arguments(name, config.parameters[name])
        else:
            defenses.check_parameters(name, config.parameters[name])
    except defenses.DefenseError as error:
        raise ConfigError(f"defense {name!r}: {error}") from error
