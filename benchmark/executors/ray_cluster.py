"""A Ray cluster to run on: found or started, and checked before anything is written."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from benchmark.config import RunConfig
from benchmark.errors import ConfigError
from benchmark.executors.ray import Ray, Resources
from benchmark.executors.ray_node import examine, identity
from benchmark.results import Store
from benchmark.results.files import beside

_CONNECT = 3.0  # seconds for a connection, and
_ANSWER = 6.0  # for what answers to be Ray
_EXAMINE = 120.0  # for a node to tell what it is like
# The least that Ray allows: nothing large passes through it.
_OBJECT_STORE = 80 << 20
_ASK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"


@dataclass(frozen=True)
class Cluster:
    """A cluster that was found fit for a run."""

    config: RunConfig
    resources: Resources

    def executor(self, store: Store) -> Ray:
        """Workers on it."""
        config = self.config
        return Ray(
            store,
            self.resources,
            config.device,
            config.threads or self.resources.cpus,
            config.jobs,
            config.runtime_env,
        )


@contextlib.contextmanager
def connected(config: RunConfig) -> Iterator[Cluster]:
    """The cluster at the configuration's address, or one of this machine alone, for a while.

    Raises:
        ConfigError: it doesn't answer, lacks what was asked for, or a node is of other versions or
            doesn't see the results' folder.
    """
    address = config.ray_address or os.environ.get("RAY_ADDRESS") or ""
    if address in ("", "local"):
        _connect("local", object_store_memory=_OBJECT_STORE)
    else:
        if address != "auto":
            _check_answers(address)
        _connect(address)
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        resources = _resources(config, nodes)
        if address not in ("", "local"):
            _check_nodes(config, [node for node in nodes if resources.fit(node)])
        yield Cluster(config, resources)
    finally:
        ray.shutdown()


def _connect(address: str, **settings: Any) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ours = signal.getsignal(signal.SIGTERM)  # Ray puts its own in its place
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **settings)
    except (RuntimeError, ConnectionError, ValueError, RayError) as error:
        raise ConfigError(f"--ray-address {address}: {_one_line(error)}") from error
    finally:
        signal.signal(signal.SIGTERM, ours)


def _check_answers(address: str) -> None:
    """Raises `ConfigError` within seconds where no Ray is; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if address.startswith("ray://"):
        raise ConfigError(
            f"--ray-address {address}: Ray's client is not enough; run bench on a machine of the "
            "cluster, with HOST:PORT of its head (such as 10.0.0.1:6379), or auto"
        )
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"--ray-address {address!r} is not allowed; give HOST:PORT, such as 10.0.0.1:6379, "
            "auto or local"
        )
    fix = "check that the cluster is up (ray status) and that its port is open"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()
    except OSError as error:
        raise ConfigError(
            f"--ray-address {address} doesn't answer ({error.strerror or error}); {fix}"
        ) from error
    try:
        command = [sys.executable, "-c", _ASK, address]
        subprocess.run(command, timeout=_ANSWER, capture_output=True, check=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise ConfigError(
            f"--ray-address {address} doesn't answer as the head of a Ray cluster; {fix}"
        ) from error


def _resources(config: RunConfig, nodes: Sequence[Mapping[str, Any]]) -> Resources:
    """What a worker takes; raises `ConfigError` where no node has room for one."""
    gpus = config.gpus_per_cell
    if gpus is None:
        found = sum(node["Resources"].get("GPU", 0) for node in nodes)
        gpus = 1.0 if config.device == "cuda" or (config.device == "auto" and found) else 0.0
    resources = Resources(config.cpus_per_cell or _cpus(config, nodes, gpus), gpus)
    if not any(resources.fit(node) for node in nodes):
        has = "; ".join(
            f"{node['NodeManagerHostname']}: {node['Resources'].get('CPU', 0):g} CPUs and "
            f"{node['Resources'].get('GPU', 0):g} GPUs"
            for node in nodes[:4]
        )
        more = f", and {len(nodes) - 4} more nodes" if len(nodes) > 4 else ""
        raise ConfigError(
            f"no node of the cluster has the {resources.cpus} CPUs and {gpus:g} GPUs that a cell "
            f"is given; it has {has}{more}; see --cpus-per-cell and --gpus-per-cell"
        )
    return resources


def _cpus(config: RunConfig, nodes: Sequence[Mapping[str, Any]], gpus: float) -> int:
    """The CPUs of a node shared by the workers on it, as without a cluster."""
    with_gpus = [node for node in nodes if node["Resources"].get("GPU", 0) >= gpus]
    cpus = min((int(node["Resources"].get("CPU", 0)) or math.inf for node in with_gpus), default=1)
    if not math.isfinite(cpus):
        return 1
    each = math.ceil(config.jobs / len(with_gpus)) if config.jobs else len(config.framework)
    return max(1, min(config.threads or int(cpus) // each, int(cpus)))


def _check_nodes(config: RunConfig, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Raises `ConfigError` for a node of other versions, or one that doesn't see our folders."""
    folders = [] if config.data_dir is None else [os.path.abspath(config.data_dir)]
    asked = ray.remote(num_cpus=0, max_retries=0)(examine)
    ours, first = identity(), dict[str, dict[str, str]]()
    with _token(config.out) as token:
        answers = {
            (node["NodeManagerHostname"], framework): asked.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
                runtime_env=dict(config.runtime_env.get(framework, {})) or None,
            ).remote(framework, str(token), folders)
            for node in nodes
            for framework in config.framework
        }
        for (host, framework), answer in answers.items():
            try:
                found = ray.get(answer, timeout=_EXAMINE)
            except (RayError, GetTimeoutError, ImportError) as error:
                raise ConfigError(f"node {host} can't run cells: {_one_line(error)}") from error
            check_node(host, found, ours, first.setdefault(framework, found["versions"]))


def check_node(
    host: str, found: Mapping[str, Any], ours: Mapping[str, str], first: Mapping[str, str]
) -> None:
    """Judges what a node told; raises `ConfigError`.

    Args:
        host: its name.
        found: what `examine` returned.
        ours: what must be as it is here.
        first: versions of the node that was asked first, which all must have.
    """
    for path in found["missing"]:
        raise ConfigError(
            f"node {host} doesn't see, or can't write to, {path}; give a folder that all nodes "
            "share under the same path"
        )
    for expected, of_whom in ((ours, "this machine"), (first, "another node")):
        for name, version in expected.items():
            if found["versions"].get(name) != version:
                raise ConfigError(
                    f"node {host} has {name} {found['versions'].get(name, 'not installed')}, "
                    f"{of_whom} {version}; numbers would differ: install the same everywhere"
                )


@contextlib.contextmanager
def _token(out: Path) -> Iterator[Path]:
    """A file that is made beside the results, or in the folder that will hold theirs."""
    out = Path(os.path.abspath(out))
    folder = next(place for place in (out, *out.parents) if place.is_dir())
    token = beside(folder / "token")
    token.touch()
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[-3:])[:400] if lines else type(error).__name__
