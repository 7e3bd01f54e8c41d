"""Records, suites and configurations with something changed: each is taken, or refused in a line.

    python tests/performance/fuzz.py [--mutations N] [--seed N] [--verbose]

A record of a small results folder is changed, sealed again, and read by `reports.load`, `bench
report` and `bench show`; a suite is changed and loaded; a configuration is changed, read and
planned as a dry run. Exits with 1 when one ends in anything but success or a `BenchError` of one
line, or takes more than SECONDS.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import importlib.util
import io
import json
import random
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import reports
from benchmark import config
from benchmark.attacks.suites import load_suite, suite_names
from benchmark.cli.app import app
from benchmark.errors import BenchError
from benchmark.plans.run import make_plan
from benchmark.results import Store
from benchmark.results.files import read_sealed, write_sealed
from benchmark.results.identity import CHECKS_VERSION, PROTOCOL_VERSION

SECONDS = 20.0
LONGEST_LINE = 2000

# What stands in the place of a value or of a key.
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, -0.0, 1e-320, 1e308, 10**23, -(10**30), 2**63),
    *("", "nope", "1", "0.1 eps", "8/255", "../x", "\x1b[31m\n", "\u202e\ud800", "x" * 3000),
    *([], {}, [[]], [None], {"a": 1}, [1, "a"]),
)
# Only YAML knows these.
MORE_VALUES: tuple[Any, ...] = (float("nan"), float("inf"), -float("inf"), {1: 2}, {None: None})
TEXTS = (
    "&",
    "*a",
    "!!",
    ": ",
    "- ",
    "{",
    "[",
    "'",
    '"',
    "\n",
    "\t",
    "\x00",
    "#",
    "%",
    "|",
    "1e999",
    "é",
)

BASE_CONFIG = {
    "defense": ["pgd-at", "none+jpeg"],
    "framework": ["torch", "tensorflow"],
    "dataset": "digits",
    "model": "cnn-small",
    "suite": "quick",
    "norm": "linf",
    "eps": 0.15,
    "seed": [0, 1],
    "epochs": 2,
    "examples": 20,
    "split_seed": 0,
    "device": "cpu",
    "jobs": 2,
    "threads": 1,
    "attack_timeout": 60,
    "baseline": True,
    "on_overfit": "warn",
    "protocol": "brief",
    "adaptation": {"families": ["linf"], "shots": [0, 5], "episodes": 2, "rates": [0.01]},
    "parameters": {"pgd-at": {"attack_steps": 3, "learning_rate": 0.01}, "jpeg": {"quality": 50}},
    "attacks": {"pgd": {"max_iter": 3, "eps_step": "0.1 eps"}, "square": {"p_init": 0.5}},
}

BASE_SUITE = {
    "description": "for the fuzz",
    "attacks": {
        "pgd": {
            "attack": "pgd",
            "arguments": {"max_iter": 3, "eps_step": "0.1 eps"},
            "examples": 5,
        },
        "jsma": {"attack": "jsma", "threat": {"norm": "l0", "eps": 6}, "arguments": {"targets": 3}},
        "from-twin": {"attack": "pgd", "from": "none"},
        "fab": {"attack": "fab", "arguments": {"max_iter": 3, "nb_restarts": 1}},
        "geoda": {"attack": "geoda", "threat": "l2", "arguments": {"max_iter": 500, "sigma": 0.1}},
        "universal": {"attack": "universal", "arguments": {"attacker": "pgd", "delta": 0.2}},
    },
    "security_curve": {"attack": "fab", "budgets": [0.5, 1, 2], "examples": 5},
}


# What attacks store beside what the synthetic ones have.
ATTACK_FIELDS = {
    "families": ["gradient"],
    "own_threat": False,
    "examples": 20,
    "source": None,
    "clean_accuracy": 0.95,
    "robust_accuracy": 0.5,
    "abstained": 0,
    "silent": 0,
    "protocol_version": PROTOCOL_VERSION,
}


Attempt = Callable[[], object]
# What was changed, and by name what is tried then.
Mutation = tuple[str, dict[str, Attempt]]


class HangError(BaseException):
    """It took more than SECONDS. No `except Exception` of what is tried catches it."""


@dataclass(frozen=True)
class Failure:
    """What a mutation made go wrong: its kind, what was changed, and the end of the traceback."""

    kind: str
    change: str
    problem: str


@dataclass(frozen=True)
class Found:
    """How often each kind ended how, and what went wrong."""

    counts: Counter[tuple[str, str]]
    failures: list[Failure]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print whole tracebacks")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = fuzz(Path(folder), chosen.mutations, chosen.seed)
    for (kind, ending), count in sorted(found.counts.items()):
        print(f"{kind}: {ending}: {count}")
    for failure in found.failures:
        problem = failure.problem if chosen.verbose else failure.problem.splitlines()[-1]
        print(f"FAILED {failure.kind}: {failure.change}: {problem}", file=sys.stderr)
    return int(bool(found.failures))


def fuzz(folder: Path, mutations: int, seed: int) -> Found:
    """Tries as many mutations as asked for, of each kind in turn, in a new folder."""
    drawn = random.Random(seed)
    kinds = (Records(folder / "results"), Suites(folder), Runs(folder))
    found = Found(Counter(), [])
    for number in range(mutations):
        with kinds[number % len(kinds)].mutation(drawn) as (change, attempts):
            for name, attempt in attempts.items():
                ending, problem = outcome(attempt)
                found.counts[name, ending] += 1
                if problem:
                    found.failures.append(Failure(name, change, problem))
    return found


def outcome(attempt: Attempt) -> tuple[str, str]:
    """How an attempt ended, in a word, and what was wrong with that; empty where nothing was."""
    try:
        with time_limit(), warnings.catch_warnings(), silence():
            warnings.simplefilter("ignore")
            attempt()
    except BenchError as error:
        line = str(error)
        if "\n" in line or len(line) > LONGEST_LINE:
            return "ill-told", f"{len(line)} characters or several lines: {line[:200]!r}"
        return "refused", ""
    except HangError:
        return "hang", f"more than {SECONDS:g} s\n{traceback.format_exc()[-2000:]} hang"
    except Exception:
        return "traceback", traceback.format_exc().strip()
    return "taken", ""


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Without what is printed meanwhile."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Raises `HangError` here after SECONDS."""

    def ring(*_: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Records:
    """Records of a results folder, changed one at a time and sealed again."""

    def __init__(self, folder: Path) -> None:
        self.store = written(folder)
        self.files = sorted((folder / "cells").rglob("*.json"))

    @contextlib.contextmanager
    def mutation(self, drawn: random.Random) -> Iterator[Mutation]:
        path = drawn.choice(self.files)
        record = read_sealed(path)
        assert record is not None
        changed, change = mutated(record, drawn, VALUES)
        before = path.read_bytes()
        try:
            write_sealed(path, changed, root=path.parent)
            yield f"{path.relative_to(self.store.path)} {change}", self.readers()
        finally:
            path.write_bytes(before)

    def readers(self) -> dict[str, Attempt]:
        """Everything that reads the folder."""
        place = str(self.store.path)
        shows = {
            f"show {number}": functools.partial(command, "show", cell_id, "--out", place)
            for number, cell_id in enumerate(self.store.cell_ids())
        }
        return {
            "load": lambda: reports.load(place),
            "report": functools.partial(command, "report", place),
            **shows,
        }


class Suites:
    """A suite file, changed as a tree or as a text."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "mine.yaml"

    @contextlib.contextmanager
    def mutation(self, drawn: random.Random) -> Iterator[Mutation]:
        text, change = mutated_yaml(BASE_SUITE, drawn)
        yield change, {"suite": lambda: self.load(text)}

    def load(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8", errors="surrogatepass")
        load_suite(str(self.path)).check_fits("linf", (8, 8, 1), 10)


class Runs:
    """A configuration, changed as a tree or as a text, and planned as a dry run."""

    def __init__(self, folder: Path) -> None:
        self.path, self.out = folder / "run.yaml", str(folder / "out")
        self.suites = list(suite_names())

    @contextlib.contextmanager
    def mutation(self, drawn: random.Random) -> Iterator[Mutation]:
        base = {**BASE_CONFIG, "out": self.out}
        if drawn.random() < 0.3:
            base |= {"suite": drawn.choice(self.suites), "attacks": {}, "norm": "l2", "eps": 0.5}
        text, change = mutated_yaml(base, drawn)
        yield change, {"run": lambda: self.plan(text)}

    def plan(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8", errors="surrogatepass")
        make_plan(config.read({}, file=self.path), dry_run=True)


def command(*arguments: str) -> None:
    """A `bench` command in this process, with its errors as they are raised."""
    app(list(arguments), prog_name="bench", standalone_mode=False)


def mutated_yaml(base: Any, drawn: random.Random) -> tuple[str, str]:
    """The tree as YAML with one or two things changed, and what that was."""
    if drawn.random() < 0.3:
        text = yaml.safe_dump(base)
        place = drawn.randrange(len(text))
        piece, length = drawn.choice(TEXTS), drawn.randrange(4)
        return text[:place] + piece + text[place + length :], f"{piece!r} at {place} for {length}"
    changed, change = mutated(base, drawn, VALUES + MORE_VALUES)
    if drawn.random() < 0.2:
        changed, more = mutated(changed, drawn, VALUES + MORE_VALUES)
        change = f"{change} and {more}"
    return yaml.dump(changed, allow_unicode=True), change


def mutated(tree: Any, drawn: random.Random, values: tuple[Any, ...]) -> tuple[Any, str]:
    """A copy with one value replaced, removed or moved under another key, and what that was."""
    whole = copy.deepcopy(tree)
    places = list(walk(whole))
    if not places:
        return drawn.choice(values), "whole"
    path, holder, key = drawn.choice(places)
    how = drawn.choice(("replace", "replace", "replace", "remove", "rename", "double"))
    value = drawn.choice(values)
    if how == "remove":
        del holder[key]
    elif how == "rename" and isinstance(holder, dict):
        holder[value if isinstance(value, str) else str(value)] = holder.pop(key)
    elif how == "double" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    else:
        holder[key] = copy.deepcopy(value)
    return whole, f"{how} {path} {json.dumps(value, default=str)[:60]}"


def walk(tree: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place of a tree: its path, what holds it, and under which key or index."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        here = f"{path}.{str(key)[:40]}"
        yield here, tree, key
        if isinstance(value, dict | list):
            yield from walk(value, here)


def written(folder: Path) -> Store:
    """A small results folder with every kind of record that reports read."""
    place = Path(__file__).parent.parent / "reports" / "conftest.py"
    found = importlib.util.spec_from_file_location("synthetic_results", place)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["synthetic_results"] = module
    found.loader.exec_module(module)
    store = Store.create(folder)
    synthetic = module.Synthetic(store)
    for defense in ("none", "pgd-at"):
        cell_id = synthetic.cell(defense, examples=20, robust={"pgd": 0.5, "square": 0.6})
        for key in store.stage_keys(cell_id, "attacks"):
            path = store.cell_folder(cell_id) / "attacks" / f"{key}.json"
            record = read_sealed(path)
            assert record is not None
            write_sealed(path, record | ATTACK_FIELDS, root=path.parent)
        check = {
            "name": "gradients",
            "status": "flagged",
            "sentence": "they vanish",
            "evidence": {},
        }
        trust = {
            "suite": "quick",
            "checks_version": CHECKS_VERSION,
            "status": "ok",
            "checks": [check],
        }
        store.write_stage(cell_id, "trust/quick", trust)
    return store


if __name__ == "__main__":
    sys.exit(main())
