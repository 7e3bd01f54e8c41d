"""The site of very many cells: how long, how much memory, how large, and how fast it sorts.

    python tests/performance/thousand_cells.py [--cells N] [--keep DIR]

Writes N synthetic cells (ten groups, five defenses, two frameworks, ten seeds; four attacks on
1,000 examples each), publishes them in a process of its own, adds one cell, publishes again, and
sorts the leaderboard in Chromium by each of its columns. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmark.results import Store
from benchmark.results.identity import cell_id_of

SECONDS, MEGABYTES, PAGE_BYTES, SORT_MILLISECONDS = 60.0, 1000.0, 2_000_000, 100.0
EXAMPLES = 1000
DEFENSES = ("none", "pgd-at", "meta-adv", "trades", "fgsm-rs")
GROUPS = tuple(itertools.product(("digits", "mnist"), (0.05, 0.1, 0.15, 0.2, 0.3)))
FRAMEWORKS = ("torch", "tensorflow")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
SORT = """
const slowest = [0, ""];
for (const button of document.querySelectorAll("#board thead button")) {
  const times = [];
  for (let again = 0; again < 5; again += 1) {
    const start = performance.now();
    button.click();
    document.body.getBoundingClientRect();
    times.push(performance.now() - start);
  }
  const median = times.sort((a, b) => a - b)[2];
  if (median > slowest[0]) slowest.splice(0, 2, median, button.textContent);
}
return slowest;
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="folder for results and site, which stay")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measure(chosen.keep or Path(folder), chosen.cells)


def measure(folder: Path, cells: int) -> int:
    """Publishes, changes one cell, publishes again, sorts; returns how many targets were missed."""
    make = maker(folder / "out")
    for cell in itertools.islice(plan(), cells):
        make(*cell)
    site = folder / "site"
    seconds, megabytes = publish(folder / "out", site)
    before = nodes(site)
    make("digits", 0.05, "mart", "torch", 0)
    again, _ = publish(folder / "out", site)
    after = nodes(site)
    written = sorted(name for name, node in after.items() if before.get(name) != node)
    changed = [name for name in written if name.startswith("models/")]
    print(f"{len(before)} files, then {len(written)} written: {', '.join(written)}")
    missed = [
        judge("seconds to write the site", seconds, SECONDS),
        judge("seconds to write it again", again, SECONDS),
        judge("MB resident", megabytes, MEGABYTES),
        judge("bytes of the leaderboard", (site / "index.html").stat().st_size, PAGE_BYTES),
        judge("files of models written after one new cell", len(changed), 4),
    ]
    if shutil.which("chromium") and shutil.which("chromedriver"):
        slowest, column = sort(site)
        missed.append(judge(f"ms to sort by {column!r}", slowest, SORT_MILLISECONDS))
    else:
        print("no Chromium here: sorting was not measured")
    return sum(missed)


def judge(what: str, found: float, most: float) -> bool:
    """Prints what was found; whether it is too much."""
    print(f"{found:,.1f} {what} (at most {most:,g}){' MISSED' if found > most else ''}")
    return found > most


def plan():
    """Cells seed by seed, so that any number of them is spread over the groups."""
    for seed in itertools.count():
        for (dataset, eps), defense, framework in itertools.product(GROUPS, DEFENSES, FRAMEWORKS):
            yield dataset, eps, defense, framework, seed


def maker(out: Path):
    """A function that writes one cell, of the tests' synthetic kind."""
    path = Path(__file__).parents[1] / "reports" / "conftest.py"
    spec = importlib.util.spec_from_file_location("synthetic_results", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    synthetic = module.Synthetic(Store.create(out))
    random = np.random.default_rng(0)

    def make(dataset: str, eps: float, defense: str, framework: str, seed: int) -> None:
        usual = module.UNDEFENDED if defense == "none" else module.TRAINED
        moved = random.uniform(-0.03, 0.03)
        name = synthetic.cell(
            defense,
            framework,
            seed=seed,
            dataset=dataset,
            eps=eps,
            clean=0.95 + moved,
            robust={name: share + moved for name, share in usual.items()},
            examples=EXAMPLES,
            shape=(28, 28, 1) if dataset == "mnist" else (8, 8, 1),
            cell_id="made",
        )
        record = synthetic.store.read_cell(name)
        cell_id = cell_id_of(record["config"])
        cells = out / "cells"
        (cells / name).rename(cells / cell_id)
        synthetic.store.write_cell(cell_id, record)

    return make


def publish(out: Path, site: Path) -> tuple[float, float]:
    """Seconds and the most megabytes resident of one publication, in a process of its own."""
    start = time.monotonic()
    command = [sys.executable, "-m", "benchmark", "report", str(out), "--publish", str(site)]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    print(f"{usage.ru_utime + usage.ru_stime:.1f} seconds of processor time")
    return time.monotonic() - start, usage.ru_maxrss / 1000


def nodes(site: Path) -> dict[str, int]:
    """Each file with its inode, which is another once it was written again."""
    paths = (path for path in site.rglob("*") if path.is_file())
    return {path.relative_to(site).as_posix(): path.stat().st_ino for path in paths}


def sort(site: Path) -> tuple[float, str]:
    """The column that sorts slowest: the median of five times in ms, with layout, and its name."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS:
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        browser.set_window_size(1400, 1000)
        browser.get((site / "index.html").absolute().as_uri())
        browser.execute_script(SORT)  # the first round warms up
        milliseconds, column = browser.execute_script(SORT)
    finally:
        browser.quit()
    return milliseconds, column.strip()


if __name__ == "__main__":
    raise SystemExit(min(main(), 1))
