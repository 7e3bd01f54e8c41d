"""Kills commands at random points and runs them again: nothing may be lost, nothing half-written.

    python tests/performance/kills.py --count 200 --seed 0

`bench run` is killed as a process, with its workers or alone. `bench report`, `bench report
--publish` and `bench merge` are killed in a fork that has everything imported, so that the kills
fall into their work. After every kill each published file must be whole: the old one or the new
one. When the command has come through, all must be as an unbroken run leaves it, byte for byte. Of
a run, the JSON of cells and stages may differ in what CIRCUMSTANCES names; the log, the lock and
the report that shows those are not compared there. Leave the checkout alone meanwhile: a cell's
record names its commit.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import reports
from benchmark import cli

# Of two runs that do the same, and the seal that covers them.
CIRCUMSTANCES = ("seconds", "peak_memory", "started", "checksum")

RUN = [
    *("run", "--defense", "pgd-at", "--framework", "torch", "--model", "cnn-small"),
    *("--epochs", "4", "--examples", "30", "--jobs", "1", "--protocol", "none"),
    *("--set", "attacks.pgd.max_iter=3", "--set", "attacks.apgd.max_iter=3"),
    *("--set", "attacks.square.max_iter=5"),
]
KINDS = ("run", "report", "publish", "merge")

Content = dict[str, bytes]


@dataclass
class Tally:
    """Kills that hit, and commands that came through afterwards and were compared."""

    kills: int = 0
    compared: int = 0


class Killed:
    """A command that is started and, unless it is done before, killed after a while."""

    def __init__(self, draws: random.Random, work: Path) -> None:
        self.draws, self.work = draws, work

    def run(self, arguments: list[str], seconds: float | None) -> bool:
        """Runs `bench` as a process of its own; False if it was killed after `seconds`."""
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmark", *arguments],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            if self.draws.random() < 0.5:
                process.kill()  # its workers must notice by themselves
            else:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return False
        if process.returncode:
            raise SystemExit(f"bench {' '.join(arguments)} failed: {errors.decode()}")
        return True

    def fork(self, arguments: list[str], seconds: float | None) -> bool:
        """The same in a fork of this process, which has imported everything."""
        child = os.fork()
        if child == 0:
            _be_bench(arguments)
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return False
        if os.WEXITSTATUS(status):
            raise SystemExit(f"bench {' '.join(arguments)} failed")
        return True


def _be_bench(arguments: list[str]) -> None:
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv = ["bench", *arguments]
        cli.main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        os._exit(code)


def content(folder: Path) -> Content:
    """All files below a folder but a run's log and lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".lock") and path.parent.name != "logs"
    }


def without_circumstances(files: Content) -> Content:
    """The same, as far as two runs must agree."""
    return {
        name: _plain(bytes_) if name.endswith(".json") else bytes_
        for name, bytes_ in files.items()
        if not name.startswith("report/")
    }


def _plain(content: bytes) -> bytes:
    record = json.loads(content)
    return json.dumps({k: v for k, v in record.items() if k not in CIRCUMSTANCES}).encode()


def check_equal(found: Content, expected: Content, what: str) -> None:
    """Ends the program with the names of what differs."""
    differing = sorted(
        name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
    )
    if differing:
        raise SystemExit(f"after kills, {what} differs from an unbroken one in {differing[:8]}")


def campaign(
    start: Callable[[float | None], bool],
    whole: float,
    draws: random.Random,
    tally: Tally,
    count: int,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Kills a command again and again until it comes through; after `count` kills, lets it."""
    while not start(draws.uniform(0, 1.3 * whole) if tally.kills < count else None):
        tally.kills += 1
        check()


def timed(start: Callable[[float | None], bool]) -> float:
    """Seconds that a command takes unbroken."""
    began = time.monotonic()
    start(None)
    return time.monotonic() - began


def kill_runs(killed: Killed, results: Path, whole: float, tally: Tally, count: int) -> None:
    """`bench run` from nothing, which takes `whole` seconds unbroken."""
    out = killed.work / "run"
    expected = without_circumstances(content(results))
    arguments = [*RUN, "--out", str(out)]
    while tally.kills < count:
        shutil.rmtree(out, ignore_errors=True)
        campaign(lambda after: killed.run(arguments, after), whole, killed.draws, tally, count)
        check_equal(without_circumstances(content(out)), expected, "a run")
        tally.compared += 1


def kill_writers(kind: str, killed: Killed, results: Path, tally: Tally, count: int) -> None:
    """`bench report`, `bench report --publish` or `bench merge`, from nothing and on top."""
    part, target = killed.work / "part", killed.work / f"{kind}-target" / "report"
    halve(results, part)
    killed.fork(_writing(kind, part, target), None)
    older = content(target)
    arguments = _writing(kind, results, target)
    whole = timed(lambda after: killed.fork(arguments, after))
    expected = content(target)
    while tally.kills < count:
        shutil.rmtree(target, ignore_errors=True)
        if update := killed.draws.random() < 0.5:
            killed.fork(_writing(kind, part, target), None)
        arguments = _writing(kind, results, target)

        def check(known: tuple[Content, ...] = (expected, *([older] if update else []))) -> None:
            check_whole(content(target) if target.exists() else {}, known, kind)

        start = functools.partial(killed.fork, arguments)
        campaign(start, whole, killed.draws, tally, count, check)
        check_equal(content(target), expected, kind)
        tally.compared += 1


def _writing(kind: str, source: Path, target: Path) -> list[str]:
    """The command that writes what `source` holds to `target`; for a report it is put beside it."""
    if kind == "merge":
        return ["merge", str(source), "--out", str(target)]
    if kind == "publish":
        return ["report", str(source), "--publish", str(target)]
    shutil.rmtree(target.parent / "cells", ignore_errors=True)
    ignored = shutil.ignore_patterns("report", ".lock")
    shutil.copytree(source, target.parent, dirs_exist_ok=True, ignore=ignored)
    return ["report", str(target.parent)]


def check_whole(found: Content, known: tuple[Content, ...], kind: str) -> None:
    """Every file but temporary ones, and a site's list of its files, is one of an unbroken run."""
    for name, bytes_ in found.items():
        if (last := Path(name).name).startswith(".tmp-") or last == "site.json":
            continue
        if not any(files.get(name) == bytes_ for files in known):
            raise SystemExit(f"after a kill, {name} of a {kind} is half-written")


def halve(results: Path, part: Path) -> None:
    """A copy of the results without the last cell."""
    shutil.copytree(results, part, dirs_exist_ok=True)
    cells = sorted(path for path in (part / "cells").iterdir() if path.is_dir())
    shutil.rmtree(cells[-1])


def main() -> None:
    """Kills, compares, and says how often."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="kills in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--results", type=Path, help="results to report on; made unless given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        killed = Killed(random.Random(options.seed), Path(folder))
        results = options.results
        if results is None or "run" in options.kinds:
            results = killed.work / "whole"
            arguments = [*RUN, "--out", str(results)]
            whole = timed(lambda after: killed.run(arguments, after))
        if options.kinds != ["run"]:  # imports what the forks need
            reports.publish(results, killed.work / "site")
        share = -(-options.count // len(options.kinds))
        for kind in options.kinds:
            tally = Tally()
            if kind == "run":
                kill_runs(killed, results, whole, tally, share)
            else:
                kill_writers(kind, killed, results, tally, share)
            print(f"{kind}: {tally.kills} kills, {tally.compared} compared, all equal", flush=True)


if __name__ == "__main__":
    main()
