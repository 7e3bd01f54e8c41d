"""The errors that a user can meet, each one line long.

BenchError                  exit code 2: wrong input, nothing was written
├── ConfigError             a flag, a YAML key or a value
│   └── UnknownName         a name that no table holds, with "did you mean"
├── DataError               a data set that can't be read or makes no sense
│   └── SizesDiffer         images of several sizes, and none was asked for
├── ModelError              a model that can't be built for these data
├── SuiteError              a suite file, an attack or its arguments
├── StoreError              an output folder that can't be used
│   ├── SchemaError         a stored record that is none of this project's
│   ├── FullError           exit code 1: its disk is full
│   └── MovedError          exit code 1: it was moved or removed while a run wrote to it
├── CellError               exit code 1: a cell failed while it ran
├── CheckError              exit code 1: stored results don't hold what is claimed or asked of them
└── ReportError             exit code 1: the results are stored, their report isn't written
"""

from __future__ import annotations

from collections.abc import Iterable

# Of a value or a name that an error line repeats.
_LONGEST = 80


class BenchError(Exception):
    """Wrong input: says what was given, what is allowed and the likely fix."""

    exit_code = 2


class ConfigError(BenchError):
    """A flag, a configuration key or a value that is not allowed."""


class UnknownName(ConfigError):
    """A name that is not in its table."""

    def __init__(self, kind: str, name: str, allowed: Iterable[str], listing: str = "") -> None:
        allowed = list(allowed)
        # Here, because `bench --help` does without
        from defenses.errors import did_you_mean

        meant = did_you_mean(name, allowed, listing=listing)
        super().__init__(f"unknown {kind} {shortened(name)}{meant}")


class DataError(BenchError):
    """A data set that can't be read, or whose content can't be used."""


class SizesDiffer(DataError):
    """Images of several sizes, and none was asked for."""

    def __init__(self, found: str) -> None:
        self.found = f"images differ in size: {found}"
        super().__init__(f"{self.found}; give --image-size N to resize all to NxN")


class ModelError(BenchError):
    """A model that can't be built for this input shape or class count."""


class SuiteError(BenchError):
    """A suite that can't be read, or an attack in it that can't be run."""


class StoreError(BenchError):
    """An output folder that can't be written, locked or understood."""


class SchemaError(StoreError):
    """A stored record that doesn't follow the schema, and in what."""


class FullError(StoreError):
    """An output folder whose disk has no room for what is to be written."""

    exit_code = 1


class MovedError(StoreError):
    """An output folder that is not where it was when the run began."""

    exit_code = 1


class CellError(BenchError):
    """A cell failed while it ran; the others went on."""

    exit_code = 1


class CheckError(BenchError):
    """Stored results that are damaged, or don't hold what they claim or what was asked of them."""

    exit_code = 1


class ReportError(BenchError):
    """The results are stored, but what shows them could not be written."""

    exit_code = 1


def shortened(value: object) -> str:
    """A value as Python writes it, cut to what fits into an error line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or of brackets
        return f"a {type(value).__name__} too long to show"
    text = " ".join(text.split()) if "\n" in text else text  # as arrays are written
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
