"""What threads that spin cost a run: on quiet CPUs, and beside other work on them.

    python tests/performance/busy_cpus.py --data-dir DIR --busy 0 2

Trains `pgd-at` on MNIST and attacks it, in PyTorch, with one worker on all CPUs: as workers set
the waiting of threads, and as libraries have it by themselves (OpenBLAS a thread for each CPU,
libgomp 300,000 turns). Times are medians over runs, which take turns; `--busy` is how many other
processes compute meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

SETTINGS: dict[str, dict[str, str]] = {
    "as workers set them": {},
    "as libraries have them": {
        "OPENBLAS_NUM_THREADS": str(os.cpu_count()),
        "GOMP_SPINCOUNT": "300000",
    },
}
OPTIONS = "--defense pgd-at --framework torch --dataset mnist --budget-ge 60000 --examples 250"
NAMES = ("training", "pgd", "apgd", "square")
THREADS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", *SETTINGS["as libraries have them"])


def seconds(data_dir: str, settings: dict[str, str]) -> list[float]:
    """What the training and the attacks of `NAMES` take in a run of its own."""
    environ = {name: value for name, value in os.environ.items() if name not in THREADS}
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmark", "run", *OPTIONS.split(), "--jobs", "1"]
        command += ["--no-baseline", "--quiet", "--data-dir", data_dir, "--out", folder]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, check=True, env=environ | settings, **quiet)
        (cell,) = Path(folder, "cells").iterdir()
        found = [json.loads(path.read_text()) for path in cell.glob("attacks/*.json")]
        training = json.loads((cell / "training.json").read_text())
    took = {one["name"]: one["seconds"] for one in found} | {"training": training["seconds"]}
    return [took[name] for name in NAMES]


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", required=True, help="where MNIST lies")
    parser.add_argument("--busy", type=int, nargs="+", default=[0], help="other processes")
    parser.add_argument("--runs", type=int, default=3, help="of each")
    given = parser.parse_args()
    print("| Other processes | Threads wait | " + ", s | ".join(NAMES) + ", s |")
    print("|---" * (2 + len(NAMES)) + "|")
    for busy in given.busy:
        spinning = [sys.executable, "-c", "while True: sum(range(1000))"]
        others = [subprocess.Popen(spinning) for _ in range(busy)]
        try:
            runs = [
                {name: seconds(given.data_dir, settings) for name, settings in SETTINGS.items()}
                for _ in range(given.runs)
            ]
        finally:
            for other in others:
                other.kill()
        for name in SETTINGS:
            columns = zip(*(one[name] for one in runs), strict=True)
            medians = [f"{statistics.median(column):.2f}" for column in columns]
            print(f"| {busy} | {name} | " + " | ".join(medians) + " |")


if __name__ == "__main__":
    main()
