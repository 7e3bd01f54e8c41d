"""Claims of a folder go to worker processes, and the command says what was checked."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

from benchmark import cli, frameworks
from benchmark.cli import output
from benchmark.results import Store
from benchmark.verify import CELL, Verdict, sample, told, verify

HERE = Path(__file__).parent


def small(folder, keys=("pgd-1",), framework="torch", names=("one",), **cell):
    """Cells that only a fake worker can replay."""
    store = Store.create(folder)
    for name in names:
        for key in keys:
            store.write_stage(name, f"attacks/{key}", {"status": "ok"})
        config = {"framework": framework}
        store.write_cell(name, {"config": config, "suites": {"quick": list(keys)}, **cell})
    return store


def test_the_sample_is_repeatable_and_holds_every_cell_that_ended(tmp_path):
    store = small(tmp_path, [f"a-{i}" for i in range(9)], names=("one", "two"))
    small(tmp_path, names=("foreign",), framework="jax")
    small(tmp_path, names=("shapeless",), suites=[1])
    store.write_stage("unfinished", "attacks/a-0", {"status": "ok"})
    (store.cell_folder("two") / "cell.json").write_text("torn")

    every = sample(store, size=None)
    some = sample(store, size=5)

    cells = [claim for claim in every if claim.stage == CELL]
    assert [(one.cell_id, one.framework) for one in cells] == [
        ("foreign", ""),
        ("shapeless", ""),
        ("two", ""),
        ("one", "torch"),
    ]
    assert len(every) == 4 + 9 + 1
    assert len(some) == 4 + 5
    assert some == sample(store, size=5)
    assert set(some) < set(every)
    assert some != sample(store, size=5, seed=1)


@pytest.fixture
def _fake(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))


@pytest.mark.usefixtures("_fake")
def test_one_worker_serves_all_claims_of_a_framework_and_its_threads(tmp_path):
    small(tmp_path, ["a", "b"])
    small(tmp_path, ["a"], names=("wide",), threads=2)
    store = small(tmp_path, ["a"], names=("two",), framework="tensorflow")

    verdicts = list(verify(sample(store, size=None), serve="fake_replay:serve"))

    assert {verdict.state for verdict in verdicts} == {"holds"}
    workers = {}
    for verdict in verdicts:
        framework, device, process, threads = verdict.text.split()
        workers.setdefault(process, set()).add((framework, device, threads))
        assert not Path(f"/proc/{process}").exists()
    most = str(frameworks.cpus())
    told = [("tensorflow", "cpu", most), ("torch", "cpu", most), ("torch", "cpu", "2")]
    assert list(workers.values()) == [{one} for one in told]


@pytest.mark.usefixtures("_fake")
def test_a_claim_that_kills_the_worker_does_not_stop_the_others(tmp_path):
    store = small(tmp_path, ["a", "die", "x"])

    verdicts = list(verify(sample(store, size=None), serve="fake_replay:serve"))

    states = {verdict.claim.stage: verdict.state for verdict in verdicts}
    (text,) = [verdict.text for verdict in verdicts if verdict.claim.stage == "attacks/die"]
    assert states.pop("attacks/die") == "not checked"
    assert set(states.values()) == {"holds"}
    assert len(states) == 4
    assert text == "the worker process ended with exit code 3: memory is gone"


@pytest.mark.usefixtures("_fake")
def test_a_framework_that_does_not_start_is_tried_once(tmp_path):
    store = small(tmp_path, ["a", "b"])

    verdicts = list(verify(sample(store, size=None), serve="fake_replay:fails_to_start"))

    assert [verdict.state for verdict in verdicts] == ["not checked"] * 4
    assert all("ImportError: no such framework" in verdict.text for verdict in verdicts)


def test_a_damaged_cell_is_named_as_not_checked(tmp_path):
    store = small(tmp_path)
    (store.cell_folder("one") / "cell.json").write_text("torn")

    (verdict,) = verify(sample(store, size=None))

    assert (verdict.claim.cell_id, verdict.state) == ("one", "not checked")


@pytest.fixture
def bench(monkeypatch, capsys, _fake):
    """Calls the command line with fake workers; returns exit code, output and error output."""
    fake = functools.partial(verify, serve="fake_replay:serve")
    monkeypatch.setattr("benchmark.verify.verify", fake)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("keys", "flags", "code", "end"),
    [
        (["a"], [], 0, "1 cell and 2 of 2 stages (--sample-seed 7): 3 hold"),
        ([], [], 0, "1 cell and 1 of 1 stage (--sample-seed 7): 2 hold"),
        (["a"], ["--sample", 1], 0, "1 cell and 1 of 2 stages (--sample-seed 7): 2 hold"),
        (["a", "die"], [], 1, "1 cell and 3 of 3 stages (--sample-seed 7): 3 hold, 1 not "),
        (["a", "die"], ["--allow-unchecked"], 0, ": 3 hold, 1 not checked, let pass"),
    ],
    ids=["all hold", "one stage", "a sample", "one not checked", "allowed"],
)
def test_the_command_says_what_was_checked(bench, tmp_path, keys, flags, code, end):
    small(tmp_path, keys)

    found, out, err = bench("report", tmp_path, "--verify", "--sample-seed", 7, *flags)

    assert found == code
    assert end in (err if code else out.splitlines()[-1])
    assert ("not checked: one attacks/die: the worker process ended" in out) == ("die" in keys)
    assert not (tmp_path / "report").exists()


def test_a_claim_that_takes_long_is_named_meanwhile(bench, tmp_path, monkeypatch):
    small(tmp_path, ["a"])
    monkeypatch.setattr(output, "SLOW", 0.01)

    _, out, err = bench("report", tmp_path, "--verify", "--sample", 1, "--sample-seed", 7)

    assert "bench: verifying one cell, 1 of 2\n" in err  # while its process starts
    assert "verifying" not in out


@pytest.mark.parametrize("flags", [["--sample", 3], ["--sample-seed", 1], ["--allow-unchecked"]])
def test_options_of_verify_are_refused_without_it(bench, tmp_path, flags):
    """Else a check that forgot it would look like one that passed."""
    small(tmp_path, ["a"])
    code, _, err = bench("report", tmp_path, *flags)
    assert (code, f"{flags[0]} belongs to --verify" in err) == (2, True)
    assert not (tmp_path / "report").exists()


def test_the_command_fails_where_a_claim_differs(bench, tmp_path, monkeypatch):
    small(tmp_path, ["a", "b"])
    monkeypatch.setattr(
        "benchmark.verify.verify",
        lambda claims: [Verdict(claim, "differs", "evil\x1b[2J") for claim in claims],
    )

    code, out, err = bench("report", tmp_path, "--verify")

    assert code == 1
    assert "\x1b" not in out
    assert ": 4 differ in " in err


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (["holds"], "1 holds"),
        (["holds", "holds"], "2 hold"),
        (["not checked", "differs", "holds"], "1 holds, 1 differs, 1 not checked"),
        (["differs", "differs", "not checked", "not checked"], "2 differ, 2 not checked"),
    ],
)
def test_each_count_of_claims_is_told_in_words(states, words):
    assert told(states) == words


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--verify", "--format", "csv"], "--format and --verify ask for different things"),
        (["--verify", "--publish", "x"], "--publish and --verify ask for different things"),
        (["--verify"], "holds no cell that ended"),
    ],
    ids=["format", "to", "empty"],
)
def test_wrong_input_is_answered_in_one_line(bench, tmp_path, arguments, line):
    Store.create(tmp_path)

    code, _, err = bench("report", tmp_path, *arguments)

    assert (code, line in err, err.count("\n")) == (2, True, 1)
