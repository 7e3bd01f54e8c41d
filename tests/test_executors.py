"""Who does the work is chosen by options; what can't do it is told before anything is written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

RUN = ("run", "--defense", "none", "--framework", "torch", "--epochs", "1")


@pytest.fixture(autouse=True)
def _alone(fake_workers: None) -> None:
    """Every command runs on fake workers, in a folder of its own."""


def test_a_run_on_ray_without_ray_names_the_command_that_installs_it(
    bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("ray", "ray_cluster"):  # as they are imported anew, they miss it
        monkeypatch.delitem(sys.modules, f"benchmark.executors.{name}", raising=False)
        monkeypatch.delattr(f"benchmark.executors.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    result = bench(*RUN, "--executor", "ray")
    assert (result.code, list(tmp_path.iterdir())) == (2, [])
    assert result.err.splitlines()[-1] == (
        "bench: error: executor 'ray' needs Ray, which is not installed here: "
        "pip install 'meta-adv-bench[ray]'"
    )


LINES = {
    "unknown": (["--executor", "rai"], "unknown executor 'rai'; did you mean 'ray'?"),
    "address": (["--ray-address", "auto"], "ray_address is for a cluster; give --executor ray too"),
    "gpus": (["--gpus-per-cell", "1"], "gpus_per_cell is for a cluster"),
    "cpus": (["--cpus-per-cell", "1"], "cpus_per_cell is for a cluster"),
    "no cpus": (["--executor", "ray", "--cpus-per-cell", "0"], "must be greater than 0, got '0'"),
    "fewer": (["--executor", "ray", "--gpus-per-cell", "-1"], "greater than or equal to 0"),
    "environment": (
        ["--set", "runtime_env=5"],
        "runtime_env must map frameworks to Ray",
    ),
    "framework": (["--set", "runtime_env.jax.pip=[x]"], "unknown framework in runtime_env 'jax'"),
}


@pytest.mark.parametrize(("arguments", "line"), LINES.values(), ids=LINES)
def test_what_makes_no_sense_is_refused_in_a_line(
    bench: Any, tmp_path: Path, arguments: list[str], line: str
) -> None:
    result = bench(*RUN, *arguments)
    assert (result.code, list(tmp_path.iterdir())) == (2, [])
    assert line in result.err
    assert len(result.err.splitlines()) == 1


ADDRESSES = {
    "no port": ("10.0.0.1", "give HOST:PORT, such as 10.0.0.1:6379, auto or local"),
    "no number": ("head:port", "give HOST:PORT"),
    "a client's": ("ray://10.0.0.1:10001", "Ray's client is not enough"),
}


@pytest.mark.parametrize(("address", "line"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_address_that_can_not_be_one_is_refused(
    bench: Any, tmp_path: Path, address: str, line: str
) -> None:
    pytest.importorskip("ray", reason="Ray isn't installed: pip install 'meta-adv-bench[ray]'")
    result = bench(*RUN, "--executor", "ray", "--ray-address", address)
    assert (result.code, list(tmp_path.iterdir())) == (2, [])
    assert line in result.err
