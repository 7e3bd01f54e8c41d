"""A process that answers messages: what it says, how it dies, and that it is never left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from benchmark.child import Child

THREADING = ("OPENBLAS_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def serve(connection, framework, device, threads):
    while True:
        message = connection.recv()
        if message == "show a bar":
            list(tqdm([0], disable=True))
        if message == "die":
            print("out of memory")
            os._exit(3)
        if message == "threading":
            message = tuple(os.environ.get(name) for name in THREADING)
        if message == "threading at first":
            message = sys.modules["__mp_main__"].AT_FIRST
        connection.send((message, framework, device, threads, os.getpid()))


@pytest.fixture
def child(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    log = tmp_path / "child.log"
    log.write_text("of an earlier process\n")
    return lambda: Child(
        "test_child:serve", log, framework="torch", device="cpu", threads=2, name="child"
    )


def test_it_answers_until_it_is_left_and_ends_then(child):
    with child() as one:
        *answer, number = one.ask("first")
        assert answer == ["first", "torch", "cpu", 2]
        assert one.ask("second")[0] == "second"

    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_its_death_is_an_answer_of_none_with_its_last_words(child):
    with child() as one:
        assert one.ask("die") is None
        assert one.ending() == "ended with exit code 3: out of memory"
        assert one.ask("more") is None


def ran(text, folder):
    """A script that is given the name of a log, as it ended."""
    program = folder / "program.py"
    program.write_text(text)
    tests = Path(__file__).parent
    return subprocess.run(
        [sys.executable, program, folder / "child.log"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)])},
        timeout=60,
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("1", "10000", None)),
        ({"OPENBLAS_NUM_THREADS": "4"}, ("4", "10000", None)),
        ({"GOMP_SPINCOUNT": "7"}, ("1", "7", None)),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ("1", None, "ACTIVE")),
    ],
)
def test_threads_of_libraries_do_not_wait_for_each_other_unless_the_user_says(
    child, monkeypatch, given, expected
):
    for name in THREADING:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    with child() as one:
        assert one.ask("threading")[0] == expected
    assert all(os.environ.get(name) == given.get(name) for name in THREADING)


THREADING_AT_FIRST = """
import os, sys
from pathlib import Path
AT_FIRST = os.environ.get("OPENBLAS_NUM_THREADS")
from benchmark.child import Child

if __name__ == "__main__":
    setting = {"framework": "torch", "device": "cpu", "threads": 1}
    with Child("test_child:serve", Path(sys.argv[1]), name="child", **setting) as child:
        print(AT_FIRST, child.ask("threading at first")[0])
"""


def test_they_do_not_where_a_script_imports_numpy_at_its_head(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    done = ran(THREADING_AT_FIRST, tmp_path)
    assert (done.stdout, done.stderr) == ("None 1\n", "")


ENDED_FROM_OUTSIDE = """
import os, signal, sys
from pathlib import Path
from benchmark.child import Child

if __name__ == "__main__":
    log, setting = Path(sys.argv[1]), {"framework": "torch", "device": "cpu", "threads": 1}
    with Child("test_child:serve", log, name="child", **setting) as child:
        os.kill(child.ask("show a bar")[-1], signal.SIGKILL)
        assert child.answer() is None
"""


def test_who_is_ended_from_outside_leaves_no_warning_in_the_terminal(tmp_path):
    done = ran(ENDED_FROM_OUTSIDE, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
