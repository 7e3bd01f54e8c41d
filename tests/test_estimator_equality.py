"""Every evasion attack of ART finds the same through our estimators as through ART's own."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from equality_table import CASES, FRAMEWORKS, LEFT_OUT, difference

RUNS = [
    (name, framework)
    for name, case in CASES.items()
    for framework in FRAMEWORKS
    if framework not in case.impossible and not case.slow
]


@pytest.mark.parametrize(("name", "framework"), RUNS, ids=[f"{n}, {f}" for n, f in RUNS])
@pytest.mark.filterwarnings("ignore")  # ART's attacks divide by zero, and by what is none
def test_an_attack_finds_the_same_through_both(name, framework):
    apart, moved = difference(name, framework)
    assert apart <= CASES[name].tolerance
    assert moved > 0


def test_the_table_holds_every_attack_of_art():
    from art.attacks import evasion
    from art.attacks.attack import EvasionAttack

    exported = {
        name
        for name, one in vars(evasion).items()
        if inspect.isclass(one) and issubclass(one, EvasionAttack)
    }
    # Exported only where the package numba is installed.
    exported -= {"BrendelBethgeAttack"}
    held = {case.attack for case in CASES.values() if ":" not in case.attack}
    assert exported == held | set(LEFT_OUT)
    assert not held & set(LEFT_OUT)
