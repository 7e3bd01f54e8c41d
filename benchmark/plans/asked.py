"""What a run was asked for, beside its cells' configurations: enough to ask for the same again.

runs/<suite>    a `RunRecord`; the suite file beside it as <suite>.yaml
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import defenses
from benchmark import datasets
from benchmark.attacks.suites import distribution, suite_file
from benchmark.digest import digest
from benchmark.portable import dataset_name
from benchmark.results.records import RunRecord
from benchmark.trainings import SHARE
from defenses import wrappers

if TYPE_CHECKING:
    from benchmark.cells import Cell
    from benchmark.config import RunConfig
    from benchmark.datasets import Dataset
    from benchmark.results import Record, Store


@dataclass(frozen=True)
class Asked:
    """The stage's record, and the text of the suite file if there was one."""

    record: RunRecord
    suite_text: str | None = None


def asked(cell: Cell, config: RunConfig, dataset: Dataset, usual: Mapping[str, Any]) -> Asked:
    """What to ask for again.

    Args:
        cell: one of the run's.
        config: the run's, resolved.
        dataset: the run's.
        usual: all parameters that the cell's defense has where none are set; see
            `usual_parameters`.
    """
    file = suite_file(config.suite)
    name, text = file or (None, None)
    other = distribution(config.suite)
    more: dict[str, Any] = {} if other is None else {"suite_from": other}
    record = RunRecord(
        suite=config.suite if name is None else Path(config.suite).stem,
        suite_file=name,
        suite_digest=None if text is None else digest(text),
        given=_given(cell, config, dataset, usual),
        attacks=config.attacks,
        protocol=config.protocol,
        adaptation=_adaptation(config),
        attack_timeout=config.attack_timeout,
        **_split(cell, config),
        **more,
    )
    if config.batch_size is not None:
        record = RunRecord(**{**record.stored(), "batch_size": config.batch_size})
    return Asked(record, text)


def _adaptation(config: RunConfig) -> dict[str, Any]:
    """The protocol's settings, without the folders of this machine."""
    named = {
        name: dataset_name(value)
        for name, value in config.adaptation.items()
        if name == "adapt_to" and isinstance(value, str)
    }
    return config.adaptation | named


def _split(cell: Cell, config: RunConfig) -> dict[str, Any]:
    """The seed that classes were split by, or else the classes: a file may be gone."""
    if cell.class_split is None:
        return {}
    given = str(0 if config.split is None else config.split)
    return {"split": int(given) if given.isdigit() else cell.class_split.record()}


def usual_parameters(name: str, threat: defenses.Threat, of_the_data: Mapping[str, Any]) -> Record:
    """What a cell of the defense `name` holds as parameters where none are set.

    `of_the_data` are those parameters of the trained part that follow the data set.
    """
    base, attached = wrappers.split(name)
    trained = defenses.create(base, threat, of_the_data).parameters()
    return trained | {wrapper: wrappers.arguments(wrapper, {}) for wrapper in attached}


def write(asked: Asked, store: Store, cell_id: str, stage: str) -> None:
    """Stores as a cell's stage what its run asked for, unless the same is stored already."""
    stored = store.read_stage(cell_id, stage)
    text, record = asked.suite_text, asked.record.stored()
    if stored is not None and {k: v for k, v in stored.items() if k != "files"} == record:
        return
    files = {}
    if text is not None:
        content = text.encode()
        files[f"{stage.partition('/')[2]}.yaml"] = lambda path: path.write_bytes(content)
    store.write_stage(cell_id, stage, record, files)


def _given(cell: Cell, config: RunConfig, dataset: Dataset, usual: Mapping[str, Any]) -> list[str]:
    """The options that make a difference: those whose values are not the defaults here."""
    defaults = datasets.defaults(config.dataset)
    most: int = type(config).model_fields["examples"].default
    values = {
        "dataset": (config.dataset, "digits"),
        "image-size": (cell.image_size, None),
        "split-seed": (cell.split_seed, 0),
        "label": (cell.label_column, None),
        "group": (cell.group_column, None),
        "features": (cell.features, None),
        "norm": (cell.norm, "linf"),
        "eps": (cell.eps, defaults.eps.get(cell.norm)),
        "seed": (cell.seed, 0),
        "model": (cell.model, "cnn" if len(dataset.input_shape) == 3 else "mlp"),
        "init": ((cell.origin or {}).get("init"), None),
        "new-head": ((cell.origin or {}).get("new_head"), None),
        "precision": (cell.precision, None),
        "extra-data": (config.extra_data, None),
        "extra-share": ((cell.extra_data or {}).get("share"), SHARE),
        "epochs": (cell.epochs, defaults.epochs),
        "budget-ge": (cell.budget_ge, None),
        "examples": (cell.examples, min(most, len(dataset.x_test))),
    }
    given = [name for name, (value, default) in values.items() if value not in (None, default)]
    base, attached = wrappers.split(cell.defense) if cell.source is None else ("", [])
    for name, value in cell.parameters.items():
        if name in attached:
            changed = [a for a, v in value.items() if v != usual.get(name, {}).get(a)]
            given += [f"parameters.{name}.{argument}" for argument in changed]
        elif digest(value) != digest(usual.get(name)):
            given.append(f"parameters.{base}.{name}")
    left_out = usual.keys() - cell.parameters.keys()  # what the data set turns on is off
    return given + [f"parameters.{base}.{name}" for name in sorted(left_out)]
