"""How well workers of a Ray cluster are used, with stages that sleep, and what the driver takes.

    python tests/performance/scaling.py [--seconds 20] [--only cells|short|memory]

Each run is a process of its own, with a cluster of this machine that has eight slots. `cells`: 64
cells of --seconds each, against one slot; `short`: 1,000 cells of a second; `memory`: 10,000 cells
without any sleep, and the most that the driver holds. Exits with 1 when a target is missed. The
time that eight workers take to start counts, so the machine should be quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SLOTS = 8
ENOUGH = {"cells": 0.9, "short": 0.8}
MEGABYTES = 500.0
TESTS = Path(__file__).parents[1]


def main() -> int:
    """Measures; returns how many targets were missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of a cell of `cells`")
    parser.add_argument("--only", choices=[*ENOUGH, "memory"])
    parser.add_argument("--run", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run:
        print(json.dumps(run(**chosen.run)))
        return 0
    wanted = [chosen.only] if chosen.only else [*ENOUGH, "memory"]
    missed = 0
    if "cells" in wanted:
        one = apart(cells=2, slots=1, seconds=chosen.seconds)["took"] / 2
        missed += judge("cells", 64, one, apart(cells=64, slots=SLOTS, seconds=chosen.seconds))
    if "short" in wanted:
        missed += judge("short", 1000, 1.0, apart(cells=1000, slots=SLOTS, seconds=1.0))
    if "memory" in wanted:
        found = apart(cells=10_000, slots=SLOTS, seconds=0.0)
        over = found["megabytes"] > MEGABYTES
        print(
            f"10,000 cells in {found['took']:.0f} s: the driver held {found['megabytes']:.0f} MB "
            f"(at most {MEGABYTES:.0f}){' MISSED' if over else ''}"
        )
        missed += over
    return missed


def judge(name: str, cells: int, one: float, found: dict[str, float]) -> bool:
    """Prints what share of eight times one slot was reached; whether it is too little."""
    share = cells * one / (SLOTS * found["took"])
    missed = share < ENOUGH[name]
    print(
        f"{name}: {cells} cells of {one:.1f} s in {found['took']:.0f} s, {share:.2f} of {SLOTS} "
        f"times one slot (at least {ENOUGH[name]}), the driver held {found['megabytes']:.0f} MB"
        f"{' MISSED' if missed else ''}",
        flush=True,
    )
    return missed


def apart(**settings: float) -> dict[str, float]:
    """`run` in a process of its own."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, __file__, "--run", json.dumps(settings)]
    environment = {**os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(cells: int, slots: int, seconds: float) -> dict[str, float]:
    """Seconds of a run, from the first hire to the end of the last cell, and megabytes."""
    import ray
    import sleeping_worker

    from benchmark.executors import scheduler
    from benchmark.executors.ray import Ray, Resources
    from benchmark.journal import Journal
    from benchmark.results import Store
    from benchmark.resume import pending

    parts = {"training": seconds / 2, "attack": seconds / 4}
    ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level=40)
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        store = Store.create(Path(folder) / "out")
        jobs = [sleeping_worker.job(store.path, seed, **parts) for seed in range(cells)]
        with store.lock() as held, Journal(held, jobs, {}) as journal:
            executor = Ray(held, Resources(1), "cpu", 1, serve="sleeping_worker:serve")
            began = time.monotonic()
            done = scheduler.run(jobs, held, executor, on_event=journal.write)
            took = time.monotonic() - began
            assert len(done) == cells
            assert not pending(jobs, held)
    ray.shutdown()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"took": took, "megabytes": most}


if __name__ == "__main__":
    raise SystemExit(min(main(), 1))
