"""What a framework is told of the machine, and what a record says of it."""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, call

import numpy as np
import pytest

from benchmark import frameworks
from benchmark.attacks.running import run_attack
from benchmark.attacks.suites import AttackSpec
from benchmark.errors import ConfigError

QUOTAS = {"none": ("max 100000", 8), "two and a half": ("250000 100000", 3)}


@pytest.mark.parametrize(("quota", "count"), QUOTAS.values(), ids=QUOTAS)
def test_the_cpus_of_a_container_are_those_of_its_quota(
    quota: str, count: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    import joblib.externals.loky.backend.context as context

    path = tmp_path / "cpu.max"
    path.write_text(quota)
    read, exists = open, context.os.path.exists
    monkeypatch.setattr(context.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(context, "_cpu_count_affinity", lambda count: count)
    known = "/sys/fs/cgroup/cpu.max"
    monkeypatch.setattr(context.os.path, "exists", lambda name: name == known or exists(name))
    monkeypatch.setattr(
        context, "open", lambda name: read(path if name == known else name), raising=False
    )
    assert frameworks.cpus() == count


SEEN = {
    "a GPU there": ("auto", True, "cuda"),
    "none there": ("auto", False, "cpu"),
    "a GPU asked for": ("cuda", True, "cuda"),
    "the processor asked for": ("cpu", True, "cpu"),
    "one that it doesn't see": (
        *("cuda", False),
        "--device cuda: tensorflow sees no GPU here; use --device cpu or auto",
    ),
}


@pytest.mark.parametrize(("device", "sees", "expected"), SEEN.values(), ids=SEEN)
def test_torch_comes_first_and_the_device_is_one_that_the_framework_sees(
    device: str, sees: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def prepare(threads: int, device: str) -> bool:
        done.append(f"tensorflow on {device}, {threads} threads")
        return sees

    monkeypatch.delenv("MPLBACKEND", raising=False)  # which is put back then
    monkeypatch.setattr(frameworks, "keep_memory", lambda: done.append("memory"))
    monkeypatch.setattr(frameworks, "check_installed", done.extend)
    monkeypatch.setattr(frameworks, "import_torch_first", lambda: done.append("torch"))
    monkeypatch.setattr(frameworks, "_prepare_tensorflow", prepare)
    try:
        found = frameworks.prepare("tensorflow", device=device, threads=3)
    except ConfigError as error:
        found = str(error)
    assert found == expected
    assert done == ["memory", "tensorflow", "torch", f"tensorflow on {device}, 3 threads"]


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_tensorflow_takes_no_more_of_a_gpu_than_it_needs(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorflow = MagicMock()
    config, gpus = tensorflow.config, ["GPU:0", "GPU:1"]
    config.list_physical_devices.return_value = gpus
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    monkeypatch.setenv("TF_CUDNN_DETERMINISTIC", "1")
    assert frameworks._prepare_tensorflow(1, device)
    hidden = [call([], "GPU")] if device == "cpu" else []
    assert config.set_visible_devices.mock_calls == hidden
    assert config.experimental.set_memory_growth.mock_calls == [call(one, True) for one in gpus]


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_float32_is_never_cut_short_and_sums_are_made_alike(framework: str) -> None:
    told = {
        "torch": "import torch; from torch.backends import cudnn; "
        "print(torch.get_float32_matmul_precision() == 'highest', not cudnn.allow_tf32, "
        "cudnn.deterministic, not cudnn.benchmark, torch.get_num_threads() == 3)",
        "tensorflow": "import os, tensorflow as tf; "
        "print(not tf.config.experimental.tensor_float_32_execution_enabled(), "
        "os.environ['TF_CUDNN_DETERMINISTIC'] == '1', "
        "tf.config.threading.get_intra_op_parallelism_threads() == 3)",
    }[framework]
    script = (
        "from benchmark import frameworks; "
        f"frameworks.prepare({framework!r}, device='cpu', threads=3); {told}"
    )
    found = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:benchmark", "-c", script],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "True" in found.stdout
    assert "False" not in found.stdout


def test_a_record_tells_how_a_card_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: True),
        version=SimpleNamespace(cuda="13.0"),
        backends=SimpleNamespace(cudnn=SimpleNamespace(allow_tf32=False, deterministic=True)),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    told = frameworks.versions("torch")
    assert (told["cuda"], told["tf32"], told["deterministic"]) == ("13.0", "off", "on")


PACKAGES = {"torch": {"torch", "higher"}, "tensorflow": {"tensorflow", "keras"}}


@pytest.mark.parametrize("framework", PACKAGES)
def test_a_record_tells_the_versions_of_what_decides_numbers(framework: str) -> None:
    packages = {"python", "numpy", "adversarial-robustness-toolbox", *PACKAGES[framework]}
    assert packages <= set(frameworks.versions(framework))


INFO = {
    "several cores": (
        "processor : 0\nmodel name\t: A 9\n\nprocessor : 1\nmodel name\t: A 9",
        "A 9",
    ),
    "no name": ("processor : 0\nCPU part : 0xd40", "of the platform"),
    "no file": (None, "of the platform"),
}


@pytest.mark.parametrize(("content", "name"), INFO.values(), ids=INFO)
def test_a_record_tells_the_model_of_the_processor(
    content: str | None, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "cpuinfo").write_text(content)
    monkeypatch.setattr(frameworks, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr(frameworks.platform, "processor", lambda: "of the platform")
    assert frameworks.processor.__wrapped__() == name


DRAWS: dict[str, Callable[[], float]] = {
    "Python": random.random,
    "NumPy": np.random.random,  # which ART draws from
    "torch": lambda: float(importlib.import_module("torch").rand(())),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_seed_gives_the_same_draws_again(draw: Callable[[], float]) -> None:
    importlib.import_module("torch")  # which is seeded where it is there
    drawn = []
    for seed in (7, 7, 8):
        frameworks.seed_everything(seed)
        drawn.append(draw())
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_record_tells_nothing_of_a_card_where_there_is_none() -> None:
    assert not {"cuda", "tf32", "deterministic"} & set(frameworks.versions("tensorflow"))


def test_an_attack_that_runs_out_of_memory_fails_in_a_line(
    make_target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nGPU 0")

    target = make_target("torch")
    monkeypatch.setattr(target.estimator, "loss_gradient", full)
    spec = AttackSpec("fgsm", "fast-gradient", {})
    record, arrays = run_attack(spec, target, key="k", norm="linf", eps=0.1, seed=0)
    assert (record["status"], arrays) == ("failed", {})
    assert record["reason"].startswith("out of memory (OutOfMemoryError: CUDA out of memory.")
    assert record["reason"].endswith("try fewer --jobs: 250 examples are asked about at a time")
