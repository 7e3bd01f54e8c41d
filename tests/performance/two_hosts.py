"""Several hosts on one store, killed and stopped at random: no stage is lost, none is doubled.

    python tests/performance/two_hosts.py --count 100 --seed 0

Each interleaving has two processes that take each other for another machine's. Both want to do the
same cells in one folder; whoever holds it works, the other one waits for a sign of it. At random
times one is killed, or stopped, often for longer than a lease lasts, and then let go on. In the end
every stage must be there once, whole, and as the one wrote it who made it known first: so who was
followed has written nothing since.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmark.errors import StoreError
from benchmark.results import Store, lease
from benchmark.results.files import write_bytes

CELLS, STAGES = 12, ("training", "adaptation", "attacks/pgd-1")
lease.HEARTBEAT, lease.EXPIRES, lease._LOOK = 0.02, 0.3, 0.01


def main() -> None:
    """Interleaves, and says how often what happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--host", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.host:
        be_host(*chosen.host)
        return
    draws = random.Random(chosen.seed)
    tally = {"killed": 0, "stopped": 0, "followed": 0}
    for _ in range(chosen.count):
        with tempfile.TemporaryDirectory(prefix="two-hosts-") as folder:
            interleave(Path(folder) / "out", draws, tally)
    told = ", ".join(f"{count} {what}" for what, count in tally.items())
    print(f"{chosen.count} interleavings ({told}): every stage there once, and whole")


def interleave(out: Path, draws: random.Random, tally: dict[str, int]) -> None:
    """One folder, until its work is done."""
    store = Store.create(out)
    hosts = {name: start(out, name) for name in ("a", "b")}
    deadline = time.monotonic() + 60
    while any(host.poll() is None for host in hosts.values()):
        if time.monotonic() > deadline:
            raise SystemExit("the work was not done in a minute")
        time.sleep(draws.uniform(0, 0.5))
        name = draws.choice(sorted(hosts))
        if hosts[name].poll() is not None:
            continue
        if draws.random() < 0.3:
            hosts[name].kill()
            hosts[name].wait()
            hosts[name] = start(out, name)
            tally["killed"] += 1
        else:
            hosts[name].send_signal(signal.SIGSTOP)
            time.sleep(draws.uniform(0, 4 * lease.EXPIRES))
            hosts[name].send_signal(signal.SIGCONT)
            tally["stopped"] += 1
    codes = {name: host.returncode for name, host in hosts.items()}
    if set(codes.values()) != {0}:
        raise SystemExit(f"hosts ended with {codes}")
    check(store, tally)


def start(out: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__, "--host", str(out), name])


def be_host(out: str, name: str) -> None:
    """Works until all is done, and writes down what it made known, after that."""
    lease.machine = lambda: name
    store = Store.open(out)
    while not all(done(store, cell, stage) for cell in range(CELLS) for stage in STAGES):
        try:
            with store.lock() as held:
                work(held, name)
        except StoreError as error:
            if "taken over" in str(error):
                note(store, name, "followed", "", "")
            time.sleep(0.02)


def work(held: Store, name: str) -> None:
    """Does what is left; a worker writes each stage aside, and we make it known a little later."""

    def publish(cell: str, stage: str, files: Mapping[str, str]) -> None:
        time.sleep(0.02)
        held.publish(cell, stage, files)

    worker = replace(held, hand_over=publish)
    for cell in range(CELLS):
        for stage in STAGES:
            if not done(held, cell, stage):
                nonce = os.urandom(8).hex()
                write = functools.partial(write_bytes, content=nonce.encode() * 100)
                files = {f"{stage.rpartition('/')[2]}.npz": write}
                worker.write_stage(f"cell-{cell}", stage, {"nonce": nonce}, files)
                note(held, name, "stored", f"cell-{cell}/{stage}", nonce)


def done(store: Store, cell: int, stage: str) -> bool:
    return Store.open(store.path, anew=True).read_stage(f"cell-{cell}", stage) is not None


def note(store: Store, name: str, what: str, stage: str, nonce: str) -> None:
    line = json.dumps({"what": what, "host": name, "stage": stage, "nonce": nonce})
    with open(store.path.parent / f"{name}.jsonl", "a", encoding="utf-8") as stream:
        stream.write(f"{line}\n")


def check(store: Store, tally: dict[str, int]) -> None:
    """Ends the program unless every stage is as the first who made it known wrote it."""
    told = [
        json.loads(line)
        for file in store.path.parent.glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    tally["followed"] += sum(line["what"] == "followed" for line in told)
    for cell in range(CELLS):
        for stage in STAGES:
            record = store.read_stage(f"cell-{cell}", stage)
            by = [line for line in told if line["stage"] == f"cell-{cell}/{stage}"]
            if record is None or len(by) > 1 or (by and by[0]["nonce"] != record["nonce"]):
                raise SystemExit(f"cell-{cell}/{stage}: {record} was written by {by}")


if __name__ == "__main__":
    main()
