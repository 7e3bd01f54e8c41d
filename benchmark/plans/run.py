"""From a configuration to the cells of a run: everything is checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import defenses
from benchmark import datasets
from benchmark.attacks.suites import TRANSFER, Suite, load_suite
from benchmark.cells import BASELINE, Cell, defenses_of, expand
from benchmark.config import RunConfig
from benchmark.datasets import Dataset, features
from benchmark.datasets.extra import ExtraData
from benchmark.devices import check_device
from benchmark.errors import ConfigError, DataError
from benchmark.estimators.passes import CHUNK
from benchmark.frameworks import check_installed
from benchmark.job import Job
from benchmark.limits import eps_fault
from benchmark.order import in_order, with_sources
from benchmark.plans import metatest
from benchmark.plans.asked import asked, usual_parameters
from benchmark.plans.extra import extra_data
from benchmark.plans.metatest import MetaTest
from benchmark.plans.model import memory, tried_origin
from benchmark.plans.names import check_names
from benchmark.plans.notices import notices
from benchmark.results import Store
from benchmark.shards import part
from defenses import wrappers

# Stands for every defense that trains, on the command line and in files.
ALL_DEFENSES = "all"


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    workers: processes at a time. notices: what the user should know beforehand, one line each.
    memory: cell id to the bytes that an update takes, beside the framework and the data, where it
    trains.
    """

    config: RunConfig
    jobs: tuple[Job, ...]
    workers: int
    notices: tuple[str, ...]
    memory: Mapping[str, float] = field(default_factory=dict)


def make_plan(config: RunConfig, *, dry_run: bool = False) -> Plan:
    """Checks the whole run and resolves its defaults; writes nothing (but a permitted download).

    Raises:
        BenchError: anything that would stop the run or one of its cells from the outset.
    """
    config = _spelled_out(config)
    check_names(config)
    _check_machine(config)
    suite = load_suite(config.suite, config.attacks)
    meta_test = metatest.resolve(config)
    dataset = load_data(config, dry_run=dry_run)
    config = resolve(config, dataset)
    meta_test = meta_test.sized_for(dataset, config, download=config.download and not dry_run)
    assert config.eps is not None
    budgets = features.feature_budgets(config.features, dataset)
    threat = features.threat(config.norm, config.eps, budgets, dataset)
    chosen = _create_defenses(config, dataset, threat)
    _check_kernels(config, chosen)
    origin, found = tried_origin(config, dataset, list(chosen.values()), reads=meta_test.reads)
    config = config.model_copy(update={"model": origin.name})
    extra = extra_data(config, dataset, chosen)
    cells = _cells(config, dataset, chosen, origin.record(found.builder_sha256), extra, budgets)
    usual = _usual_parameters(config, dataset, threat)
    jobs = [
        replace(
            job_of(cell, suite, config, meta_test),
            adapts=chosen[cell.defense].adapts,
            own=chosen[cell.defense].adaptation,
            origin=origin,
            training=_training(cell, chosen[cell.defense], dataset),
            asked=asked(cell, config, dataset, usual[cell.defense]),
            measured=dataset.measured,
            extra_data=extra,
        )
        for cell in cells
    ]
    ordered = in_order(with_sources(jobs, config, dataset))
    ordered = part(ordered, *config.shard) if config.shard else ordered
    return Plan(
        config=config,
        jobs=ordered,
        workers=min(_workers(config), len(cells)),
        notices=(
            *found.notices,
            *features.notices(budgets),
            *notices(config, suite, dataset, extra, len(ordered)),
        ),
        memory=memory(cells, chosen, dataset),
    )


def _cells(
    config: RunConfig,
    dataset: Dataset,
    chosen: Mapping[str, defenses.Defense],
    origin: Mapping[str, Any] | None,
    extra: ExtraData | None,
    budgets: Mapping[str, float] | None,
) -> list[Cell]:
    """The cells of a run, with their parameters resolved."""
    return expand(
        config,
        dataset,
        parameters={name: _parameters(name, defense, config) for name, defense in chosen.items()},
        origin=origin,
        extra_data=None if extra is None else extra.record(),
        features=budgets,
        clean_supports=[n for n, one in chosen.items() if one.adapts and one.adaptation.is_clean],
    )


def _check_kernels(config: RunConfig, chosen: Mapping[str, defenses.Defense]) -> None:
    """Raises `ConfigError` for a defense that is of one framework alone, and asked for in both."""
    for name, defense in chosen.items():
        for framework in config.framework:
            try:
                defense.kernel_class(framework)
            except defenses.DefenseError as error:
                raise ConfigError(f"defense {name!r}: {error}; give another --framework") from error


def _check_machine(config: RunConfig) -> None:
    Store.check_writable(config.out)
    check_device(config)
    if config.executor == "local":  # a cluster has its own
        check_installed(config.framework)


def _workers(config: RunConfig) -> int:
    """What was asked for, or as many as frameworks, or as GPUs that were given."""
    return config.jobs or max(len(config.framework), len(config.devices or ()))


