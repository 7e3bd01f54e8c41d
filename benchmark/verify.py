"""Does what is stored follow from itself? A sample of it is derived and attacked again.

A claim is what a cell, or one of its stages, says. A worker process in the cell's framework checks
it (`benchmark.replay`); nothing stored is changed, and whatever a stored file does to the worker,
this process goes on.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmark.child import Child
from benchmark.frameworks import FRAMEWORKS, cpus
from benchmark.results import Record, Store
from benchmark.text import counted

SERVE = "benchmark.replay:serve"

HOLDS, DIFFERS, UNCHECKED = "holds", "differs", "not checked"

# Stages of a claim that are none in the store: the cell's own record with its training, and what a
# suite's attacks leave of it together.
CELL, WORST_CASE = "cell", "worst-case"

_MOST_THREADS = 256


@dataclass(frozen=True)
class Claim:
    """What a cell or a stage of it says.

    Args:
        out: the results folder.
        cell_id: of the cell.
        framework: of the cell; "" where the record doesn't tell, so that nothing can be checked.
        stage: CELL, "worst-case/<suite>", or a stage of the store such as "attacks/<key>".
        data_dir: where the data are.
        threads: of one operation, as the cell had them; 0 where nobody knows.
    """

    out: str
    cell_id: str
    framework: str
    stage: str
    data_dir: str | None
    threads: int = 0


@dataclass(frozen=True)
class Verdict:
    """What became of a claim: `state` is HOLDS, DIFFERS or UNCHECKED; `text` says more."""

    claim: Claim
    state: str
    text: str


def told(states: Sequence[str]) -> str:
    """How many claims came to each state, in words: "3 hold, 1 differs, 2 not checked"."""
    words = {HOLDS: "hold", DIFFERS: "differ", UNCHECKED: UNCHECKED}  # of several
    counts = {state: states.count(state) for state in words}
    return ", ".join(counted(n, state, words[state]) for state, n in counts.items() if n)


def sample(
    store: Store, *, size: int | None, seed: int = 0, data_dir: Path | None = None
) -> list[Claim]:
    """Every cell that ended, and stages drawn evenly from all of theirs, ordered by process.

    Args:
        store: the results folder.
        size: how many stages; None for all.
        seed: the same folder, size and seed give the same claims.
        data_dir: where the data are.
    """
    known = stages(store, data_dir)
    drawn = np.random.default_rng(seed).permutation(len(known))[:size]
    claims = [*cells(store, data_dir), *(known[place] for place in drawn)]
    return sorted(
        claims,
        key=lambda claim: (
            claim.framework,
            claim.threads,
            claim.cell_id,
            claim.stage != CELL,
            not claim.stage.startswith(WORST_CASE),
            claim.stage,
        ),
    )


def cells(store: Store, data_dir: Path | None = None) -> list[Claim]:
    """The claim of every cell that ended: of what hasn't, no report shows anything."""
    ended = [i for i in store.cell_ids() if (store.cell_folder(i) / "cell.json").exists()]
    return [_claim(store, cell_id, CELL, data_dir) for cell_id in ended]


def stages(store: Store, data_dir: Path | None = None) -> list[Claim]:
    """The claims of all stages of the cells that ended and can be read."""
    found = []
    for cell in cells(store, data_dir):
        record = store.read_cell(cell.cell_id) or {}
        if cell.framework:
            names = _stages(store, cell.cell_id, record)
            found += [dataclasses.replace(cell, stage=name) for name in names]
    return found


def verify(
    claims: Sequence[Claim], *, device: str = "cpu", serve: str = SERVE
) -> Iterator[Verdict]:
    """The verdict on each claim, as it comes; one worker process at a time.

    Each framework and number of threads has a process of its own.

    Args:
        claims: in the order of their frameworks and cells.
        device: "auto", "cpu" or "cuda".
        serve: "module:function" that a worker process runs; see `benchmark.replay.serve`.
    """
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as folder:
        log = Path(folder) / "worker.log"
        for kind in dict.fromkeys((claim.framework, claim.threads) for claim in claims):
            waiting = [claim for claim in claims if (claim.framework, claim.threads) == kind]
            framework, threads = kind
            if not framework:
                for claim in waiting:
                    yield Verdict(claim, UNCHECKED, "cell.json is damaged or of another schema")
                continue
            while waiting:
                with Child(
                    serve,
                    log,
                    framework=framework,
                    device=device,
                    threads=threads or cpus(),
                    name=f"bench-verify-{framework}",
                ) as child:
                    yield from _work(child, waiting)


def _work(child: Child, waiting: list[Claim]) -> Iterator[Verdict]:
    """Takes claims off the list as the process works through them; its death ends it early."""
    if child.answer() is None:  # it never got ready, and another one would not either
        reason = f"the worker process {child.ending()}"
        while waiting:
            yield Verdict(waiting.pop(0), UNCHECKED, reason)
    while waiting:
        claim = waiting.pop(0)
        match child.ask(claim):
            case (str(state), str(text)):
                yield Verdict(claim, state, text)
            case _:
                yield Verdict(claim, UNCHECKED, f"the worker process {child.ending()}")
                return


def serve_claims(connection: Connection, replay: Callable[[Claim], tuple[str, str]]) -> None:
    """The worker's side: says that it is ready, then answers claims until the pipe is closed."""
    connection.send(("ready", ""))
    try:
        while True:
            connection.send(replay(connection.recv()))
    except EOFError:
        return


def _claim(store: Store, cell_id: str, stage: str, data_dir: Path | None) -> Claim:
    record = store.read_cell(cell_id) or {}
    data = str(data_dir) if data_dir else None
    return Claim(str(store.path), cell_id, _framework(record), stage, data, _threads(record))


def _framework(record: Record) -> str:
    """The framework of a cell's record, or "" where it tells none that is known."""
    config, suites = record.get("config"), record.get("suites")
    found = config.get("framework") if isinstance(config, dict) else None
    return str(found) if found in FRAMEWORKS and isinstance(suites, dict) else ""


def _threads(record: Record) -> int:
    found = record.get("threads")
    return found if type(found) is int and 0 < found <= _MOST_THREADS else 0


def _stages(store: Store, cell_id: str, record: Record) -> Iterator[str]:
    """Everything of a cell that can be drawn; attacks are those that its suites name."""
    lists = {suite: keys for suite, keys in record["suites"].items() if isinstance(keys, list)}
    keys = {key for found in lists.values() for key in found if isinstance(key, str)}
    yield from (f"attacks/{key}" for key in sorted(keys))
    yield from (f"{WORST_CASE}/{suite}" for suite in sorted(lists))
    for folder in store.stage_folders(cell_id):
        if folder != "attacks":
            yield from (f"{folder}/{key}" for key in store.stage_keys(cell_id, folder))
