"""The command on a model's page, pasted, and `bench show --yaml` make the same cell again."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import reports
from benchmark import cells, cli, datasets, models
from benchmark.cli import run
from benchmark.config import read
from benchmark.errors import ConfigError
from benchmark.external.checking import Trial, TrialResult
from benchmark.job import Job
from benchmark.plans import asked
from benchmark.plans.run import Plan, make_plan
from benchmark.results import Store

SUITE = "attacks:\n  mine:\n    attack: pgd\n    arguments: {max_iter: 3}\n"

KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "meta-adv": {"defense": ["meta-adv"]},
    "tensorflow": {"framework": ["tensorflow"]},
    "undefended": {"defense": ["none"]},
    "parameters": {"parameters": {"pgd-at": {"batch_size": 17, "learning_rate": 1e-5}}},
    "augmentation": {"parameters": {"pgd-at": {"crop": 2, "cutout": 3}}},
    "preset": {"defense": ["meta-adv"], "parameters": {"meta-adv": {"preset": "r-maml"}}},
    "on overfit": {"on_overfit": "restore"},
    "wrapper": {"defense": ["pgd-at+jpeg"]},
    "two wrappers": {
        "defense": ["none+jpeg+feature-squeezing"],
        "parameters": {"jpeg": {"quality": 60}},
    },
    "budget": {"budget_ge": 40_000},
    "epochs": {"epochs": 3},
    "norm": {"norm": "l2"},
    "eps": {"eps": "8/255"},
    "norm and eps": {"norm": "l1", "eps": 2.5},
    "seed": {"seed": [3]},
    "two seeds": {"seed": [0, 5]},
    "split seed": {"split_seed": 4},
    "examples": {"examples": 100},
    "model": {"model": "mlp"},
    "suite": {"suite": "autoattack"},
    "suite file": {"suite": "mine.yaml"},
    "suite file with a space": {"suite": "my own.yaml"},
    "attacks": {"attacks": {"pgd": {"max_iter": 7}}},
    "protocol": {"protocol": "brief", "adaptation": {"episodes": 2, "families": ["linf"]}},
    "few-shot": {"protocol": "few-shot", "adaptation": {"ways": "2", "queries": "3,stored"}},
    "sequence": {"protocol": "sequence", "adaptation": {"families": ["l2", "linf"], "labels": 20}},
    "another data set": {
        "protocol": "domain",
        "adaptation": {"adapt_to": "digits", "shots": [1], "queries": 20},
    },
    "classes by a seed": {"protocol": "few-shot", "adaptation": {"ways": 2}, "split": 3},
    "classes by name": {
        "protocol": "few-shot",
        "adaptation": {"ways": 2},
        "split": {"train": ["[0-4]"], "validation": ["5", "6"], "test": ["8", "9"]},
    },
    "timeout": {"attack_timeout": 90.0},
    "batch size": {"batch_size": 100},
    "batch size by memory": {"batch_size": "auto"},
    "precision": {"precision": "bf16"},
    "new head": {"model": "mlp", "init": "data/w.safetensors", "new_head": True},
    "extra data": {"extra_data": "npz:data/more.npz", "extra_share": 0.25},
    "tabular": {"dataset": "npz:data/table.npz"},
    "table": {"dataset": "csv:data/table.csv", "label": "of kind"},
    "table of groups": {"dataset": "csv:data/table.csv", "label": "of kind", "group": "sender"},
    "features": {
        "dataset": "npz:data/table.npz",
        "features": {"immutable": ["0"], "budget": {"1": 0.5}},
    },
    "folder": {"dataset": "folder:data/birds"},
    "image size": {"dataset": "folder:data/birds", "image_size": 5},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and suite files."""
    place = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    (place / "data").mkdir()
    x, y = rng.random((60, 6), dtype=np.float32), np.repeat([0, 1], 30)
    np.savez(place / "data/table.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    more = rng.random((12, 8, 8), dtype=np.float32)
    np.savez(place / "data/more.npz", x=more, y=np.arange(12) % 10)
    start = models.specification("mlp", (8, 8, 1), 4).initial_weights(0)
    save_file({name: one.T.copy() for name, one in start.items()}, place / "data/w.safetensors")
    rows = [f"{one[0]},{n % 10},{kind}" for n, (one, kind) in enumerate(zip(x, y, strict=True))]
    (place / "data/table.csv").write_text("\n".join(["size,sender,of kind", *rows]))
    for name in ("crow", "owl"):
        (place / "data/birds" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 255, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "data/birds" / name / f"{number}.png")
    for name in ("mine.yaml", "my own.yaml"):
        (place / name).write_text(SUITE)
    return place


@pytest.fixture
def out(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder; the working directory is the place's."""
    monkeypatch.chdir(place)
    monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
    return place / "out"


def store(plan: Plan, tmp_path: Path) -> Store:
    """What a run leaves of its cells, without the numbers."""
    found = Store.create(tmp_path / "results")
    for job in plan.jobs:
        record = cells.cell_record(
            job.cell,
            status="ok",
            suites={job.suite: list(job.attack_keys().values())},
            device="cpu",
            threads=1,
            seconds=1.0,
            started="",
        )
        asked.write(job.asked, found, job.cell.cell_id, job.run_stage)
        found.write_cell(job.cell.cell_id, record)
    return found


def identity(plan: Plan) -> list[tuple[Any, ...]]:
    """All that makes a job the same work."""
    return [(job.cell.cell_id, job.suite, job.attack_keys(), *around(job)) for job in plan.jobs]


def around(job: Job) -> tuple[Any, ...]:
    """How it is to be done."""
    return job.adaptation, job.few_shot, job.attack_timeout, job.batch_size


def called(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan that a command line comes to."""
    plans: list[Plan] = []
    monkeypatch.setattr(run, "execute", lambda plan, detail: plans.append(plan) or [])
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    return plans[0]


def commands(found: Store, site: Path) -> dict[str, str]:
    """Cell id to the command on its page."""
    reports.publish(found.path, site)
    documents = [json.loads(path.read_text()) for path in site.glob("models/*/data.json")]
    return {one["cell_id"]: one["reproduce"][0] for one in documents}


def planned(settings: dict[str, Any], out: Path) -> Plan:
    usual = {"defense": ["pgd-at"], "framework": ["torch"], "baseline": False}
    return make_plan(read({**usual, **settings, "out": out / "new"}))


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_command_of_each_page_makes_the_same_cell(
    settings: dict[str, Any], out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(settings, out)
    found = store(plan, tmp_path)
    given = commands(found, tmp_path / "site")

    has_files = {"dataset", "extra_data", "init"} & set(settings)
    monkeypatch.chdir(out.parent / "data" if has_files else tmp_path / "site")
    for expected in identity(plan):
        page = next((tmp_path / "site/models").glob(f"{expected[0]}"))
        if "suite" in settings:
            monkeypatch.chdir(page)
        words = [*shlex.split(given[expected[0]].replace("\\\n", "")), f"--out={out}/again"]
        again = called([*words, "--no-baseline"], monkeypatch)
        assert identity(again) == [expected]


# The stored copy of such a file can't have its name, which is the suite's.
IN_YAML = {name: kind for name, kind in KINDS.items() if name != "suite file with a space"}


@pytest.mark.parametrize("settings", IN_YAML.values(), ids=IN_YAML)
def test_yaml_of_a_cell_makes_the_same_cell(
    settings: dict[str, Any],
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = planned(settings, out)
    found = store(plan, tmp_path)

    for expected in identity(plan):
        monkeypatch.setattr(
            sys, "argv", ["bench", "show", expected[0], "--yaml", f"--out={found.path}"]
        )
        with pytest.raises(SystemExit):
            cli.main()
        (tmp_path / "again.yaml").write_text(capsys.readouterr().out)
        if "init" in settings:
            monkeypatch.chdir(out.parent / "data")
        flags = ["--no-baseline", f"--out={out}/again", f"--data-dir={out.parent}/data"]
        words = ["bench", "run", f"--config={tmp_path}/again.yaml", *flags]
        assert identity(called(words, monkeypatch)) == [expected]


@pytest.mark.parametrize("settings", [{}, {"parameters": {"pgd-at": {"crop": 0}}}])
def test_augmentation_that_the_data_set_turns_on_stays_on_or_off(
    settings: dict[str, Any],
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    entry = datasets.table.TABLE["digits"]
    augmented = replace(entry, defaults=replace(entry.defaults, crop=1 / 8, flip=True))
    monkeypatch.setitem(datasets.table.TABLE, "digits", augmented)
    plan = planned(settings, out)
    found, cell = store(plan, tmp_path), plan.jobs[0].cell
    assert ("crop" in cell.parameters) == (not settings)
    monkeypatch.setattr(
        sys, "argv", ["bench", "show", "--yaml", f"--out={found.path}", cell.cell_id]
    )
    with pytest.raises(SystemExit):
        cli.main()
    (tmp_path / "again.yaml").write_text(capsys.readouterr().out)
    (command,) = commands(found, tmp_path / "site").values()
    by_file = ["bench", "run", f"--config={tmp_path}/again.yaml"]
    for words in (by_file, shlex.split(command.replace("\\\n", ""))):
        again = called([*words, f"--out={out}/again", "--no-baseline"], monkeypatch)
        assert identity(again) == identity(plan)


EXTERNAL: dict[str, list[str]] = {
    "built in": ["--weights=w.pt", "--model=cnn"],
    "builder": ["--weights=w.pt", "--model=nets.py:build", "--name=theirs"],
    "normalised": ["--weights=w.pt", "--model=cnn", "--mean=0.5", "--std=0.25"],
    "channels": ["--weights=w.pt", "--model=cnn", "--channels=last"],
    "probabilities": ["--weights=w.pt", "--model=cnn", "--outputs=probabilities"],
    "threat": ["--weights=w.pt", "--model=cnn", "--norm=l2", "--eps=0.7", "--seed=4"],
    "suite file": ["--weights=w.pt", "--model=cnn", "--suite=mine.yaml"],
    "keras": ["--weights=w.keras"],
}


@pytest.mark.parametrize("options", EXTERNAL.values(), ids=EXTERNAL)
def test_command_of_a_model_that_someone_else_trained_makes_the_same_cell(
    options: list[str], out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    framework = "tensorflow" if "--weights=w.keras" in options else "torch"

    def tried(trial: Trial) -> TrialResult:
        outputs = "logits" if trial.external.outputs == "auto" else trial.external.outputs
        return TrialResult(
            framework=framework, outputs=outputs, builder_sha256=None, accuracy=1.0, notices=()
        )

    monkeypatch.setattr("benchmark.plans.external.check", tried)
    for name in ("w.pt", "w.keras", "nets.py"):
        (out.parent / name).write_text("not read")
    plan = called(["bench", "attack", *options, f"--out={out}/new"], monkeypatch)
    (command,) = commands(store(plan, tmp_path), tmp_path / "site").values()

    assert str(out.parent) not in command
    words = [*shlex.split(command.replace("\\\n", "")), f"--out={out}/again"]
    assert identity(called(words, monkeypatch)) == identity(plan)


def test_command_names_no_default(out: Path, tmp_path: Path) -> None:
    settings = {"defense": ["meta-adv"], "seed": [1], "suite": "quick"}
    (command,) = commands(store(planned(settings, out), tmp_path), tmp_path / "site").values()

    assert command.replace(" \\\n   ", "") == (
        "bench run --defense=meta-adv --framework=torch --seed=1"
    )


def test_suite_file_can_be_downloaded_beside_the_page(out: Path, tmp_path: Path) -> None:
    plan = planned({"suite": "mine.yaml"}, out)
    commands(store(plan, tmp_path), tmp_path / "site")
    page = tmp_path / "site/models" / plan.jobs[0].cell.cell_id

    assert (page / "mine.yaml").read_text() == SUITE
    assert '<a href="mine.yaml" download>' in (page / "index.html").read_text()


def test_page_of_an_older_folder_says_what_is_not_known(out: Path, tmp_path: Path) -> None:
    plan = planned({"suite": "mine.yaml"}, out)
    found = store(plan, tmp_path)
    cell_id = plan.jobs[0].cell.cell_id
    for path in (found.cell_folder(cell_id) / "runs").iterdir():
        path.unlink()
    (command,) = commands(found, tmp_path / "site").values()

    assert "--eps=0.15" in command
    page = (tmp_path / "site/models" / cell_id / "index.html").read_text()
    assert "of an earlier version, which did not store what was asked for" in page


def test_yaml_of_a_model_that_someone_else_trained_is_refused(out: Path, tmp_path: Path) -> None:
    from benchmark.plans.again import configuration

    plan = planned({}, out)
    found, cell_id = store(plan, tmp_path), plan.jobs[0].cell.cell_id
    record = found.read_cell(cell_id)
    assert record is not None
    found.write_cell(cell_id, {**record, "config": {**record["config"], "source": {"a": 1}}})

    with pytest.raises(ConfigError, match="bench attack measures"):
        list(configuration(found, cell_id))
