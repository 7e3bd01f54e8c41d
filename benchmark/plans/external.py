"""From an external model to the plan of attacking it: all is checked before anything is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmark import datasets
from benchmark.attacks.claims import Claims
from benchmark.attacks.claims import read as read_claims
from benchmark.attacks.suites import load_suite
from benchmark.cells import Cell
from benchmark.config import RunConfig
from benchmark.datasets import Dataset, features
from benchmark.devices import check_device
from benchmark.errors import ConfigError
from benchmark.examples import attacked_examples
from benchmark.external import builders, zoo
from benchmark.external.checking import Trial, TrialResult, check, few, fitting_inputs
from benchmark.external.model import ExternalModel, source
from benchmark.fits import doubtful
from benchmark.frameworks import check_installed
from benchmark.plans.asked import asked
from benchmark.plans.notices import left_out
from benchmark.plans.run import Plan, job_of, load_data, resolve
from benchmark.portable import dataset_name
from benchmark.results import Store

# Examples that other inputs are tried on.
FITTED = 256


def make_plan(config: RunConfig, external: ExternalModel, claims: Path | None = None) -> Plan:
    """What `bench attack` will do: one cell without training.

    Args:
        config: data, threat, suite and machine; its defense is the external model's name.
        external: the model, checked by `benchmark.external.model.check`.
        claims: a file of adversarial examples that others made.

    Raises:
        BenchError: anything that would stop the cell from the outset.
    """
    check_device(config)
    if external.framework is not None:
        check_installed([external.framework])
    Store.check_writable(config.out)
    suite = load_suite(config.suite, config.attacks)
    if external.builder is not None and not zoo.is_of_zoo(external.builder):
        builders.check_there(external.builder)
    dataset = load_data(config, dry_run=False)
    config = resolve(config, dataset)
    _check_normalisation(external, dataset)
    claimed = None if claims is None else read_claims(claims, dataset)
    x, y = few(dataset.x_test, dataset.y_test)
    found = check(Trial(external, x, y, dataset.classes))
    external = dataclasses.replace(external, outputs=found.outputs)
    fitting = _fitting(external, found, dataset)
    cell = _cell(config, external, found, dataset)
    claimed, told = _among(claimed, cell, dataset)
    job = dataclasses.replace(
        job_of(cell, suite, config),
        external=external,
        asked=asked(cell, config, dataset, cell.parameters),
        measured=dataset.measured,
        claims=claimed,
    )
    return Plan(
        config=config,
        jobs=(job,),
        workers=1,
        notices=(
            *found.notices,
            *fitting,
            *features.notices(cell.features),
            *dataset.notices(),
            *told,
            *left_out(config, suite, dataset),
        ),
    )


def _fitting(external: ExternalModel, found: TrialResult, dataset: Dataset) -> tuple[str, ...]:
    """What the model would be right with, where it is wrong with what was asked for."""
    if not doubtful(found.accuracy, 1 / dataset.classes):
        return ()
    told = fitting_inputs(
        Trial(external, *few(dataset.x_test, dataset.y_test, FITTED), dataset.classes)
    )
    return (told,) if told else ()


def _cell(config: RunConfig, external: ExternalModel, found: TrialResult, dataset: Dataset) -> Cell:
    origin = source(
        external,
        framework=found.framework,
        outputs=found.outputs,
        builder_sha256=found.builder_sha256,
    )
    assert config.eps is not None
    budgets = features.feature_budgets(config.features, dataset)
    # Tells rows of one name and other weights apart.
    digest = origin["weights_sha256"] or origin["builder_sha256"] or ""
    return Cell(
        dataset=dataset_name(dataset.name),
        dataset_fingerprint=dataset.fingerprint,
        image_size=config.image_size,
        split_seed=config.split_seed,
        model=external.architecture,
        framework=found.framework,
        defense=external.name,
        parameters={"sha256": digest[:12]},
        norm=config.norm,
        eps=config.eps,
        seed=config.seed[0],
        epochs=None,
        budget_ge=None,
        examples=min(config.examples, len(dataset.x_test)),
        source=origin,
        label_column=config.label,
        group_column=config.group,
        dataset_from=datasets.distribution(config.dataset),
        features=budgets,
        columns=features.columns(dataset, budgets),
    )


def _among(
    claims: Claims | None, cell: Cell, dataset: Dataset
) -> tuple[Claims | None, tuple[str, ...]]:
    """The claims about examples of the cell, and a line where others are left out."""
    if claims is None:
        return None, ()
    found, every = claims.among(attacked_examples(cell, dataset)), len(claims.index)
    if not len(found.index):
        raise ConfigError(
            f"none of the {every} claims is about one of the {cell.examples} test examples that "
            f"are attacked; give --examples {len(dataset.x_test)} for all"
        )
    left = every - len(found.index)
    told = f"{left} of {every} claims are about test examples that are not attacked, left out"
    return found, (told,) if left else ()


def _check_normalisation(external: ExternalModel, dataset: Dataset) -> None:
    channels = dataset.input_shape[-1]
    for option, values in (("mean", external.mean), ("std", external.std)):
        if len(values) not in (0, 1, channels):
            raise ConfigError(
                f"--{option} has {len(values)} numbers; give one, or one for each of the data's "
                f"{channels} channels"
            )
