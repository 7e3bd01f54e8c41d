"""Where one framework is absent: what doesn't need it works, and what does says pip's line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmark.frameworks import REQUIREMENTS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
OTHER = {"torch": "tensorflow", "tensorflow": "torch"}

# Every process of a command finds the packages that are named here no more.
HIDE = """
import os
from importlib.machinery import PathFinder

find = PathFinder.find_spec


def find_others(name, path=None, target=None):
    hidden = name.partition(".")[0] in os.environ["HIDDEN"].split(",")
    return None if hidden else find(name, path, target)


PathFinder.find_spec = staticmethod(find_others)
"""
NETS = """
from torch import nn


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture
def without(tmp_path: Path) -> Any:
    """Runs `bench` in a folder of its own, with packages hidden."""
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    (tmp_path / "nets.py").write_text(NETS)

    def run(hidden: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-m", "benchmark", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "HIDDEN": hidden},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_torch_model_is_attacked_where_tensorflow_is_absent(without: Any, tmp_path: Path) -> None:
    weights = {"1.weight": np.eye(10, 64, dtype=np.float32), "1.bias": np.zeros(10, np.float32)}
    save_file(weights, tmp_path / "net.safetensors")
    given = ("--weights", "net.safetensors", "--model", "nets.py:build")
    small = ("--dataset", "digits", "--examples", "20", "--out", "out")

    done = without("tensorflow,keras", "attack", *given, *small)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report" / "index.html").is_file()


@pytest.mark.parametrize("absent", ["torch", "tensorflow"])
def test_a_run_that_needs_an_absent_framework_says_how_to_install_it(
    without: Any, tmp_path: Path, absent: str
) -> None:
    done = without(absent, "run", "--defense", "pgd-at", "--out", "out")

    assert done.returncode == 2
    assert done.stderr.endswith(
        f"error: {absent} is not installed here; pip install {REQUIREMENTS[absent]}, "
        f"or give --framework {OTHER[absent]}\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("framework", REQUIREMENTS)
def test_pips_line_the_extra_and_the_base_name_the_same(framework: str) -> None:
    assert shlex.split(REQUIREMENTS[framework]) == EXTRAS[framework]
    assert set(EXTRAS[framework]) <= set(PROJECT["dependencies"])


@pytest.mark.parametrize("framework", REQUIREMENTS)
def test_the_list_of_one_framework_is_the_base_without_the_other(framework: str) -> None:
    listed = (ROOT / "docs" / "install" / f"{framework}.txt").read_text().splitlines()
    wanted = [one for one in PROJECT["dependencies"] if one not in EXTRAS[OTHER[framework]]]
    assert [line for line in listed if not line.startswith("#")] == wanted


def test_the_container_copies_what_is_built_and_names_extras_that_there_are() -> None:
    text = (ROOT / "docs" / "install" / "Dockerfile").read_text(encoding="utf-8")
    copied = {word for line in re.findall(r"^COPY (.+)$", text, re.M) for word in line.split()[:-1]}
    packages = {"benchmark", "defenses", "attacks_cfg", "reports"}
    assert copied == {"pyproject.toml", "README.md", "LICENSE", *packages}
    assert all((ROOT / name).exists() for name in copied)
    assert set(re.findall(r"EXTRAS=(\w+)", text)) <= set(EXTRAS)
