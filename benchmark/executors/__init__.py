"""Who carries a run out: the scheduler decides, and an executor obeys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmark.errors import ConfigError
from benchmark.executors.interface import Executor
from benchmark.executors.local import Local
from benchmark.results import Store

if TYPE_CHECKING:
    from benchmark.config import RunConfig


@contextmanager
def ready(config: RunConfig, *, workers: int) -> Iterator[Callable[[Store], Executor]]:
    """Something that makes the executor that was asked for, once it is sure that it can work.

    Args:
        workers: processes at a time on this machine.

    Raises:
        ConfigError: there is no such cluster, or it can't do what is asked.
    """
    if config.executor == "ray":
        try:
            from benchmark.executors import ray_cluster
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "ray":
                raise
            raise ConfigError(
                "executor 'ray' needs Ray, which is not installed here: "
                "pip install 'meta-adv-bench[ray]'"
            ) from error
        with ray_cluster.connected(config) as cluster:
            yield cluster.executor
    else:
        yield lambda store: Local(
            store,
            workers=workers,
            device=config.device if config.devices is None else "cuda",
            threads=config.threads,
            devices=config.devices or (),
        )
