"""YAML and paths that people write: what is no JSON, or no regular file, is one line at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark import documents
from benchmark.attacks.suites import load_suite
from benchmark.config import read
from benchmark.errors import BenchError, ConfigError
from benchmark.paths import expanded

BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)
)
REFUSED = {
    "alias bomb": (BOMB, "aliases .* are not taken; write the values out .line 2"),
    "alias of itself": ("&a [*a]", "aliases"),
    "21 brackets": ("[" * 21 + "]" * 21, "nested deeper than 20 levels"),
    "3,000 brackets": ("[" * 3000, "nested deeper than 20 levels"),
    "deep mappings": ("\n".join(" " * n + "a:" for n in range(300)), "nested deeper"),
    "no date": ("a: 2001-99-99", "looks like a date; put it in quotes"),
    "a date": ("a: 2001-01-01", "looks like a date; put it in quotes"),
    "timestamp": ("a: !!timestamp x", "looks like a date"),
    "octal": ("a: 010", "YAML reads 010 as 8; write the number .* quotes if .* .line 1, column 4"),
    "a name of zeros": ("a: [00001]", "YAML reads 00001 as 1; write"),
    "base 60": ("a: 1:30", "YAML reads 1:30 as 90; write"),
    "base 60 with a fraction": ("a: 1:30.5", "YAML reads 1:30.5 as 90.5; write"),
    "6,000 digits": ("a: " + "9" * 6000, r"9{37}\.\.\. can't be read as int"),
    "9,000 hex digits": ("a: 0x" + "f" * 9000, "a number of more than 100 digits"),
    "less than minus that": ("a: -0x" + "f" * 9000, "a number of more than 100 digits"),
    "no boolean": ("a: !!bool x", "x can't be read as bool"),
    "no integer": ("a: !!int ''", "can't be read as int"),
    "a set": ("a: !!set {b}", "could not determine a constructor for the tag"),
    "bytes": ("a: !!binary eA==", "could not determine a constructor for the tag"),
    "half a character": (r'a: "\ud800"', "half of a character"),
    "its other half": (r'a: "x\udfff"', "half of a character"),
    "beyond Unicode": (r'a: "\Uffffffff"', "an escape in it is no character of Unicode"),
    "a long tag": ("a: !" + "x" * 5000 + " b", "could not determine"),
    "a name twice": ("a: 1\nb: {c: 1, c: 2}", "c stands there twice .line 2, column 11"),
    "a name twice in other letters": ("{yes: 1, true: 2}", "true stands there twice"),
    "a name twice in what is merged": ("<<: {a: 1, a: 2}", "a stands there twice"),
    "a list as a name": ("? [a]\n: b", "unhashable key"),
}


@pytest.mark.parametrize(("text", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_json_is_refused_in_one_short_line(text: str, problem: str) -> None:
    with pytest.raises(documents.NotYaml, match=problem) as caught:
        documents.parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_what_json_knows_is_read() -> None:
    text = "a: [1, 0, -0.5, 2.5, true, null, 'x', 2001-1]\nb: {c: &unused 1e3}\n<<: {d: yes}"
    assert documents.parse(text) == {
        "a": [1, 0, -0.5, 2.5, True, None, "x", "2001-1"],
        "b": {"c": "1e3"},
        "d": True,
    }


def test_many_values_beside_each_other_and_twenty_levels_are_read() -> None:
    assert documents.parse("[" + "0, " * 100 + "]") == [0] * 100
    assert documents.parse("[" * 20 + "]" * 20) is not None


def latin(path: Path) -> Path:
    path.write_bytes(b"# caf\xe9")
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def device(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


def large(path: Path) -> Path:
    path.write_bytes(b"#" * (documents.LARGEST + 1))
    return path


UNREAD = {
    "a pipe": (pipe, "it is not a regular file"),
    "a device": (device, "it is not a regular file"),
    "a file of another encoding": (latin, "it is no text in UTF-8"),
    "a large file": (large, "it is larger than 131,072 bytes"),
}
READERS = {
    "configuration": lambda path: read({}, file=path),
    "suite": lambda path: load_suite(str(path)),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(("make", "problem"), UNREAD.values(), ids=UNREAD)
def test_only_small_regular_files_are_read(
    tmp_path: Path,
    make: Callable[[Path], Path],
    problem: str,
    reader: Callable[[Path], object],
) -> None:
    path = make(tmp_path / "mine.yaml")
    with pytest.raises(BenchError, match=problem) as caught:
        reader(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_bad_file_is_an_error_of_its_reader(
    tmp_path: Path, reader: Callable[[Path], object]
) -> None:
    (tmp_path / "mine.yaml").write_text(BOMB)
    with pytest.raises(BenchError, match="YAML: aliases"):
        reader(tmp_path / "mine.yaml")


def test_a_user_that_is_not_there_is_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"'~nouser/x' begins with a user .*; write './~nouser/x'"
    ):
        expanded("~nouser/x")
    with pytest.raises(ConfigError, match="begins with a user"):
        read({"defense": ["none"], "out": "~nouser/x"})
