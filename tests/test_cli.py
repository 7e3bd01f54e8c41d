"""The command line: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.cli import options
from benchmark.config import OF_PROTOCOL, RunConfig
from benchmark.external.model import ExternalModel
from benchmark.results import Store

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _alone(fake_workers: None) -> None:
    """Every command runs on fake workers, in a folder of its own."""


RUN = ("run", "--defense", "pgd-at", "--framework", "torch", "--epochs", "1")


def test_run_says_where_the_report_is(bench: Any, tmp_path: Path) -> None:
    result = bench(*RUN)

    assert result.code == 0
    assert "report: bench-results/report/index.html" in result.out
    assert "[b]pgd-at\\x1b[0m" in result.out
    assert "a note" in result.out
    assert result.out.splitlines()[-1] == "pgd-at keeps it.\\x1b"
    said = [line.partition("] ")[2] for line in result.err.splitlines() if line.startswith("[")]
    assert [re.sub(r"in \d+ s", "in N s", line) for line in said] == [
        "none torch seed 0: started, loading torch",
        "none torch seed 0: training done in N s",
        "none torch seed 0: done in N s",
        "pgd-at torch seed 0: started",
        "pgd-at torch seed 0: training done in N s",
        "pgd-at torch seed 0: done in N s",
    ]
    assert len(Store.open(tmp_path / "bench-results").cell_ids()) == 2


def test_run_does_nothing_twice(bench: Any, tmp_path: Path) -> None:
    bench(*RUN)
    before = (tmp_path / "bench-results" / "served.txt").read_text()
    result = bench(*RUN)

    assert result.code == 0
    assert "bench: 2 of 2 cells done already, and not done again" in result.err
    assert (tmp_path / "bench-results" / "served.txt").read_text() == before


def test_failed_cell_is_named_and_tried_again(bench: Any) -> None:
    seeds = ("--seed", "0", "--seed", "9")
    result = bench(*RUN, "--no-baseline", *seeds)

    assert result.code == 1
    assert "report: " in result.out
    assert result.err.splitlines()[-1].startswith(
        "bench: error: 1 of 2 cells failed (logs in bench-results/logs): "
        "pgd-at torch seed 9: failed, killed by SIGKILL while training (out of memory?)"
    )

    result = bench(*RUN, "--no-baseline", *seeds)
    assert result.code == 1
    assert "1 of 2 cells done already" in result.err


def test_failed_attack_is_named_and_tried_again(bench: Any, tmp_path: Path) -> None:
    failing = (*RUN, "--no-baseline", "--seed", "7")
    for _ in range(2):
        result = bench(*failing)

        assert result.code == 1
        assert result.err.splitlines()[-1] == (
            "bench: error: 1 stage failed, which the same command tries again (logs in "
            "bench-results/logs): pgd-at torch seed 7: attack pgd: no good\\x1b[31m"
        )
        assert "attack pgd done" not in result.err
        assert "report: " in result.out
    assert len((tmp_path / "bench-results" / "served.txt").read_text().splitlines()) == 2


def test_file_and_assignments_configure_a_run(bench: Any, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "defense: [pgd-at]\nframework: torch\nepochs: 1\nbaseline: false\nseed: [0, 1]\n"
    )
    result = bench("run", "--config", "run.yaml", "--set", "seed=[0, 1, 2]", "--dry-run")

    assert "3 of 3 cells to do" in result.out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--defense", "pgd-att"], "unknown defense 'pgd-att'; did you mean 'pgd-at'?"),
        (["--framework", "jax"], "unknown framework 'jax'; allowed: tensorflow, torch"),
        (["--framework", "tf"], "unknown framework 'tf'; did you mean 'tensorflow'?"),
        (["--framework", "keras"], "unknown framework 'keras'; did you mean 'tensorflow'?"),
        (["--device", "gpu"], "unknown device 'gpu'; did you mean 'cuda'?"),
        (["--dataset", "CIFAR10"], "unknown dataset 'CIFAR10'; did you mean 'cifar10'?"),
        (["--dataset", "digit"], "unknown dataset 'digit'; did you mean 'digits'?"),
        (["--dataset", "npz:no.npz"], "no.npz"),
        (["--dataset", "mine.npz"], "unknown dataset 'mine.npz'; did you mean 'npz:mine.npz'?"),
        (["--dataset", "./pets"], "unknown dataset './pets'; did you mean 'folder:./pets'?"),
        (["--model", "nets.py"], "unknown model 'nets.py'; did you mean 'nets.py:build'?"),
        (["--model", "cnnn"], "unknown model 'cnnn'; did you mean 'cnn'?"),
        (["--suite", "quik"], "did you mean 'quick'?"),
        (["--norm", "l3"], "unknown norm 'l3'; did you mean 'l2'?"),
        (["--norm", "l0"], "l0 is a norm of single attacks; give it to those in a suite, as `thr"),
        (["--eps", "-0.1"], "eps '-0.1' is not allowed; give a finite number above 0"),
        (["--eps", "0"], "eps '0' is not allowed; give a finite number above 0"),
        (["--seed", "-3"], "seed must be greater than or equal to 0, got '-3'"),
        (["--config", "no.yaml"], "no configuration file at no.yaml; check the path"),
        (["--set", "seed"], "--set 'seed' is not an assignment; write --set path.to.key=value"),
        (["--set", "sede=1"], "unknown configuration key 'sede'; did you mean 'seed'?"),
        (["--set", "parameters.pgd-a.x=1"], "unknown defense 'pgd-a'; did you mean 'pgd-at'?"),
        (["--set", "parameters.pgd-at.batch_sise=1"], "did you mean 'batch_size'?"),
        (["--set", "parameters.meta-adv.inner_step=1"], "did you mean 'inner_steps'?"),
        (["--set", "attacks.pdg.max_iter=1"], "did you mean 'pgd'?"),
        (["--set", "attacks.pgd.max_itr=1"], "did you mean 'max_iter'?"),
        (["--protocol", "adpt"], "unknown protocol 'adpt'; did you mean 'adapt'?"),
        (
            ["--protocol", "brief", "--set", "adaptation.shots=[5000]"],
            "the training part of digits has",
        ),
        (["--protocol=brief", "--set=adaptation.families=[pach]"], "did you mean 'patch'?"),
        (
            ["--protocol", "brief", "--set", "adaptation.episodes=0"],
            "must be a whole number from 2 to 1,000,000, got 0",
        ),
        (["--set", "adaptation.shots=[5]"], "give --protocol brief, adapt, few-shot"),
        (["--set", "adaptation=5"], "adaptation must map names to their settings, got 5"),
        (["--out", "file"], "can't write results to file: file is not a folder"),
        (["--out", "foreign"], "holds other files"),
        (["--budget-ge", "5"], "epochs 1 and budget_ge 5 are both given; give one"),
    ],
    ids=lambda value: value[0].lstrip("-") if isinstance(value, list) else "",
)
@pytest.mark.parametrize("dry", [False, True], ids=["run", "dry"])
def test_bad_input_is_answered_in_one_line_and_nothing_is_written(
    bench: Any, tmp_path: Path, arguments: list[str], line: str, dry: bool
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "other.txt").write_text("")
    before = sorted(tmp_path.rglob("*"))

    result = bench(*RUN, *arguments, *(["--dry-run"] if dry else []))

    assert result.code == 2
    assert result.err.startswith("bench: error: ")
    assert line in result.err
    assert len(result.err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_each_option_is_taken_as_it_is_named() -> None:
    settings = {"adaptation", "parameters", "attacks", "runtime_env"}  # which --set and files reach
    assert options.RUN.keys() == (RunConfig.model_fields.keys() - settings) | set(OF_PROTOCOL)
    assert options.ATTACK.keys() < options.RUN.keys()
    assert options.GIVEN.keys() == ExternalModel.__dataclass_fields__.keys()


def test_whole_numbers_of_options_may_have_an_exponent(bench: Any) -> None:
    numbers = ("--epochs", "1e0", "--examples", "2e1", "--split-seed", "1e1", "--threads", "1e0")
    result = bench(*RUN, *numbers, "--dry-run")

    assert result.code == 0, result.err
    assert "on up to 20 test examples each" in result.out + result.err


def test_run_needs_a_defense(bench: Any) -> None:
    result = bench("run")

    assert result.code == 2
    assert result.err.startswith("bench: error: no defense given; give at least one")


def test_cuda_is_refused_where_there_is_none(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.devices.cuda_devices", lambda: 0)
    result = bench(*RUN, "--device", "cuda")

    assert (result.code, "shows no CUDA device" in result.err) == (2, True)


def test_cnn_is_refused_for_tabular_data_and_mlp_is_their_default(
    bench: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 20)
    x = rng.random((40, 6), dtype=np.float32)
    np.savez(tmp_path / "table.npz", x_train=x, y_train=y, x_test=x, y_test=y)

    refused = bench(*RUN, "--dataset", "npz:table.npz", "--model", "cnn", "--dry-run")
    taken = bench(*RUN, "--dataset", "npz:table.npz", "--dry-run")

    assert (refused.code, "use --model mlp for tabular data" in refused.err) == (2, True)
    assert "npz-table-mlp-torch-none-s0-" in taken.out
    assert "not applicable here, left out: square" in taken.err


@pytest.mark.parametrize(
    "arguments",
    [["run", "--nonsense"], ["run", "--attack-timeout", "x"], ["nonsense"], ["show"]],
    ids=["option", "number", "command", "argument"],
)
def test_usage_errors_exit_with_2(bench: Any, arguments: list[str]) -> None:
    result = bench(*arguments)

    assert result.code == 2
    assert "Error: " in result.err


def test_a_defense_without_its_option_is_told_where_it_belongs(bench: Any) -> None:
    result = bench("run", "meta-adv", "trades")

    assert result.code == 2
    assert result.err.endswith("did you mean bench run --defense meta-adv --defense trades?\n")


def test_a_second_defense_without_its_option_is_told_beside_the_first(bench: Any) -> None:
    result = bench("run", "--defense", "meta-adv", "trades")

    assert result.err.endswith("did you mean bench run --defense meta-adv --defense trades?\n")


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["run", "--attack-timeout", "4k"], "--attack-timeout': .*; got '4k'"),
        (["check", "results", "--min-worst-case", "40"], "--min-worst-case': .*; got '40'"),
    ],
    ids=["no-number", "out-of-range"],
)
def test_a_wrong_number_is_told_as_it_was_given(bench: Any, words: list[str], given: str) -> None:
    result = bench(*words)

    assert re.search(given, result.err)


def test_control_characters_are_never_printed_back(bench: Any) -> None:
    result = bench("run", "--defense", "\x1b]0;owned\x07\n")

    assert result.code == 2
    assert not set("\x1b\x07") & set(result.err)
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {"pgd-at": "warn", "fgsm-rs": "restore"}),
        (["--on-overfit", "restore"], {"pgd-at": "restore", "fgsm-rs": "restore"}),
        (["--on-overfit", "warn"], {"pgd-at": "warn", "fgsm-rs": "warn"}),
        (
            ["--on-overfit", "warn", "--set", "parameters.fgsm-rs.on_overfit=restore"],
            {"pgd-at": "warn", "fgsm-rs": "restore"},
        ),
    ],
    ids=["defaults", "restore", "warn", "one defense apart"],
)
def test_on_overfit_reaches_every_defense_but_the_twin(
    bench: Any, flags: list[str], expected: dict[str, str]
) -> None:
    assert bench(*RUN, "--defense", "fgsm-rs", *flags).code == 0
    store = Store.open("bench-results")
    found = {}
    for cell_id in store.cell_ids():
        record = store.read_cell(cell_id)
        assert record is not None
        defense = record["config"]["defense"]
        found[defense["name"]] = defense["parameters"]["on_overfit"]
    assert found == {"none": "warn", **expected}


def test_version_names_what_decides_the_numbers(bench: Any) -> None:
    lines = dict(line.split(" ", 1) for line in bench("--version").out.splitlines())

    assert next(iter(lines)) == "bench"
    assert {"adversarial-robustness-toolbox", "higher", "keras", "python"} < lines.keys()
    found = {name: lines[name] for name in ("numpy", "torch", "tensorflow")}
    assert found == {name: version(name) for name in found}


def test_version_of_what_is_not_installed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr("importlib.metadata.version", absent)
    assert "torch (not installed)" in bench("--version").out


def test_second_run_on_the_same_folder_is_refused(bench: Any) -> None:
    with Store.create("bench-results").lock():
        result = bench(*RUN)

    assert (result.code, "another run" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_interrupted_run_leaves_no_process_and_says_how_to_go_on(
    bench: Any, tmp_path: Path, number: int, code: int
) -> None:
    def press() -> None:
        served = tmp_path / "bench-results" / "served.txt"
        # Long, for a machine that imports slowly: what is pressed before may meet any import
        deadline = time.monotonic() + 200
        # Until its line is there: it is made empty, and a worker that is stopped then writes none
        while not (served.exists() and served.stat().st_size) and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        os.kill(os.getpid(), number)

    # What a shell starts in the background ignores Ctrl-C, and so may all that runs the tests
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread = threading.Thread(target=press)
        thread.start()
        result = bench(*RUN, "--no-baseline", "--seed", "8")
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)

    assert result.code == code
    assert (
        result.err.splitlines()[-1]
        == "bench: stopped; the same command goes on where this one stopped"
    )
    process = (tmp_path / "bench-results" / "served.txt").read_text().split()[0]
    assert not Path(f"/proc/{process}").exists()


def test_an_interrupt_of_any_command_ends_in_one_line(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.cli.stored.expanded", pressed)
    result = bench("report", "results")
    assert (result.code, result.out, result.err) == (130, "", "bench: stopped\n")


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The modules that `bench --help` needs."""
    program = "import sys, benchmark.cli.app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=HERE.parent
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    ["torch", "tensorflow", "art", "numpy", "pandas", "matplotlib", "sklearn", "pydantic", "rich"],
)
def test_help_waits_for_no_heavy_import(imported: set[str], module: str) -> None:
    assert module not in imported


def test_every_argument_has_a_name_of_its_own_in_help() -> None:
    from typer.main import get_command

    from benchmark.cli.app import app

    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    arguments = {
        f"{name} {one.name}": one.metavar
        for name, command in commands.items()
        for one in command.params
        if one.param_type_name == "argument"
    }
    assert len(arguments) > 5
    assert [name for name, shown in arguments.items() if not shown] == []