def _spelled_out(config: RunConfig) -> RunConfig:
    """The configuration with every defense's name in the place of "all"."""
    names = [
        name
        for given in config.defense
        for name in (defenses.names() if given == ALL_DEFENSES else [given])
    ]
    return config.model_copy(update={"defense": tuple(dict.fromkeys(names))})


def load_data(config: RunConfig, *, dry_run: bool) -> Dataset:
    """The run's data; a dry run downloads nothing. Raises `DataError`."""
    try:
        return datasets.load(
            config.dataset,
            data_dir=config.data_dir,
            download=config.download and not dry_run,
            image_size=config.image_size,
            split_seed=config.split_seed,
            label=config.label,
            group=config.group,
            classes=metatest.classes(config),
        )
    except DataError as error:
        if dry_run and config.download:
            raise DataError(f"{error} (--dry-run downloads nothing)") from error
        raise


def resolve(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The configuration with the data set's defaults where it says nothing."""
    defaults = datasets.defaults(config.dataset)
    if config.eps is None and config.norm not in defaults.eps:
        raise ConfigError(f"{config.dataset} has no default eps under {config.norm}; give --eps")
    if config.eps is None and (why := eps_fault(config.norm, defaults.eps[config.norm])):
        raise ConfigError(f"default of {config.dataset} under {config.norm}: {why}; give --eps")
    trained = config.epochs is not None or config.budget_ge is not None
    usual = "cnn" if len(dataset.input_shape) == 3 else "mlp"
    return config.model_copy(
        update={
            "eps": config.eps if config.eps is not None else defaults.eps[config.norm],
            "epochs": config.epochs if trained else defaults.epochs,
            "model": usual if config.model is None else config.model,
        }
    )


def _create_defenses(
    config: RunConfig, dataset: Dataset, threat: defenses.Threat
) -> dict[str, defenses.Defense]:
    """The run's trained defenses by their names, wrappers included; all parameters are checked."""
    created = {}
    for name in dict.fromkeys([*defenses_of(config), *config.parameters]):
        if name in wrappers.WRAPPERS:
            continue
        try:
            base, _ = wrappers.split(name)
            parameters = dict(config.parameters.get(base, {}))
            if config.on_overfit is not None and base != BASELINE:
                parameters.setdefault("on_overfit", config.on_overfit)
            wrappers.check_inputs(name, dataset.input_shape)
            base_parameters = {**_of_the_data(base, config, dataset), **parameters}
            created[name] = defenses.create(base, threat, base_parameters)
            created[name].check_inputs(dataset.input_shape)
        except defenses.DefenseError as error:
            raise ConfigError(f"defense {name!r}: {error}") from error
    return {name: created[name] for name in defenses_of(config)}


def _of_the_data(name: str, config: RunConfig, dataset: Dataset) -> dict[str, Any]:
    """The data set's augmentation, and its budgets under the other norms, if a defense has such."""
    known = defenses.parameter_names(name)
    defaults = datasets.defaults(config.dataset)
    named = {f"eps_{norm}": eps for norm, eps in defaults.eps.items() if norm != config.norm}
    budgets = {key: eps for key, eps in named.items() if key in known}
    return budgets | defaults.augmentation(dataset.input_shape)


def _parameters(name: str, defense: defenses.Defense, config: RunConfig) -> dict[str, Any]:
    """What a cell holds: the training's parameters, and each wrapper's arguments by its name."""
    attached = wrappers.split(name)[1]
    given = {wrapper: config.parameters.get(wrapper, {}) for wrapper in attached}
    return defense.parameters() | {key: wrappers.arguments(key, given[key]) for key in attached}


def _usual_parameters(
    config: RunConfig, dataset: Dataset, threat: defenses.Threat
) -> dict[str, Mapping[str, Any]]:
    """Defense to all the parameters that it has here where none are set."""
    return {
        name: usual_parameters(name, threat, _of_the_data(base, config, dataset))
        for name in defenses_of(config)
        for base in [wrappers.split(name)[0]]
    }


def job_of(cell: Cell, suite: Suite, config: RunConfig, meta_test: MetaTest | None = None) -> Job:
    """What a worker is asked to do for a cell."""
    data_dir = None if config.data_dir is None else str(config.data_dir)
    budgets = datasets.budgets(cell.dataset, cell.norm, cell.eps)
    attacks = suite.with_budgets(budgets).attacks
    return Job(
        cell,
        suite.name,
        (*attacks, TRANSFER) if cell.wrapped_in else attacks,
        str(config.out),
        data_dir,
        **(meta_test or MetaTest()).of(cell),
        attack_timeout=config.attack_timeout,
        batch_size=config.batch_size or CHUNK,
        curve=suite.curve,
        corruptions=suite.corruptions,
        certification=suite.certification,
        dataset=config.dataset,
    )


def _training(cell: Cell, defense: defenses.Defense, dataset: Dataset) -> float:
    """The gradient evaluations that a cell's training takes."""
    try:
        defense.check_labels(dataset.y_train)
        return defense.length(
            len(dataset.x_train),
            epochs=cell.epochs,
            budget_ge=cell.budget_ge,
            validation=len(dataset.x_validation),
        ).gradient_evaluations
    except defenses.DefenseError as error:
        raise ConfigError(f"defense {cell.defense!r}: {error}") from error
