"""Where the cells of a run are worked on: that part of its configuration."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from benchmark import limits, values
from benchmark.choices import one_of
from benchmark.errors import ConfigError, UnknownName, shortened
from benchmark.frameworks import FRAMEWORKS

EXECUTORS = ("local", "ray")
# Of `Placement`: what only a cluster can take.
_OF_RAY = ("ray_address", "gpus_per_cell", "cpus_per_cell", "runtime_env")


def _shard(value: Any) -> tuple[int, int]:
    match = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", str(value))
    if match and 1 <= int(match[1]) <= int(match[2]):
        return int(match[1]), int(match[2])
    raise ConfigError(
        f"shard {shortened(value)} is not allowed; give K/N with K from 1 to N, such as 3/10"
    )


def _devices(value: Any) -> tuple[int, ...]:
    listed = value if isinstance(value, list | tuple) else str(value).split(",")
    words = [word for one in listed for word in str(one).split(",")]
    if not words or not all(re.fullmatch(r"\s*[0-9]{1,4}\s*", word) for word in words):
        raise ConfigError(
            f"devices {shortened(value)} is not allowed; give numbers of GPUs, such as 0,1"
        )
    return tuple(dict.fromkeys(map(int, words)))


def _batch_size(value: Any) -> int | str:
    size = values.whole(str(value).strip().lower())
    if size == "auto" or (isinstance(size, int) and 0 < size < 10**9):
        return size
    raise ConfigError(
        f"batch_size {shortened(value)} is not allowed; give auto, or a whole number from 1 up"
    )


def _environments(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        raise ConfigError(
            f"runtime_env must map frameworks to Ray's settings, got {shortened(value)}"
        )
    for name in value:
        if name not in FRAMEWORKS:
            raise UnknownName("framework in runtime_env", str(name), FRAMEWORKS)
    return value


GpusPerCell = Annotated[
    float,
    BeforeValidator(values.real),
    Field(ge=0, le=limits.MAX_JOBS, allow_inf_nan=False),
]


class Placement(BaseModel):
    """Where the cells of a run are worked on.

    executor: "local" for processes of this machine, or "ray". ray_address: "HOST:PORT" of a
    cluster's head, "auto" for the one on this machine, or "local" to start one; None to go by
    $RAY_ADDRESS. cpus_per_cell, gpus_per_cell: what a worker takes of a node; shares of a GPU are
    allowed. runtime_env: {framework: Ray's runtime environment of its workers}. shard: (k, n) for
    the k-th of n parts of the plan. batch_size: examples that attacks and read-outs take at a time,
    or "auto" for as many as the device has memory for; the usual number where it is None. devices:
    numbers of the GPUs of this machine that workers take in turn, each one of them; None to leave
    that to frameworks.
    """

    executor: Annotated[str, one_of("executor", EXECUTORS)] = "local"
    ray_address: str | None = None
    gpus_per_cell: GpusPerCell | None = None
    cpus_per_cell: Annotated[values.Count, Field(le=limits.MAX_THREADS)] | None = None
    runtime_env: Annotated[dict[str, dict[str, Any]], BeforeValidator(_environments)] = Field(
        default_factory=dict
    )
    batch_size: Annotated[int | Literal["auto"], BeforeValidator(_batch_size)] | None = None
    devices: Annotated[tuple[int, ...], BeforeValidator(_devices)] | None = None
    shard: Annotated[tuple[int, int], BeforeValidator(_shard)] | None = None

    @model_validator(mode="after")
    def _for_gpus_here(self) -> Placement:
        if self.devices is not None and self.executor != "local":
            raise ConfigError(
                "devices is for the GPUs of this machine; on a cluster give gpus_per_cell instead"
            )
        return self

    @model_validator(mode="after")
    def _for_ray(self) -> Placement:
        for key in _OF_RAY:
            if self.executor != "ray" and getattr(self, key) not in (None, {}):
                raise ConfigError(
                    f"{key} is for a cluster; give --executor ray too, or leave it out"
                )
        return self
