"""Every evasion attack of ART through our estimators and through ART's own, one row each.

    python tests/performance/estimator_equality.py [--only TEXT]

The table of `tests/equality_table.py`, its slow rows too. Exits with 1 where adversarial
examples differ by more than the row's tolerance, or where an attack changed nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))

from equality_table import CASES, FRAMEWORKS, difference


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    missed = False
    for name, case in CASES.items():
        for framework in FRAMEWORKS:
            if options.only not in name:
                continue
            if framework in case.impossible:
                print(f"{name:24}{framework:12}left out: {case.impossible[framework]}")
                continue
            started = time.perf_counter()
            apart, moved = difference(name, framework)
            seconds = time.perf_counter() - started
            same = apart <= case.tolerance and moved > 0
            missed |= not same
            print(
                f"{name:24}{framework:12}{'same' if same else 'DIFFERENT'}, apart {apart:.1e}, "
                f"moved by up to {moved:.2f}, {seconds:.1f} s",
                flush=True,
            )
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
