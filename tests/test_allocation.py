"""Memory that arrays of an attack give back is kept for the next ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource
import numpy as np
from benchmark import frameworks

{prepare}

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def rounds():
    for _ in range(50):
        one = np.ones(2**20, dtype=np.float32)
        other = one + one
        del one, other

rounds()
before = faults()
rounds()
print(faults() - before)
"""


def page_faults(prepare: str) -> int:
    script = SCRIPT.format(prepare=prepare)
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return int(found.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_arrays_that_come_and_go_are_given_the_same_memory() -> None:
    assert page_faults("frameworks.keep_memory()") < 1000
    assert page_faults("") > 10_000
