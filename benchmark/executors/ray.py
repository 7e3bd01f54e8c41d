"""Workers on the nodes of a Ray cluster: an actor for each slot, which holds one framework.

Only tasks and messages pass through Ray. Data are read and stages are written by the workers, in
the folders that every node sees.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.reduction import ForkingPickler
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RuntimeEnvSetupError

from benchmark.errors import ConfigError
from benchmark.executors import local
from benchmark.executors.interface import Gone, Message, Task
from benchmark.executors.ray_node import NodeWorker
from benchmark.results import Store

_PAUSE = 1.0  # seconds that are waited for a message
_COUNTED = 2.0  # seconds that a count of the nodes is good for
# Ray sets these for its own processes; sums are rounded by them.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Resources:
    """What a worker takes of a node."""

    cpus: int
    gpus: float = 0.0

    def fit(self, node: Mapping[str, Any]) -> int:
        """How many workers a node has room for, by what `ray.nodes` says of it."""
        if not node["Alive"]:
            return 0
        has = node["Resources"]
        fits = [has.get("CPU", 0) / self.cpus]
        fits += [has.get("GPU", 0) / self.gpus] if self.gpus else []
        return math.floor(min(fits) + 1e-9)


@dataclass
class Ray:
    """Workers wherever the cluster has room for them.

    Args:
        store: its folder is seen by every node under the same path.
        resources: of a worker.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of a worker.
        most: workers at a time; None for as many as there is room for.
        environments: framework to the runtime environment of its workers.
        serve: "module:function" that a worker runs; `benchmark.worker.serve` unless given.
    """

    store: Store
    resources: Resources
    device: str
    threads: int
    most: int | None = None
    environments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    serve: str | None = None

    distributed = True

    def __post_init__(self) -> None:
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, tuple[int, Any]] = {}  # answers that are awaited, with their actors
        self._room, self._counted = 0, -math.inf
        self._actor: Any = ray.remote(NodeWorker)

    def room(self) -> int:
        """As many as the nodes that are alive have room for."""
        if time.monotonic() - self._counted > _COUNTED:
            self._room = sum(self.resources.fit(node) for node in ray.nodes())
            self._counted = time.monotonic()
        return self._room if self.most is None else min(self._room, self.most)

    def hire(self, slot: int, framework: str) -> None:
        """Asks Ray for an actor."""
        name = f"bench-{framework}-{slot + 1}"
        setting = {"framework": framework, "device": self.device, "threads": self.threads}
        actor: Any = self._actor.options(
            num_cpus=self.resources.cpus,
            num_gpus=self.resources.gpus,
            max_concurrency=2,  # it listens, and is told things meanwhile
            scheduling_strategy="SPREAD",
            runtime_env=dict(self.environments.get(framework, {})) or None,
        ).remote(
            self.serve or local.SERVE,
            os.path.abspath(self.store.log(f"{framework}-{slot + 1}")),
            {**setting, "name": name},
            {name: os.environ.get(name) for name in _THREADS},
            os.getcwd(),
        )
        self._actors[slot] = actor
        self._asked[actor.where.remote()] = slot, actor

    def send(self, slot: int, what: Task | str | None) -> None:
        """Has the actor pass it on."""
        if what is None:
            ray.kill(self._actors.pop(slot))
            return
        packed = ForkingPickler.dumps(_anywhere(what) if isinstance(what, Task) else what)
        self._actors[slot].send.remote(bytes(packed))

    def listen(self) -> Iterator[tuple[int, Message]]:
        """Waits until an actor tells something, or is lost."""
        if not self._asked:  # there is no room at all
            time.sleep(_PAUSE)
            return
        told, _ = ray.wait(list(self._asked), num_returns=1, timeout=_PAUSE)
        for answer in told:
            slot, actor = self._asked.pop(answer)
            for message in _said(answer):
                if self._actors.get(slot) is not actor:  # it was let go
                    break
                if isinstance(message, Gone):
                    ray.kill(self._actors.pop(slot))
                yield slot, message
            if slot in self._actors and self._actors[slot] is actor:
                self._asked[actor.listen.remote()] = slot, actor

    def stop(self) -> None:
        """Ends every actor at once, and with it its worker."""
        self._asked.clear()
        while self._actors:
            ray.kill(self._actors.popitem()[1])


def _said(answer: Any) -> list[Message]:
    try:
        said: list[Message] = ray.get(answer)
    except RuntimeEnvSetupError as error:
        raise ConfigError(f"runtime_env can't be set up: {_last_line(error)}") from error
    except ActorDiedError as error:
        return [Gone("its machine was lost", f": {_last_line(error)}", lost=True)]
    except RayActorError as error:
        return [Gone("its machine can't be reached", f": {_last_line(error)}", lost=True)]
    return said


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def _anywhere(task: Task) -> Task:
    """A task whose paths mean the same wherever the worker's working directory is."""
    job = task.job
    kind, colon, path = (job.dataset or "").partition(":")
    here = bool(colon) and os.path.exists(path)
    return replace(
        task,
        job=replace(
            job,
            out=os.path.abspath(job.out),
            data_dir=None if job.data_dir is None else os.path.abspath(job.data_dir),
            dataset=f"{kind}:{os.path.abspath(path)}" if here else job.dataset,
        ),
    )
