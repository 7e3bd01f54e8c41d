"""YAML that people write, read as what JSON knows: small files, shallow, without aliases or tags.

A few lines of aliases can stand for gigabytes, a few thousand brackets overflow the stack, and
YAML 1.1 sees dates, octal numbers and base 60 where nobody meant any. None of this belongs into a
configuration or a suite.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import ValidationError
from yaml.constructor import ConstructorError

from benchmark.errors import BenchError, shortened
from benchmark.paths import expanded
from benchmark.results.files import read_plain

LARGEST = 128 << 10  # bytes of a file; the longest suite of ours takes 5,000
DEEPEST = 20  # mappings and lists within each other
_LONGEST_NUMBER = 100  # digits

# 010 is 8 to YAML 1.1, and 1:30 is 90.
_ANOTHER_BASE = re.compile(r"[+-]?(0[0-9_]+|[0-9][0-9_]*:.*)")

_JSON_TAGS = ("null", "bool", "int", "float", "str", "seq", "map")


class NotYaml(ValueError):
    """Text that is not read; its message is one short line."""


def read(path: Path) -> Any:
    """What a YAML file holds: None, bool, int, float, str, list and dict.

    Raises `NotYaml` for what `parse` refuses, and `OSError` for what is no regular file, can't be
    read or takes more than `LARGEST` bytes.
    """
    return parse(text(path))


def of_option(option: str, path: str, hint: str, refused: type[BenchError]) -> Any:
    """What the file holds that an option names; raises `refused` where it isn't read."""
    try:
        return read(expanded(path))
    except OSError as error:
        raise refused(f"{option} {path!r} can't be read ({error.strerror}); give {hint}") from error
    except NotYaml as error:
        raise refused(f"{option} {path!r} is not YAML: {error}") from error


def text(path: Path) -> str:
    """The text of a YAML file; raises as `read` does, but doesn't look at what it says."""
    try:
        return read_plain(path, largest=LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotYaml(f"it is no text in UTF-8 ({error.reason})") from error


def parse(content: str) -> Any:
    """The same of a text; raises `NotYaml`, with line and column where they help."""
    try:
        loader = _Loader(content)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise NotYaml(_one_line(error)) from error
    except (ValueError, OverflowError) as error:
        # Versions of Python differ in what they say of "\Uffffffff", and none says what it is
        beyond = isinstance(error, OverflowError) or "chr()" in str(error)
        told = "an escape in it is no character of Unicode" if beyond else str(error)
        raise NotYaml(_shortened(told, 200)) from error


def fault(error: ValidationError) -> tuple[str, str]:
    """The first thing that pydantic found wrong: where, and what in our words."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
    if first["type"] == "value_error":
        return path, str(first["ctx"]["error"])
    message = first["msg"].replace("Input should be", "must be")
    # Of what is missing pydantic gives all that stands around it
    got = "" if first["type"] == "missing" else f", got {shortened(first['input'])}"
    return path, f"{message[0].lower()}{message[1:]}{got}"


_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with bounds; it makes nothing but what JSON knows."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            _refuse("aliases (*) are not taken; write the values out", self.peek_event().start_mark)
        self.depth += 1
        if self.depth > DEEPEST:
            _refuse(f"nested deeper than {DEEPEST} levels", self.peek_event().start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
        except (ValueError, LookupError, OverflowError) as error:
            if isinstance(error, yaml.YAMLError):
                raise
            kind = node.tag.rpartition(":")[2]
            _refuse(f"{_shortened(str(node.value))} can't be read as {kind}", node.start_mark)
        if type(value) in (int, float) and _ANOTHER_BASE.fullmatch(node.value):
            text = _shortened(node.value)
            hint = "write the number that is meant, or quotes if it is text"
            _refuse(f"YAML reads {text} as {value}; {hint}", node.start_mark)
        if type(value) is int and abs(value) >= 10**_LONGEST_NUMBER:
            _refuse(f"a number of more than {_LONGEST_NUMBER} digits", node.start_mark)
        if type(value) is str and any("\ud800" <= c <= "\udfff" for c in value):
            _refuse("half of a character, which no file can hold", node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Of two values of one key YAML lets the last win, which nobody means."""
        seen = set()
        for key, value in node.value:
            if key.tag == _MERGE and isinstance(value, yaml.MappingNode):
                self.construct_mapping(value, deep=deep)  # which is looked at before it is merged
            if isinstance(key, yaml.ScalarNode):
                told = key.tag if key.tag == _MERGE else self.construct_object(key)
                if told in seen:
                    _refuse(f"{_shortened(key.value)} stands there twice", key.start_mark)
                seen.add(told)
        return super().construct_mapping(node, deep=deep)

    def construct_date(self, node: yaml.Node) -> NoReturn:
        """Dates have no use here, and `2001-99-99` is none."""
        text = _shortened(str(node.value))
        _refuse(f"{text} looks like a date; put it in quotes if it is text", node.start_mark)


_Loader.yaml_constructors = {
    tag: made
    for tag, made in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in _JSON_TAGS
}
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_date)


def _refuse(problem: str, mark: Any) -> NoReturn:
    raise ConstructorError(problem=problem, problem_mark=mark)


def _one_line(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return f"{_shortened(problem, 200)}{where}"


def _shortened(text: str, longest: int = 40) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
