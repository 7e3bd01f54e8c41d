"""What `--executor ray` costs the default command on one machine.

    python tests/performance/ray_cost.py [--rounds 2] [-- more options of bench run]

Runs `bench run --defense meta-adv` in turns without and with it, each in a folder of its own. Exits
with 1 where the fastest run with it takes more than ten seconds longer than the fastest without, or
where arrays and weights differ.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST = 10.0
COMMAND = ("-m", "benchmark", "run", "--defense", "meta-adv")


def main() -> int:
    """Measures; returns 1 where too much was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("more", nargs="*")
    chosen = parser.parse_args()
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="ray-cost-") as folder:
        for _ in range(chosen.rounds):
            for executor in ("local", "ray"):
                out = Path(folder) / f"{executor}-{time.monotonic_ns()}"
                took = run(executor, out, chosen.more)
                best[executor] = min(took, best.get(executor, took))
                (Path(folder) / executor).unlink(missing_ok=True)
                (Path(folder) / executor).symlink_to(out)
        differing = different(Path(folder) / "local", Path(folder) / "ray")
    more = best["ray"] - best["local"]
    print(
        f"local {best['local']:.1f} s, ray {best['ray']:.1f} s: {more:+.1f} s "
        f"(at most {MOST:g}){' MISSED' if more > MOST else ''}; files that differ: {differing or 0}"
    )
    return int(more > MOST or bool(differing))


def run(executor: str, out: Path, more: list[str]) -> float:
    """Seconds of one run."""
    command = [sys.executable, *COMMAND, "--executor", executor, "--out", str(out), *more]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def different(ours: Path, theirs: Path) -> list[str]:
    """Arrays and weights that aren't the same; transfers are made by whoever comes second."""
    found = [
        {
            path.relative_to(out).as_posix(): path.read_bytes()
            for path in out.glob("cells/**/*")
            if path.suffix in (".npz", ".safetensors", ".h5") and path.parent.name != "transfers"
        }
        for out in (ours.resolve(), theirs.resolve())
    ]
    return sorted(
        name for name in found[0].keys() | found[1] if found[0].get(name) != found[1].get(name)
    )


if __name__ == "__main__":
    raise SystemExit(main())
