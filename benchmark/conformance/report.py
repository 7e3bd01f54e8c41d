"""What a check came to, and the process that checks run in."""

from __future__ import annotations

import importlib
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmark import frameworks
from benchmark.child import Child
from benchmark.errors import BenchError, CheckError
from benchmark.text import reason_of
from defenses.errors import DefenseError

SERVE = "benchmark.conformance.report:serve"

PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"

# Kind of a part to what gives its checks: name of a check to what does it.
_CHECKS: Mapping[str, str] = {
    "defenses": "benchmark.conformance.defense:checks",
    "attacks": "benchmark.conformance.attack:checks",
    "datasets": "benchmark.conformance.parts:dataset_checks",
    "models": "benchmark.conformance.parts:model_checks",
}
KINDS = tuple(_CHECKS)

# Whose code a part's author can't mend
_OF_OTHERS = {
    *sys.stdlib_module_names,
    *("benchmark", "defenses", "art", "higher", "keras", "numpy", "scipy", "tensorflow", "torch"),
}
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True)
class Row:
    """One check: its name, PASSED, FAILED or NOT_APPLICABLE, and what was seen."""

    name: str
    status: str
    text: str


@dataclass(frozen=True)
class Unusable:
    """Why a part can't be tried at all."""

    text: str


class NotApplicable(Exception):
    """Why a check says nothing of this part."""


class Broken(Exception):
    """What a part does otherwise than expected."""


# Raises `Broken` or `NotApplicable`; returns what was seen.
Check = Callable[[], str]


def rows(kind: str, name: str, **given: Any) -> Iterator[Row]:
    """The checks of a part, one after the other, here; both frameworks are imported.

    Args:
        kind: of `KINDS`.
        name: of the part.
        given: what its checks want to know beside.

    Raises:
        BenchError, DefenseError: the part can't be used, so that nothing can be checked.
    """
    module, _, function = _CHECKS[kind].partition(":")
    made = getattr(importlib.import_module(module), function)
    try:
        checks: Mapping[str, Check] = made(name, **given)
    except (BenchError, DefenseError):
        raise
    except (Exception, SystemExit) as error:  # whatever the part's own code raises
        told = f"{kind[:-1]} {name!r} can't be tried: {reason_of(error)}{_place(error)}"
        raise CheckError(told) from error
    for check, do in checks.items():
        try:
            yield Row(check, PASSED, do())
        except NotApplicable as error:
            yield Row(check, NOT_APPLICABLE, str(error))
        except Broken as error:
            yield Row(check, FAILED, str(error))
        except (Exception, SystemExit) as error:  # whatever the part's own code raises
            traceback.print_exc()
            yield Row(check, FAILED, reason_of(error) + _place(error))


def _place(error: BaseException) -> str:
    """Where in its author's code it was raised, or what that code called; nothing if in none."""
    own = found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__")).partition(".")[0]
        file = Path(frame.f_code.co_filename)
        if module in _OF_OTHERS or file.name.startswith("__autograph"):
            continue
        own = own or module
        # Any other installed package is a library that the part calls
        if module == own or _INSTALLED.isdisjoint(file.parts):
            found = f" ({file.name}, line {line})"
    return found


def checked(kind: str, name: str, **given: Any) -> Iterator[Row]:
    """`rows`, of a process of its own; raises `CheckError` where it dies or can't try the part."""
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        log = Path(folder) / "check.log"
        with Child(
            SERVE, log, framework="torch", device="cpu", threads=1, name="bench-check"
        ) as child:
            answer = child.ask((kind, name, given))
            while isinstance(answer, Row):
                yield answer
                answer = child.answer()
            if isinstance(answer, Unusable):
                raise CheckError(answer.text)
            if answer != "done":
                raise CheckError(f"{kind[:-1]} {name!r}: the process of its check {child.ending()}")


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    """Sends each row of one part, and "done"."""
    kind, name, given = connection.recv()
    for one in frameworks.FRAMEWORKS:
        frameworks.prepare(one, device=device, threads=threads)
    try:
        for row in rows(kind, name, **given):
            connection.send(row)
    except (BenchError, DefenseError) as error:
        connection.send(Unusable(str(error)))
    connection.send("done")
