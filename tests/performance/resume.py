"""How long `bench run` takes to say that all is done, in a folder of very many finished cells.

    python tests/performance/resume.py [--cells N]

Writes what N cells of `bench run --defense none` leave behind (both frameworks, N / 2 seeds), with
weights and outcomes of the size that `cnn` and a thousand examples have, then runs the command and
waits for its line. The same with a half and a quarter of the cells shows how the time grows; what a
folder of two cells takes is taken off as imports and data. Exits with 1 when it takes over 5 s.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmark.cells import cell_record
from benchmark.config import read
from benchmark.plans.run import make_plan
from benchmark.results import Store, npz_writer
from benchmark.results.identity import CHECKS_VERSION, PROTOCOL_VERSION

SECONDS = 5.0
COST = {"forwards": 1.0, "backwards": 1.0, "second_order": 0.0, "gradient_evaluations": 1.0}
WEIGHTS = b"\0" * 1_700_000
OUTCOMES = {"success": np.zeros(1000, dtype=bool), "l2": np.random.default_rng(0).random(1000)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1000)
    cells = parser.parse_args().cells
    times = {count: measure(count) for count in (2, cells // 4, cells // 2, cells)}
    for count, seconds in times.items():
        print(f"{count:>6} cells: {seconds:.2f} s until it says so")
    beyond = times[cells] - times[2]
    print(f"{beyond:.2f} s beyond imports and data (at most {SECONDS:g})")
    return int(beyond > SECONDS)


def measure(cells: int) -> float:
    """Seconds from the start of the command to its line."""
    with tempfile.TemporaryDirectory() as folder:
        seeds = ",".join(str(seed) for seed in range(cells // 2))
        fill(Path(folder), seeds)
        command = [sys.executable, "-m", "benchmark", "run", "--defense", "none", "--seed", seeds]
        command += ["--protocol", "none", "--out", folder]
        started = time.perf_counter()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr is not None
            said = next(line for line in running.stderr if "done already" in line)
            seconds = time.perf_counter() - started
            running.kill()
    assert f"{cells} of {cells} cells" in said, said
    return seconds


def fill(folder: Path, seeds: str) -> None:
    """What the cells of the command leave behind."""
    flags = {"defense": ["none"], "seed": [int(seed) for seed in seeds.split(",")]}
    plan = make_plan(read({**flags, "protocol": "none", "out": folder}, assignments=[]))
    store = Store.create(folder)
    for job in plan.jobs:
        cell_id = job.cell.cell_id
        for stage in job.stages:
            if stage.path == "training":
                files = {"weights.bin": lambda path: path.write_bytes(WEIGHTS)}
            elif stage.path.startswith("attacks/"):
                files = {f"{stage.path.partition('/')[2]}.npz": npz_writer(OUTCOMES)}
            elif stage.path.startswith("transfers/"):
                files = {}
            else:
                continue
            store.write_stage(
                cell_id,
                stage.path,
                {"status": "ok", "cost": COST, "protocol_version": PROTOCOL_VERSION},
                files,
            )
        checksums = {
            key: sorted((store.read_stage(cell_id, f"attacks/{key}") or {})["files"].values())
            for key in job.attack_keys().values()
        }
        trust = {"status": "ok", "attacks": checksums, "checks_version": CHECKS_VERSION}
        store.write_stage(cell_id, job.trust_stage, trust)
        record = cell_record(
            job.cell,
            status="ok",
            suites={job.suite: list(job.attack_keys().values())},
            device="cpu",
            threads=1,
            seconds=1.0,
            started="2026-01-01T00:00:00+00:00",
        )
        store.write_cell(cell_id, record)


if __name__ == "__main__":
    sys.exit(main())
