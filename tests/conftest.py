"""What every test needs: both frameworks in one process, torch first, and little noise."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# Small tensors: more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Threads of runs in processes of their own don't spin for each other on CPUs that tests share.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import absl.logging
import numpy as np
import pytest

# Keras's logger writes to what standard error is when it is imported, and when ART is, that is
# closed, unless it is the process's own: pytest would lose what it captures into.
absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__

# Helpers lie beside the tests.
sys.path.append(str(Path(__file__).parent))

ESTIMATORS = {"torch": "pytorch", "tensorflow": "tensorflow"}


def _make_target(framework, *, shape=(8, 8, 1), classes=3, count=24, seed=0):
    """An estimator of an untrained model that is right about every other example."""
    from benchmark import frameworks, models
    from benchmark.attacks.target import Target

    frameworks.import_torch_first()
    architecture = "cnn" if len(shape) == 3 else "mlp"
    specification = models.specification(architecture, shape, classes)
    builder = importlib.import_module(f"benchmark.models.{ESTIMATORS[framework]}")
    estimators = importlib.import_module(f"benchmark.estimators.{ESTIMATORS[framework]}")
    estimator = estimators.wrap(
        builder.build(specification, specification.initial_weights(seed)),
        input_shape=shape,
        classes=classes,
        device="cpu",
    )
    x = np.random.default_rng(seed).random((count, *shape), dtype=np.float32)
    prediction = estimator.predict(x).argmax(axis=1)
    y = np.where(np.arange(count) % 2 == 0, prediction, (prediction + 1) % classes)
    return Target(estimator, x, y, prediction, np.arange(count))


@pytest.fixture
def make_target():
    """A function that makes targets of attacks on small models; see `_make_target`."""
    return _make_target


class Result(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Calls the command line in this process; gives a `Result`."""
    from benchmark import cli
    from benchmark.cli import output

    monkeypatch.setattr(output, "SLOW", 60.0)  # a busy machine makes no other lines

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Result(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def write_builders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes builders to `nets.py` of the current folder; what imports it is forgotten later."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield lambda text: (tmp_path / "nets.py").write_text(textwrap.dedent(text))
    sys.modules.pop("nets", None)
    sys.modules.pop("given_nets", None)


@pytest.fixture
def fake_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fake workers, no report, and a folder of our own."""
    import reports
    from benchmark.executors import local
    from reports import records
    from reports.terminal import TerminalTable

    monkeypatch.chdir(tmp_path)
    for name in ("BENCH_DATA_DIR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(local, "SERVE", "fake_worker:serve_by_seed")
    monkeypatch.setattr(
        reports,
        "publish",
        lambda out, site=None, downloads=False: (
            (site or records.read(out).store.path / "report") / "index.html"
        ),
    )
    monkeypatch.setattr(reports, "finding", lambda out, cell_ids, suite: "pgd-at keeps it.\x1b")
    table = TerminalTable(["rank", "defense"], [["1", "[b]pgd-at\x1b[0m"]], ["a note"])
    monkeypatch.setattr(reports, "terminal_table", lambda out, cell_ids=None: table)


@pytest.fixture(scope="session")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation's site."""
    pytest.importorskip("zensical", reason="needs the extra [docs]")
    from documentation import build

    return build(tmp_path_factory.mktemp("documentation"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder where modules are looked for, in which no other test finds its own."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("one", None)
    yield folder
    sys.modules.pop("one", None)
