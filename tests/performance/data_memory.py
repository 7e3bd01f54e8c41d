"""What data sets take that are large: memory of the process that plans and of workers, and time.

    python tests/performance/data_memory.py [cifar] [folder] [million] [--framework NAME]
        [--keep DIR]

Synthetic data: CIFAR-10's files with 50,000 training images; a folder of 100,000 images of 64x64;
a folder of a million images of 8x8, which is planned only. Each is given to `bench run` with one
defense, few updates and few examples, and the peak of resident memory of each process is read until
it ends. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

# Peaks in MB of the process that plans and of a worker, and seconds until it is done.
TARGETS = {"cifar": (700, 2500, None), "folder": (700, 3000, None), "million": (700, None, 120)}
FEW = ("--budget-ge", "4000", "--examples", "32", "--threads", "1", "--quiet")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", nargs="*", choices=[[], *TARGETS], default=list(TARGETS))
    parser.add_argument("--framework", default="torch")
    parser.add_argument("--keep", type=Path, help="folder for the data, which stay")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = chosen.keep or Path(folder)
        missed = [not CASES[name](kept, Path(folder), chosen.framework) for name in chosen.which]
    return int(any(missed))


def cifar(kept: Path, out: Path, framework: str) -> bool:
    """50,000 training and 10,000 test images, in CIFAR-10's own files."""
    made(kept / "cifar", write_cifar)
    command = ["--dataset", "cifar10", "--data-dir", str(kept / "cifar"), *FEW]
    return measured("cifar", command, out, framework)


def folder(kept: Path, out: Path, framework: str) -> bool:
    """100,000 files of 64x64 in 10 classes."""
    made(kept / "folder", write_folder)
    command = ["--dataset", f"folder:{kept / 'folder'}", *FEW]
    return measured("folder", command, out, framework)


def million(kept: Path, out: Path, framework: str) -> bool:
    """A million files of 8x8 in 100 classes: the plan alone."""
    made(kept / "million", write_million)
    command = ["--dataset", f"folder:{kept / 'million'}", "--dry-run"]
    return measured("million", command, out, framework)


CASES: dict[str, Callable[[Path, Path, str], bool]] = {
    "cifar": cifar,
    "folder": folder,
    "million": million,
}


def made(place: Path, write: Callable[[Path], None]) -> None:
    """Writes the data once; a folder that is there is whole."""
    if not place.exists():
        unfinished = place.with_name(f"{place.name}-unfinished")
        unfinished.mkdir(parents=True)
        write(unfinished)
        unfinished.rename(place)


def write_cifar(root: Path) -> None:
    batches = root / "cifar-10-batches-py"
    batches.mkdir()
    generator = np.random.default_rng(0)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        images = generator.integers(0, 256, (10_000, 3072), dtype=np.uint8)
        labels = generator.integers(0, 10, 10_000).tolist()
        content = {"data": images, "labels": labels}
        (batches / name).write_bytes(pickle.dumps(content, protocol=2))
    names = {"label_names": [f"class {number}" for number in range(10)]}
    (batches / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))


def write_folder(root: Path) -> None:
    generator = np.random.default_rng(0)
    for label in range(10):
        (root / str(label)).mkdir()
        for number in range(10_000):
            small = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            image = Image.fromarray(small).resize((64, 64), Image.Resampling.BILINEAR)
            image.save(root / str(label) / f"{number:05d}.jpg")


def write_million(root: Path) -> None:
    """Each class is one file of its own under 10,000 names: a million inodes would fill a disk."""
    for label in range(100):
        (root / f"{label:03d}").mkdir()
        first = root / f"{label:03d}" / "00000.png"
        Image.fromarray(np.full((8, 8), 2 * label, np.uint8)).save(first)
        for number in range(1, 10_000):
            os.link(first, first.with_name(f"{number:05d}.png"))


def measured(name: str, command: list[str], out: Path, framework: str) -> bool:
    """Runs `bench run`, prints what it took, and says whether the targets are met."""
    bench = [str(Path(sys.executable).with_name("bench")), "run", "--defense", "none"]
    more = ["--framework", framework, "--out", str(out / f"results-{name}")]
    started = time.perf_counter()
    process = subprocess.Popen([*bench, *command, *more], stdout=subprocess.DEVNULL)
    peaks: dict[int, float] = {}
    while process.poll() is None:
        for pid in (process.pid, *children(process.pid)):
            peaks[pid] = max(peaks.get(pid, 0.0), peak(pid))
        time.sleep(0.1)
    seconds = time.perf_counter() - started
    processor = resource.getrusage(resource.RUSAGE_CHILDREN)
    parent = peaks.pop(process.pid)
    worker = max(peaks.values(), default=0.0)
    targets = TARGETS[name]
    met = process.returncode == 0 and all(
        target is None or found < target
        for found, target in zip((parent, worker, seconds), targets, strict=True)
    )
    print(
        f"{name}, {framework}: planning process {parent:,.0f} MB, worker {worker:,.0f} MB, "
        f"{seconds:.0f} s ({processor.ru_utime + processor.ru_stime:.0f} s of processors so far), "
        f"exit code {process.returncode}; targets {targets}: "
        f"{'met' if met else 'MISSED'}",
        flush=True,
    )
    return met


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:  # it has ended meanwhile
            continue
    return found


def peak(pid: int) -> float:
    """The most memory that a process held so far, in MB; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM")), 0.0)


if __name__ == "__main__":
    sys.exit(main())
