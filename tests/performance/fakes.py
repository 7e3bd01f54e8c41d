"""Whether traps are found and honest models left alone, by the suite `standard`.

    python tests/performance/fakes.py

Every trap of `tests/traps`, and honest models of many architectures, norms, trainings and both
frameworks, on digits within linf 0.15. A trap is found where a trust check is flagged, or where the
worst case is within 5 points of the truth: what remains when adversarial examples of the model
below it, which has useful gradients, are tried on the trap as well. Prints two tables in Markdown,
what the first flagged check says, and both rates. `--traps FILE.py` brings traps of your own;
`--only` takes parts of names, with commas between them, and `--part` traps or honest models alone.
Exits with 1 where a trap is missed or an honest model is flagged.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

from benchmark import datasets, frameworks

frameworks.import_torch_first()

import reports  # noqa: E402, F401 - before the tests' folder of that name

sys.path.insert(0, str(Path(__file__).parents[1]))  # whose `fakes` is meant, not this file

from traps import TRAPS, keras_traps, torch_traps  # noqa: E402, F401
from traps.honest import HONEST  # noqa: E402
from traps.measuring import base_of, measured, truth  # noqa: E402

# How near to the truth a worst case has to be where nothing is flagged.
NEAR = 0.05


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--only", default="", help="parts of names")
    parser.add_argument("--part", default="both", choices=("traps", "honest", "both"))
    parser.add_argument("--suite", default="standard", help="name or path")
    parser.add_argument("--traps", type=Path, help="a file with traps of your own")
    options = parser.parse_args()
    if options.traps:
        runpy.run_path(str(options.traps))
    data = datasets.load("digits")
    x, y = data.x_test[: options.examples], data.y_test[: options.examples]
    parts = options.only.split(",")
    wanted = {
        kind: {name: make for name, make in all_of_them.items() if any(p in name for p in parts)}
        for kind, all_of_them in (("traps", TRAPS), ("honest", HONEST))
        if options.part in (kind, "both")
    }
    if not any(wanted.values()):
        parser.error(f"no name of a trap or honest model has a part of {options.only!r}")
    missed = false = 0
    if traps := wanted.get("traps"):
        missed = _traps(traps, base_of(data, options.examples), x, y, options.suite)
        print(f"\n{len(traps) - missed} of {len(traps)} traps found.")
    if honest := wanted.get("honest"):
        false = _honest(honest, data, x, y, options.suite)
        print(f"\n{false} of {len(honest)} honest models flagged.")
    sys.exit(1 if missed or false else 0)


def _traps(traps, base, x, y, suite) -> int:
    print("| Trap | Clean | Worst case | Truth | Flagged checks | What the first says |")
    print("|---|---|---|---|---|---|")
    missed = 0
    for name, make in traps.items():
        trap = make(base)
        found = measured(trap.model, x, y, suite)
        true = truth(trap, x, y)
        true = true if trap.unseen else min(true, found.worst_case)
        is_found = bool(found.flags) or found.worst_case <= true + NEAR
        missed += not is_found
        said = next(iter(found.flags.values()), "" if is_found else "**missed**")
        numbers = " | ".join(_percent(one) for one in (found.clean, found.worst_case, true))
        print(f"| {name} | {numbers} | {', '.join(found.flags)} | {said} |", flush=True)
    return missed


def _honest(honest, data, x, y, suite) -> int:
    print("\n| Honest model | Clean | Worst case | Flagged checks |")
    print("|---|---|---|---|")
    false = 0
    for name, make in honest.items():
        found = measured(make(data), x, y, suite)
        false += bool(found.flags)
        numbers = f"{_percent(found.clean)} | {_percent(found.worst_case)}"
        print(f"| {name} | {numbers} | {', '.join(found.flags) or 'none'} |", flush=True)
    return false


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


if __name__ == "__main__":
    main()
