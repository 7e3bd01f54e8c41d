"""Each worker of this machine gets its GPU, and a stage's record says which it was."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_runner import first_column, is_alive, job, work

from benchmark import devices, frameworks, worker
from benchmark.config import read
from benchmark.devices import check_device, environment_of, numbered
from benchmark.errors import ConfigError
from benchmark.events import CellStarted
from benchmark.executors import local
from benchmark.plans.run import make_plan
from benchmark.results import Store
from benchmark.results.records import StageRecord
from benchmark.stages.stage import Result, Stage

ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
PLACES = {
    "in turn": ([0, 1], None, ["0", "1", "0"]),
    "those that were given": ([2, 0, 5], None, ["2", "0", "5"]),
    "among those that are visible": ([1, 0], "4, GPU-ab,7", ["GPU-ab", "4", "GPU-ab"]),
}


@pytest.mark.parametrize(("given", "visible", "expected"), PLACES.values(), ids=PLACES)
def test_a_slot_has_its_gpu(given: list[int], visible: str | None, expected: list[str]) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    found = [environment_of(slot, given, environ) for slot in range(3)]
    assert found == [{**ORDER, "CUDA_VISIBLE_DEVICES": name} for name in expected]
    assert environment_of(0, [], environ) == {}


def test_workers_see_the_gpu_of_their_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    store, names = Store.create(tmp_path / "out"), frameworks.FRAMEWORKS
    jobs = [job(store, "gpu", seed=seed, framework=name) for seed, name in enumerate(names)]
    work(jobs, store, workers=2, devices=(3, 1))
    seen = {
        path.stem.partition("-")[0]: path.read_text().rpartition("sees GPU ")[2][0]
        for path in (store.path / "logs").glob("*.log")
    }
    assert sorted(seen.values()) == ["1", "3"]
    assert "CUDA_DEVICE_ORDER" not in os.environ


def test_a_slot_is_given_out_once_who_had_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two processes share a GPU that is for one."""
    monkeypatch.setattr(local, "_PATIENCE", 0.1)
    store = Store.create(tmp_path / "out")
    first, then = job(store, "linger"), job(store, seed=1, framework="tensorflow")
    living: list[int] = []

    def look(event: Any) -> None:
        if isinstance(event, CellStarted) and event.job is then:
            living.extend(filter(is_alive, map(int, first_column(store))))

    outcomes, _ = work([first, then], store, on_event=look)
    assert [(one.job, one.status) for one in outcomes] == [(first, "ok"), (then, "ok")]
    assert not living


NAMES = {
    "one": ("1", "cuda (H100), GPU 1"),
    "several": ("0,1", "cuda (H100)"),
    "all": ("", "cuda (H100)"),
}


@pytest.mark.parametrize(("visible", "expected"), NAMES.values(), ids=NAMES)
def test_a_gpu_is_named_with_its_number(visible: str, expected: str) -> None:
    assert numbered("cuda (H100)", {"CUDA_VISIBLE_DEVICES": visible}) == expected


class _Smallest(Stage):
    path = label = "smallest/one"

    def run(self, context: Any) -> Result:
        return StageRecord(), {}


@pytest.mark.parametrize(
    ("device", "expected"), [("cuda", {"device": "cuda (H100), GPU 1"}), ("cpu", {})]
)
def test_a_stage_says_which_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, expected: dict[str, str]
) -> None:
    monkeypatch.setattr(frameworks, "named", lambda device: "cuda (H100)")
    monkeypatch.setattr(worker, "numbered", lambda name: f"{name}, GPU 1")
    store = Store.create(tmp_path / "out")
    made = job(store)
    store.make_cell_folder(made.cell.cell_id)
    context = worker._context(made, device, 1, None)  # type: ignore[arg-type]
    context.store = store
    worker.do(_Smallest(), context)
    stored = store.read_stage(made.cell.cell_id, "smallest/one")
    assert stored is not None
    assert {name: value for name, value in stored.items() if name == "device"} == expected


GIVEN = {
    "text": ("0,1", (0, 1)),
    "a list": ([0, 2], (0, 2)),
    "one": (1, (1,)),
    "twice": ("0,0", (0,)),
}


@pytest.mark.parametrize(("given", "expected"), GIVEN.values(), ids=GIVEN)
def test_they_are_read(given: Any, expected: tuple[int, ...]) -> None:
    assert read({"defense": "none", "devices": given}).devices == expected


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no numbers": ({"devices": "all"}, "give numbers of GPUs, such as 0,1"),
    "nothing": ({"devices": ""}, "give numbers of GPUs"),
    "below 0": ({"devices": -1}, "give numbers of GPUs"),
    "one that isn't there": ({"devices": "0,2"}, "no 2; this machine shows 2 CUDA devices"),
    "a processor": ({"devices": 0, "device": "cpu"}, "both given"),
    "a cluster": ({"devices": 0, "executor": "ray"}, "give gpus_per_cell instead"),
}


@pytest.mark.parametrize(("given", "says"), WRONG.values(), ids=WRONG)
def test_wrong_ones_are_refused(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], says: str
) -> None:
    monkeypatch.setattr(devices, "cuda_devices", lambda: 2)
    with pytest.raises(ConfigError, match=says):
        check_device(read({"defense": "none", **given}))


def test_the_gpus_of_a_cluster_need_not_be_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cuda_devices", lambda: 0)
    given = {"defense": "none", "device": "cuda"}
    check_device(read({**given, "executor": "ray"}))
    with pytest.raises(ConfigError, match="this machine shows no CUDA device; use auto or cpu"):
        check_device(read(given))


DRIVERS: dict[str, tuple[tuple[int, int] | None, int]] = {
    "absent": (None, 0),
    "does not begin": ((100, 0), 0),
    "can't count": ((0, 3), 0),
    "shows two": ((0, 0), 2),
}


@pytest.mark.parametrize(("codes", "count"), DRIVERS.values(), ids=DRIVERS)
def test_a_driver_that_fails_shows_no_gpu(
    monkeypatch: pytest.MonkeyPatch, codes: tuple[int, int] | None, count: int
) -> None:
    def load(name: str) -> Any:
        if codes is None:
            raise OSError(f"{name}: cannot open shared object file")

        def counted(found: Any) -> int:
            found._obj.value = 2
            return codes[1]

        return SimpleNamespace(cuInit=lambda flags: codes[0], cuDeviceGetCount=counted)

    monkeypatch.setattr(devices.ctypes, "CDLL", load)
    assert devices.cuda_devices() == count


@pytest.mark.parametrize(("given", "expected"), [({}, 3), ({"jobs": 2}, 2)], ids=["", "jobs"])
def test_as_many_cells_at_a_time_as_gpus(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], expected: int
) -> None:
    monkeypatch.setattr(devices, "cuda_devices", lambda: 3)
    few = {"defense": "none", "framework": "torch", "seed": [0, 1, 2, 3], "model": "mlp"}
    assert make_plan(read({**few, "devices": "0,1,2", **given})).workers == expected
