"""The extra training data of a run."""

from __future__ import annotations

from collections.abc import Mapping

import defenses
from benchmark.config import RunConfig
from benchmark.datasets import Dataset
from benchmark.datasets.extra import ExtraData, look
from benchmark.errors import ConfigError
from benchmark.trainings import SHARE


def extra_data(
    config: RunConfig, dataset: Dataset, chosen: Mapping[str, defenses.Defense]
) -> ExtraData | None:
    """What is in the file of extra training data, where one was given."""
    if config.extra_data is None:
        return None
    for name, defense in chosen.items():
        if defense.sized_for(len(dataset.x_train)).examples_per_step < 2:
            raise ConfigError(f"defense {name!r}: an update of 1 example can't hold extra data too")
    share = SHARE if config.extra_share is None else config.extra_share
    return look(config.extra_data, dataset, share=share, data_dir=config.data_dir)
