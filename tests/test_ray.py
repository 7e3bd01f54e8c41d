"""Runs on a real Ray cluster of three nodes, which lose machines, drivers and patience."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason="Ray isn't installed: pip install 'meta-adv-bench[ray]'")

import halting_worker  # noqa: E402
import sleeping_worker  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from serving import serve  # noqa: E402

from benchmark.config import read  # noqa: E402
from benchmark.errors import ConfigError  # noqa: E402
from benchmark.events import CellFinished, CellNotice, CellProgress, Event  # noqa: E402
from benchmark.executors import ray_cluster, scheduler  # noqa: E402
from benchmark.executors.ray import Ray, Resources  # noqa: E402
from benchmark.executors.ray_node import examine, identity  # noqa: E402
from benchmark.plans.run import make_plan  # noqa: E402
from benchmark.results import Store  # noqa: E402
from benchmark.resume import pending  # noqa: E402

HERE = Path(__file__).parent
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}
QUICKLY = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}


class Nodes:
    """A head without CPUs, and nodes with one each, of which there are always three."""

    def __init__(self) -> None:
        head = {**NODE, "num_cpus": 0, "_system_config": QUICKLY, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes: list[Any] = []
        self.fill()

    def fill(self) -> None:
        while len(self.nodes) < 3:
            self.nodes.append(self.cluster.add_node(wait=False, **NODE))
        self.cluster.wait_for_nodes()

    def kill(self, node_id: str) -> None:
        (node,) = [node for node in self.nodes if node.node_id == node_id]
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # What lies beside the tests is found by the nodes' processes too.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent)]))
        made = Nodes()
        yield made
        made.cluster.shutdown()


@pytest.fixture
def connected(nodes: Nodes) -> Iterator[Nodes]:
    nodes.fill()
    ray.init(nodes.cluster.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "out")


def executor(store: Store, serve: str | None = "sleeping_worker:serve", **more: Any) -> Ray:
    return Ray(store, Resources(1), "cpu", 1, serve=serve, **more)


def alive_actors() -> list[Any]:
    found = ray._private.state.actors().values()
    return [one for one in found if one["State"] in ("ALIVE", "PENDING_CREATION")]


def nodes_at_work() -> set[str]:
    return {one["Address"]["NodeID"] for one in alive_actors()}


def served(store: Store) -> list[list[str]]:
    """(process, its parent, cell, attempt) of each task that a worker took."""
    file = store.path / "served.txt"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.05)


def is_alive(process: str) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.usefixtures("connected")
def test_the_nodes_share_the_work_and_a_worker_serves_many_tasks(store: Store) -> None:
    jobs = [sleeping_worker.job(store.path, seed, training=0.2, attack=0.1) for seed in range(9)]
    done = scheduler.run(jobs, store, executor(store), on_event=lambda event: None)
    assert [one.status for one in done] == ["ok"] * 9
    assert pending(jobs, store) == []
    assert len({line[0] for line in served(store)}) == 3
    wait_until(lambda: not alive_actors())


# A node's process finds the checkout that tests start in, and its commit, before what is installed.
CIRCUMSTANCES = ("seconds", "started", "peak_memory", "git")


def contents(out: Path) -> dict[str, bytes]:
    """Arrays and weights by their paths, and records without what names a machine or a time."""
    cells = [path for path in sorted((out / "cells").rglob("[!.]*")) if path.is_file()]
    store = Store.open(out)
    found = {}
    for path in cells:
        name = path.relative_to(out / "cells").as_posix()
        if path.suffix != ".json":
            found[name] = path.read_bytes()
            continue
        cell_id, _, stage = name.removesuffix(".json").partition("/")
        record = store.read_cell(cell_id) if stage == "cell" else store.read_stage(cell_id, stage)
        assert record is not None
        plain = {k: v for k, v in dict(record).items() if k not in CIRCUMSTANCES}
        found[name] = repr(sorted(plain.items())).encode()
    return found


def plan(out: Path) -> list[Any]:
    quick = ["attacks.pgd.max_iter=3", "attacks.apgd.max_iter=3", "attacks.square.max_iter=5"]
    flags = {"defense": ["pgd-at"], "framework": ["torch"], "model": "cnn-small", "epochs": 4}
    config = read({**flags, "examples": 30, "baseline": False, "out": out}, assignments=quick)
    return list(make_plan(config).jobs)


def test_a_run_that_loses_nodes_in_training_and_in_attacks_ends_as_one_without_a_cluster(
    connected: Nodes, tmp_path: Path
) -> None:
    whole = Store.create(tmp_path / "whole")
    serve(*plan(whole.path))
    broken = Store.create(tmp_path / "broken")
    killed: list[str] = []

    def kill_its_node(event: Event) -> None:
        left = [stage for stage in halting_worker.HALTS if stage not in killed]
        if isinstance(event, CellProgress) and event.stage in left and event.fraction > 0:
            killed.append(event.stage)
            (node,) = nodes_at_work()
            connected.kill(node)

    jobs = plan(broken.path)
    halting = executor(broken, "halting_worker:serve")
    done = scheduler.run(jobs, broken, halting, on_event=kill_its_node)
    assert killed == list(halting_worker.HALTS)
    assert [one.status for one in done] == ["ok"]
    assert contents(broken.path) == contents(whole.path)


PROGRAM = """
import sys
from pathlib import Path
from benchmark.results import Store
import ray, sleeping_worker, test_ray
from benchmark.executors import scheduler
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
store = Store.open(sys.argv[2])
jobs = [sleeping_worker.job(store.path, seed, training=0.5, attack=0.1) for seed in range(8)]
try:
    with store.lock() as store:
        scheduler.run(jobs, store, test_ray.executor(store), on_event=lambda event: None)
