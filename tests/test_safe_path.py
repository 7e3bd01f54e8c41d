"""What lies in the working directory is not run, unless the user names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATH = f"import sys\nsys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]\n"
STARTED = {
    "a run": """
import test_runner
from benchmark.results import Store
store = Store.create(sys.argv[1])
test_runner.work([test_runner.job(store)], store)
""",
    "a verification": """
from benchmark.verify import Claim, verify
print(*verify([Claim(sys.argv[1], "one", "torch", "pgd", None)], serve="fake_replay:serve"))
""",
    "a model's check": """
import numpy as np
from benchmark.errors import ModelError
from benchmark.external.checking import Trial, check
from benchmark.external.model import ExternalModel
try:
    trial = Trial(ExternalModel("theirs"), np.zeros((1, 2)), np.zeros(1), 2)
    check(trial, serve="fake_replay:nothing")
except ModelError as error:
    assert "fake_replay" in str(error), error
""",
}
COMMAND = ("-m", "benchmark", "list", "suites")


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A working directory whose modules leave a file when they are imported."""
    folder = tmp_path / "results"
    for name in ("multiprocessing", "defenses", "yaml"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"open('ran-{name}', 'w')\n")
    for name in ("numpy", "random", "secrets", "typer", "colorsys"):
        (folder / f"{name}.py").write_text(f"open('ran-{name}', 'w')\n")
    return folder


def python(*arguments: str, at: Path, **environment: str) -> str:
    """What a Python that is started at a folder prints."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=at,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("program", STARTED.values(), ids=STARTED)
def test_a_process_that_is_started_imports_nothing_from_there(
    planted: Path, tmp_path: Path, program: str
) -> None:
    body = "".join(f"    {line}\n" for line in program.strip().splitlines())
    (tmp_path / "program.py").write_text(f"{PATH}if __name__ == '__main__':\n{body}")
    python(str(tmp_path / "program.py"), str(tmp_path / "out"), at=planted)
    assert list(planted.glob("ran-*")) == []


@pytest.mark.parametrize(
    ("arguments", "places"),
    [(COMMAND, ""), (("-P", *COMMAND), os.pathsep)],
    ids=["python -m benchmark", "an empty place in PYTHONPATH"],
)
def test_the_command_imports_nothing_from_there(
    planted: Path, arguments: tuple[str, ...], places: str
) -> None:
    # The program itself is found where the tests find it.
    places += os.pathsep + str(HERE.parent) if places else str(HERE.parent)
    assert "quick" in python(*arguments, at=planted, PYTHONPATH=places)
    assert list(planted.glob("ran-*")) == []


def test_a_place_that_the_user_names_is_looked_in(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit('mine')\n")
    with pytest.raises(AssertionError, match="mine"):
        python(*COMMAND, at=tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{HERE.parent}")


@pytest.mark.parametrize("builder", ["mine:build", "mine.py:build"])
def test_a_builder_that_the_user_names_runs_and_replaces_nothing(
    planted: Path, tmp_path: Path, builder: str
) -> None:
    (planted / "mine.py").write_text(
        "import colorsys, beside\ndef build(): return colorsys.rgb_to_hsv(0, 0, beside.ONE)\n"
    )
    (planted / "beside.py").write_text("ONE = 1\n")
    (tmp_path / "program.py").write_text(
        f"{PATH}from benchmark.errors import ModelError\nfrom benchmark.external import builders\n"
        f"try:\n    builders.call({builder!r})\nexcept ModelError as error:\n    print(error)\n"
    )
    assert "gives 'tuple'" in python(str(tmp_path / "program.py"), at=planted)
    assert list(planted.glob("ran-*")) == []
