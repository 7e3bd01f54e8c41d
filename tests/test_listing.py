"""`bench list` and `bench show`: what can be named, and what is stored."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from benchmark.config import PROTOCOLS
from benchmark.results import CHECKS_VERSION, Store
from benchmark.stages.trust import TrustChecks


@pytest.fixture(autouse=True)
def _alone(fake_workers: None) -> None:
    """Every command runs on fake workers, in a folder of its own."""


RUN = ("run", "--defense", "pgd-at", "--framework", "torch", "--epochs", "1")


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("defenses", {"none", "pgd-at", "meta-adv"}),
        ("attacks", {"pgd", "apgd", "square"}),
        ("suites", {"quick"}),
        ("datasets", {"digits", "mnist", "npz", "folder"}),
        ("models", {"cnn", "cnn-small", "mlp"}),
        ("families", {"linf", "l1", "universal", "patch", "jsma", "spatial"}),
        ("protocols", set(PROTOCOLS) - {"none"}),
        ("few-shot", {"few-shot"}),
        ("presets", {"meta-adv", "pgd-at", "trades", "fgsm-rs"}),
        ("fast-gradient", {"what", "class", "norms", "kinds", "frameworks", "argument"}),
        ("standard", {"pgd", "deepfool", "hop-skip-jump"}),
        ("preact-resnet18", {"norm", "width"}),
        ("cnn", {"cnn"}),
        ("+jpeg", {"+jpeg"}),
        ("meta-adv", {"preset", "algorithm", "inner_steps", "batch_size"}),
    ],
)
def test_list(bench: Any, what: str, expected: set[str]) -> None:
    lines = bench("list", what).out.splitlines()

    assert expected <= {line.split()[0] for line in lines}
    assert all(len(line.split()) > 1 for line in lines)


def test_list_of_a_defense_tells_its_cost_and_of_an_attack_its_defaults(bench: Any) -> None:
    costs = {line.split()[0]: line for line in bench("list", "defenses").out.splitlines()}

    assert costs["pgd-at"].endswith("(11 GE an example and epoch)")
    assert "argument eps_step" in bench("list", "bim").out
    assert "(0.1 eps)" in bench("list", "bim").out
    assert "one of cross-entropy, dlr, margin, probability-margin" in bench("list", "apgd").out
    assert "left out: " in bench("list", "GRAPHITEBlackbox").out


def test_a_name_of_an_attack_and_of_a_suite_tells_both(bench: Any) -> None:
    told = bench("list", "autoattack").out

    assert "argument queries" in told
    assert "apgd-ce; apgd-targeted; fab-targeted; square" in told


@pytest.mark.parametrize("what", ["defenses", "suites", "presets", "pgd", "trades"])
def test_list_as_json_holds_the_same(bench: Any, what: str) -> None:
    rows = json.loads(bench("list", what, "--json").out)
    lines = bench("list", what).out.splitlines()

    assert [row["name"] for row in rows] == [line.split("  ")[0] for line in lines]
    assert [row["description"] for row in rows] == [
        line.split("  ", 1)[1].strip() for line in lines
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("bench li", "list"),
        ("bench list fast", "fast-gradient"),
        ("bench run --defense trad", "trades"),
        ("bench run --suite blackb", "blackbox"),
    ],
    ids=["command", "list", "defense", "suite"],
)
def test_shell_completion(
    bench: Any, monkeypatch: pytest.MonkeyPatch, words: str, expected: str
) -> None:
    monkeypatch.setenv("_BENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))

    assert bench().out.split() == [expected]


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("torchvision", "torchvision:NAME"),
        ("keras:MobileNetV2", "keras:NAME"),
        ("robustbench", "robustbench:NAME"),
        ("robustbench:Carmon2019Unlabeled", "for bench attack alone"),
        ("npz:mine.npz", "npz:FILE"),
        ("medmnist:pneumoniamnist", "medmnist:NAME"),
        ("wrn-34-10", "norm"),
    ],
)
def test_list_of_what_a_run_takes_though_no_table_has_it(bench: Any, what: str, told: str) -> None:
    result = bench("list", what)

    assert (result.code, told in result.out) == (0, True)


def test_list_of_a_depth_that_there_is_not(bench: Any) -> None:
    result = bench("list", "wrn-34")

    assert (result.code, "unknown model 'wrn-34'" in result.err) == (2, True)


def test_list_of_something_else(bench: Any) -> None:
    result = bench("list", "defences")

    assert (result.code, "did you mean 'defenses'?" in result.err) == (2, True)


@pytest.fixture
def cells(bench: Any) -> list[str]:
    bench(*RUN, "--protocol", "brief")
    return Store.open("bench-results").cell_ids()


def test_show_tells_what_was_noticed_in_training(bench: Any, cells: list[str]) -> None:
    store = Store.open("bench-results")
    cost = {"forwards": 1, "backwards": 1, "second_order": 0, "gradient_evaluations": 7.0}
    record = {"seconds": 1.0, "cost": cost, "notices": ["it overfits\x1b[31m"]}
    store.write_stage(cells[1], "training", record)
    assert "training: it overfits\\x1b[31m" in bench("show", cells[1]).out


def test_show_tells_which_trust_checks_are_flagged(bench: Any, cells: list[str]) -> None:
    common = {"sentence": "It is.", "evidence": {}}
    statuses = ("passed", "flagged", "not-applicable")
    found = [{"name": f"check {status}", "status": status, **common} for status in statuses]
    record = {"suite": "quick", "checks": found, "checks_version": CHECKS_VERSION - 1}
    Store.open("bench-results").write_stage(cells[1], "trust/quick", record)
    shown = bench("show", cells[1]).out
    assert "adaptation tuning-" in shown
    assert "trust checks under quick: 1 of 2 that are stored passed" in shown
    assert "flagged: check flagged: It is." in shown
    assert shown.count("of trust checks version") == 1
    Store.open("bench-results").write_stage(
        cells[1], "trust/quick", record | {"checks_version": CHECKS_VERSION}
    )
    assert "of trust checks version" not in bench("show", cells[1]).out


def test_show_tells_why_trust_checks_failed_and_not_their_version(
    bench: Any, cells: list[str]
) -> None:
    failed = TrustChecks("quick", "trust/quick", (), examples=10, needs=()).failed("no memory")
    Store.open("bench-results").write_stage(cells[1], "trust/quick", failed.stored())
    shown = bench("show", cells[1]).out
    assert "trust checks under quick: failed: no memory" in shown
    assert "of trust checks version" not in shown
    assert "0 of 0" not in shown


def test_show_does_not_say_that_all_passed_where_an_attack_failed(
    bench: Any, cells: list[str]
) -> None:
    store = Store.open("bench-results")
    record = store.read_cell(cells[1])
    assert record is not None
    (key, *_) = record["suites"]["quick"]
    failed = {"name": "fgsm", "status": "failed", "reason": "no memory"}
    store.write_stage(cells[1], f"attacks/{key}", failed)
    passed = {"name": "one", "status": "passed", "sentence": "It is.", "evidence": {}}
    store.write_stage(cells[1], "trust/quick", {"suite": "quick", "checks": [passed]})

    shown = bench("show", cells[1]).out

    assert "trust checks under quick: 1 of 2 that are stored passed" in shown
    assert "flagged: every attack of the suite ran: fgsm failed: no memory" in shown


def test_show_takes_a_unique_beginning(bench: Any, cells: list[str]) -> None:
    result = bench("show", "digits-cnn-torch-pgd")

    assert result.code == 0
    assert result.out.splitlines()[0] == cells[1]
    assert "status: ok" in result.out
    assert "threat.eps: 0.15" in result.out
    assert "training: 1 s, 7 gradient evaluations" in result.out
    assert ": clean 90.0%, robust 50.0% of 10 examples, linf eps 0.15, 2 s" in result.out


def test_show_as_json_holds_every_record(bench: Any, cells: list[str]) -> None:
    store = Store.open("bench-results")
    (store.cell_folder(cells[1]) / "training.json").write_text("torn")

    shown = json.loads(bench("show", cells[1], "--json").out)

    assert shown["cell"] == store.read_cell(cells[1])
    assert shown["stages"]["training"] is None
    attacks = [key for key in shown["stages"] if key.startswith("attacks/")]
    assert len(attacks) == 4
    assert shown["stages"][attacks[0]] == store.read_stage(cells[1], attacks[0])


@pytest.mark.usefixtures("cells")
def test_show_prints_one_form(bench: Any) -> None:
    result = bench("show", "digits-cnn-torch-pgd", "--json", "--yaml")
    assert (result.code, "--yaml and --json ask for different things" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("digits-", "cell 'digits-' is not unique in bench-results: digits-cnn-torch-none-s0-"),
        ("digit-cnn-torch-none-s0-00", "; did you mean 'digits-cnn-torch-none-s0-"),
        ("?", "unknown cell '?'; bench-results holds digits-cnn-torch-none-s0-"),
    ],
    ids=["ambiguous", "close", "unknown"],
)
@pytest.mark.usefixtures("cells")
def test_show_of_an_unknown_cell(bench: Any, given: str, line: str) -> None:
    result = bench("show", given)

    assert (result.code, line in result.err) == (2, True)


def test_show_escapes_what_is_stored(bench: Any, cells: list[str]) -> None:
    store = Store.open("bench-results")
    record = store.read_cell(cells[0])
    assert record is not None
    store.write_cell(cells[0], {**record, "reason": "\x1b[2J"})

    assert "\\x1b[2J" in bench("show", cells[0]).out


@pytest.mark.parametrize(
    "command", [["show", "x"], ["report", "bench-results"]], ids=["show", "report"]
)
def test_missing_results_are_said_so(
    bench: Any, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "argv", ["bench", *command])
    result = bench(*command)

    assert (result.code, "no results folder at bench-results" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("extra", "path"),
    [([], "bench-results/report/index.html"), (["--publish", "site"], "site/index.html")],
)
@pytest.mark.usefixtures("cells")
def test_report_prints_its_path(bench: Any, extra: list[str], path: str) -> None:
    assert bench("report", "bench-results", *extra).out.splitlines() == [path]
