"""Do stored claims still hold? A sample of them is held against the models again.

A claim is one attack on one cell. A worker process in the cell's framework replays it
(`benchmark.replay`); nothing stored is changed, and whatever a stored file does to the worker, this
process goes on.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np

from benchmark.frameworks import FRAMEWORKS
from benchmark.process import last_words, spawn
from benchmark.results import Record, Store

SERVE = "benchmark.replay:serve"

HOLDS, DIFFERS, UNCHECKED = "holds", "differs", "not checked"


@dataclass(frozen=True)
class Claim:
    """What one attack on one cell is said to have done; `data_dir` is where the data are."""

    out: str
    cell_id: str
    framework: str
    key: str
    data_dir: str | None


@dataclass(frozen=True)
class Verdict:
    """What became of a claim: `state` is HOLDS, DIFFERS or UNCHECKED; `text` says more."""

    claim: Claim
    state: str
    text: str


def sample(
    store: Store, *, size: int | None, seed: int = 0, data_dir: Path | None = None
) -> list[Claim]:
    """Claims of a results folder, drawn evenly, in the order of their cells; all if `size` is None.

    The same folder, size and seed give the same claims. Attacks without a result claim nothing.
    """
    known = [
        Claim(str(store.path), cell_id, framework, key, str(data_dir) if data_dir else None)
        for cell_id in store.cell_ids()
        for framework, key in _attacks(store.read_cell(cell_id))
    ]
    drawn: list[Claim] = []
    for place in np.random.default_rng(seed).permutation(len(known)):
        if size is not None and len(drawn) >= size:
            break
        if _claims_something(store, known[place]):
            drawn.append(known[place])
    return sorted(drawn, key=lambda claim: (claim.framework, claim.cell_id, claim.key))


def verify(
    claims: Sequence[Claim], *, device: str = "cpu", serve: str = SERVE
) -> Iterator[Verdict]:
    """The verdict on each claim, as it comes; one worker process for each framework, one at a time.

    Args:
        claims: in the order of their frameworks and cells.
        device: "auto", "cpu" or "cuda".
        serve: "module:function" that a worker process runs; see `benchmark.replay.serve`.
    """
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as folder:
        log = Path(folder) / "worker.log"
        for framework in dict.fromkeys(claim.framework for claim in claims):
            waiting = [claim for claim in claims if claim.framework == framework]
            while waiting:
                worker = _Worker(framework, log, device, serve)
                try:
                    yield from worker.work(waiting)
                finally:
                    worker.stop()


class _Worker:
    """A process that replays claims of one framework."""

    def __init__(self, framework: str, log: Path, device: str, serve: str) -> None:
        self.log, self.log_start = log, log.stat().st_size if log.exists() else 0
        self.process, self.connection = spawn(
            serve,
            log,
            framework=framework,
            device=device,
            threads=len(os.sched_getaffinity(0)),
            name=f"bench-verify-{framework}",
        )

    def work(self, waiting: list[Claim]) -> Iterator[Verdict]:
        """Takes claims off the list as it works through them; a death ends it early."""
        if self._answer() is None:  # it never got ready, and another one would not either
            reason = self._cause_of_death()
            while waiting:
                yield Verdict(waiting.pop(0), UNCHECKED, reason)
        while waiting:
            claim = waiting.pop(0)
            answer = self._ask(claim)
            if answer is None:
                yield Verdict(claim, UNCHECKED, self._cause_of_death())
                return
            yield Verdict(claim, str(answer[0]), str(answer[1]))

    def stop(self) -> None:
        """Ends the process, however it is."""
        self.connection.close()
        self.process.join(1)
        for end in (self.process.terminate, self.process.kill):
            if self.process.is_alive():
                end()
                self.process.join(5)

    def _ask(self, claim: Claim) -> Sequence[object] | None:
        try:
            self.connection.send(claim)
        except OSError:
            return None
        return self._answer()

    def _answer(self) -> Sequence[object] | None:
        """What the worker says next, or None if it died."""
        wait([self.connection, self.process.sentinel])
        try:
            answer: Sequence[object] | None = (
                self.connection.recv() if self.connection.poll() else None
            )
        except (EOFError, OSError):
            return None
        return answer

    def _cause_of_death(self) -> str:
        self.process.join(5)
        words = last_words(self.log, self.log_start)
        said = f": {words}" if words else ""
        return f"the worker process ended with exit code {self.process.exitcode}{said}"


def serve_claims(connection: Connection, replay: Callable[[Claim], tuple[str, str]]) -> None:
    """The worker's side: says that it is ready, then answers claims until the pipe is closed."""
    connection.send(("ready", ""))
    try:
        while True:
            connection.send(replay(connection.recv()))
    except EOFError:
        return


def _attacks(record: Record | None) -> Iterator[tuple[str, str]]:
    """Framework and key of each attack on a cell; nothing where its record makes no sense."""
    config, suites = ((record or {}).get(name) for name in ("config", "suites"))
    if not isinstance(config, dict) or not isinstance(suites, dict):
        return
    framework = config.get("framework")
    lists = [keys for keys in suites.values() if isinstance(keys, list)]
    keys = {key for keys in lists for key in keys if isinstance(key, str)}
    if framework in FRAMEWORKS:
        yield from ((framework, key) for key in sorted(keys))


def _claims_something(store: Store, claim: Claim) -> bool:
    """Whether the attack ran; a damaged stage is claimed too, and its check will say so."""
    if claim.key not in store.attack_keys(claim.cell_id):
        return False
    record = store.read_stage(claim.cell_id, f"attacks/{claim.key}")
    return record is None or record.get("status") == "ok"
