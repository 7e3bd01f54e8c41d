"""From a configuration to the cells of a run: everything is checked before anything is written."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import defenses
from benchmark import datasets, models
from benchmark.attacks.suites import Suite, load_suite
from benchmark.cells import BASELINE, Cell, Job, defenses_of, expand
from benchmark.config import RunConfig
from benchmark.datasets import Dataset
from benchmark.errors import ConfigError, DataError, UnknownName
from benchmark.results import Store


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    estimates: cell id to the gradient evaluations that its training will take. workers: processes
    at a time. notices: what the user should know beforehand, one line each.
    """

    config: RunConfig
    jobs: tuple[Job, ...]
    estimates: Mapping[str, float]
    workers: int
    notices: tuple[str, ...]


def make_plan(config: RunConfig, *, dry_run: bool = False) -> Plan:
    """Checks the whole run and resolves its defaults; writes nothing (but a permitted download).

    Raises:
        BenchError: anything that would stop the run or one of its cells from the outset.
    """
    _check_names(config)
    Store.check_writable(config.out)
    if config.device == "cuda" and not _cuda_devices():
        raise ConfigError("device 'cuda': this machine shows no CUDA device; use auto or cpu")
    suite = load_suite(config.suite, config.attacks)
    dataset = _load_data(config, dry_run=dry_run)
    config = _resolve(config, dataset)
    assert config.model is not None
    models.specification(config.model, dataset.input_shape, dataset.classes)
    chosen = _create_defenses(config)
    cells = expand(config, dataset, parameters={n: d.parameters() for n, d in chosen.items()})
    return Plan(
        config=config,
        jobs=tuple(_job(cell, suite, config) for cell in cells),
        estimates=_estimate(cells, chosen, dataset),
        workers=min(config.jobs or len(config.framework), len(cells)),
        notices=_notices(config, suite, dataset),
    )


def _check_names(config: RunConfig) -> None:
    """What can be looked up before any data are read."""
    for name in (*config.defense, *config.parameters):
        if name not in defenses.names():
            raise UnknownName("defense", name, defenses.names())
    if config.model is not None and config.model not in models.names():
        raise UnknownName("model", config.model, models.names())
    datasets.defaults(config.dataset)


def _load_data(config: RunConfig, *, dry_run: bool) -> Dataset:
    try:
        return datasets.load(
            config.dataset,
            data_dir=config.data_dir,
            download=config.download and not dry_run,
            image_size=config.image_size,
            split_seed=config.split_seed,
        )
    except DataError as error:
        if dry_run and config.download:
            raise DataError(f"{error} (--dry-run downloads nothing)") from error
        raise


def _resolve(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The configuration with the data set's defaults where it says nothing."""
    defaults = datasets.defaults(config.dataset)
    if config.eps is None and config.norm not in defaults.eps:
        raise ConfigError(f"{config.dataset} has no default eps under {config.norm}; give --eps")
    trained = config.epochs is not None or config.budget_ge is not None
    return config.model_copy(
        update={
            "eps": config.eps if config.eps is not None else defaults.eps[config.norm],
            "epochs": config.epochs if trained else defaults.epochs,
            "model": config.model or ("cnn" if len(dataset.input_shape) == 3 else "mlp"),
        }
    )


def _create_defenses(config: RunConfig) -> dict[str, defenses.Defense]:
    """The run's defenses by name; parameters of others are checked as well."""
    assert config.eps is not None
    created = {}
    for name in dict.fromkeys([*defenses_of(config), *config.parameters]):
        parameters = dict(config.parameters.get(name, {}))
        if config.on_overfit is not None and name != BASELINE:
            parameters.setdefault("on_overfit", config.on_overfit)
        try:
            threat = defenses.Threat(config.norm, config.eps)
            created[name] = defenses.create(name, threat, parameters)
        except defenses.DefenseError as error:
            raise ConfigError(f"defense {name!r}: {error}") from error
    return {name: created[name] for name in defenses_of(config)}


def _job(cell: Cell, suite: Suite, config: RunConfig) -> Job:
    data_dir = None if config.data_dir is None else str(config.data_dir)
    return Job(cell, suite.name, suite.attacks, str(config.out), data_dir)


def _estimate(
    cells: list[Cell], chosen: Mapping[str, defenses.Defense], dataset: Dataset
) -> dict[str, float]:
    estimates = {}
    for cell in cells:
        try:
            plan = chosen[cell.defense].plan(
                len(dataset.x_train),
                epochs=cell.epochs,
                budget_ge=cell.budget_ge,
                validation=len(dataset.x_validation),
            )
        except defenses.DefenseError as error:
            raise ConfigError(f"defense {cell.defense!r}: {error}") from error
        estimates[cell.cell_id] = plan.gradient_evaluations
    return estimates


def _notices(config: RunConfig, suite: Suite, dataset: Dataset) -> tuple[str, ...]:
    notices = []
    left_out = [
        f"{spec.name} ({reason})"
        for spec, reason in suite.applicable(config.norm, dataset.input_shape)
        if reason
    ]
    if left_out:
        notices.append(f"not applicable here, left out: {', '.join(left_out)}")
    if len(left_out) == len(suite.attacks):
        raise ConfigError(
            f"no attack of suite {suite.name!r} applies to {config.dataset} under {config.norm}: "
            f"{', '.join(left_out)}"
        )
    if not config.baseline and BASELINE not in config.defense:
        notices.append("no undefended twin in this run: nothing shows how strong the attacks are")
    return tuple(notices)


def _cuda_devices() -> int:
    """How many CUDA devices the driver shows; loads no framework."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    found: Any = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0