finally:
    ray.shutdown()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_ends_leaves_no_worker_and_the_same_command_goes_on(
    connected: Nodes, store: Store, number: int
) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, connected.cluster.address, str(store.path)],
        stderr=subprocess.DEVNULL,
    )
    jobs = [sleeping_worker.job(store.path, seed, training=0.5, attack=0.1) for seed in range(8)]
    wait_until(lambda: len(pending(jobs, store)) < len(jobs))
    driver.send_signal(number)
    ended = time.monotonic()
    driver.wait(10)
    workers = {process for line in served(store) for process in line[:2]}
    wait_until(lambda: not any(map(is_alive, workers)))
    assert time.monotonic() - ended < 5
    wait_until(lambda: not alive_actors())
    left = pending(jobs, store)
    assert 0 < len(left) < len(jobs)

    with store.lock() as held:
        scheduler.run(left, held, executor(held), on_event=lambda event: None)
    assert pending(jobs, store) == []


@pytest.mark.usefixtures("connected")
def test_a_worker_that_dies_on_its_node_fails_its_cell_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [sleeping_worker.job(store.path, seed, training=0.3) for seed in range(2)]
    events: list[Event] = []

    def kill_first(event: Event) -> None:
        events.append(event)
        if isinstance(event, CellProgress) and event.stage == "training":
            for process, _, cell_id, _ in served(store):
                if cell_id == jobs[0].cell.cell_id and is_alive(process):
                    os.kill(int(process), signal.SIGKILL)

    done = scheduler.run(jobs, store, executor(store), on_event=kill_first)
    status = {one.job.cell.seed: one.status for one in done}
    assert status == {0: "failed", 1: "ok"}
    (reason,) = [one.reason for one in done if one.status == "failed"]
    assert reason.startswith("killed by SIGKILL while training (out of memory?); see logs/torch-")
    assert not any(isinstance(event, CellNotice) for event in events)
    assert sum(isinstance(event, CellFinished) for event in events) == 2


def configured(address: str, tmp_path: Path, **more: Any) -> Any:
    flags = {"defense": "none", "framework": "torch", "out": tmp_path / "out"}
    return read({**flags, "executor": "ray", "ray_address": address, **more})


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """An address that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def closed() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    yield address


@pytest.mark.parametrize("address", [silent, closed], ids=["silent", "closed"])
def test_an_address_that_does_not_answer_is_told_soon(
    tmp_path: Path, address: Callable[[], Any]
) -> None:
    with address() as given:
        began = time.monotonic()
        with (
            pytest.raises(ConfigError, match="doesn't answer") as told,
            ray_cluster.connected(configured(given, tmp_path)),
        ):
            pass
    assert time.monotonic() - began < 10
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


ASKED = {
    "GPUs": ({"gpus_per_cell": 2}, r"no node .* 2 GPUs .*it has .*1 CPUs and 0 GPUs"),
    "CPUs": ({"cpus_per_cell": 3}, r"no node of the cluster has the 3 CPUs"),
    "data": ({"data_dir": "/nowhere"}, r"node \S+ doesn't see, or can't write to, /nowhere;"),
}


@pytest.mark.parametrize(("more", "line"), ASKED.values(), ids=ASKED)
def test_what_a_cluster_lacks_is_told_with_what_it_has(
    nodes: Nodes, tmp_path: Path, more: dict[str, Any], line: str
) -> None:
    config = configured(nodes.cluster.address, tmp_path, **more)
    with pytest.raises(ConfigError, match=line) as told, ray_cluster.connected(config):
        pass
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_fits_is_used_with_what_it_has(nodes: Nodes, tmp_path: Path) -> None:
    nodes.fill()
    config = configured(nodes.cluster.address, tmp_path)
    with ray_cluster.connected(config) as cluster:
        assert (cluster.resources.cpus, cluster.resources.gpus) == (1, 0.0)
        assert cluster.executor(Store.create(tmp_path / "out")).room() == 3


def test_a_folder_that_a_node_does_not_see_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "elsewhere"
    found = examine("torch", str(missing / "token"), [str(tmp_path)])
    assert found["missing"] == [str(missing)]
    with pytest.raises(ConfigError, match=f"node n1 doesn't see, or can't write to, {missing}"):
        ray_cluster.check_node("n1", found, identity(), found["versions"])


DIFFERENT = {
    "Python": ({"python": "3.9.1"}, {}, "node n1 has python 3.9.1, this machine "),
    "package": ({"meta-adv-bench": "0.0"}, {}, "node n1 has meta-adv-bench 0.0, this machine"),
    "framework": ({"torch": "1.0"}, {"torch": "2.0"}, "has torch 1.0, another node 2.0;"),
}


@pytest.mark.parametrize(("theirs", "first", "line"), DIFFERENT.values(), ids=DIFFERENT)
def test_versions_that_differ_between_nodes_are_told(
    theirs: dict[str, str], first: dict[str, str], line: str
) -> None:
    found = {"versions": {**identity(), **theirs}, "missing": []}
    with pytest.raises(ConfigError, match=line):
        ray_cluster.check_node("n1", found, identity(), first)
