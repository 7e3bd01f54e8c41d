"""Every example in the documentation and the README: Python runs, and `bench` takes its commands.

A page is followed from top to bottom in a folder of its own: blocks with a title become files,
Python is executed, and commands are read by the program's own parser; runs are planned, and what is
quick is carried out.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from benchmark import datasets, frameworks
from benchmark.attacks.suites import load_suite
from benchmark.cli.app import app
from benchmark.config import RunConfig, read

frameworks.import_torch_first()

# ART sets logging up anew, which closes what handlers write to: in a test, what pytest captures.
import art  # noqa: E402, F401

ROOT = Path(__file__).parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path
    for folder in (
        ".",
        "docs",
        "docs/concepts",
        "docs/evidence",
        "docs/how-to",
        "tests/performance",
    )
    for path in sorted((ROOT / folder).glob("*.md"))
    if path.name != "CHANGELOG.md"
}
FENCE = re.compile(
    r'^```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.M | re.S
)
COMMAND = re.compile(r"\s*(?:\S*/)?(?:bench|python) ")
INDENTED = re.compile(r"(?:^|(?<=\n))(?: {4}.*\n)+")
QUICK = ("list", "schema")  # of the commands; the others need results
# Runs with these can't be planned here: their libraries, GPUs, clusters or classes aren't there.
LIBRARIES = ("torchvision:", "timm:", "hf:", "keras:")
ELSEWHERE = (*LIBRARIES, "--executor", "--devices", "omniglot", "nets.py", "mine.yaml")
# Options of data, which digits stand for where they aren't there.
OF_DATA = ("--data-dir", "--image-size", "--label")
BENCH: Any = typer.main.get_command(app)


class Block(NamedTuple):
    language: str
    title: str | None
    text: str


def blocks(page: str) -> Iterator[Block]:
    """A page's fenced blocks, then its indented ones."""
    for found in FENCE.finditer(page):
        yield Block(found["language"], found["title"], found["text"])
    for found in INDENTED.finditer(FENCE.sub("", page)):
        yield Block("sh", None, re.sub(r"^ {4}", "", found[0], flags=re.M))


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command line of a block, without what a shell does around it."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\|\|", line):
            if COMMAND.match(part):
                program, *words = shlex.split(part, comments=True)
                yield [Path(program).name, *words]


def parsed(words: list[str]) -> Any:
    """The context that the program makes of a command; raises where it knows an option not."""
    with BENCH.make_context("bench", [], resilient_parsing=True) as top:
        name, *rest = words
        return BENCH.commands[name].make_context(name, rest, parent=top)


@pytest.fixture
def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Any) -> Any:
    """Follows a page in a folder of its own."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")  # evidence names suites by their paths
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
    frameworks.import_torch_first()
    before = set(sys.modules)
    names: dict[str, Any] = {}

    def do(block: Block) -> None:
        if block.title is not None:
            Path(block.title).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text, "page", "exec"), names)
        elif block.language == "sh":
            for words in commands(block):
                carry_out(words, bench)

    yield do
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def carry_out(words: list[str], bench: Any) -> None:
    program, *rest = words
    if program == "python":
        script = Path(rest[0])
        assert rest[0].startswith("-") or script.is_file()
        if script.suffix and script.parent == Path():  # one of the page itself
            exec(compile(script.read_text(), rest[0], "exec"), {"__name__": "__main__"})
        return
    if rest[0].startswith("-"):
        assert bench(*rest).code == 0
        return
    context = parsed(rest)
    if rest[0] == "run":
        check_run(context, rest, bench)
    elif rest[0] == "attack":
        # Channels are those of the data, which are grey unless told
        assert "," not in (context.params.get("mean") or "") or context.params.get("dataset")
        if suite := context.params.get("suite"):
            load_suite(suite)
    elif rest[0] in QUICK:
        result = bench(*rest)
        assert result.code == 0, result.err


def check_run(context: Any, words: list[str], bench: Any) -> None:
    """The configuration is one, and where everything is there, the run can be planned."""
    given = {
        name: value
        for name, value in context.params.items()
        if name in RunConfig.model_fields and value not in (None, ())
    }
    others = {"file": context.params["config"], "assignments": context.params["assignment"] or []}
    dataset = read(given, **others).dataset
    _, _, path = dataset.partition(":")
    datasets.defaults(dataset)  # raises where there is no such one
    # Most networks of libraries don't take digits
    assert "--dataset" in words or not any(word.startswith(LIBRARIES) for word in words)
    missing = [word for word in words if word.startswith(ELSEWHERE)]
    if any(not Path(word.partition(":")[0]).exists() for word in missing):
        return
    if not Path(path or "digits").exists():
        words = without(words, "--dataset", *OF_DATA)
    result = bench(
        *(word for word in words if word not in ("--dry-run", "--download")), "--dry-run"
    )
    assert result.code == 0, result.err


def without(words: list[str], *options: str) -> list[str]:
    """A command line without these options and their values."""
    named = [number for number, word in enumerate(words) if word in options]
    return [word for number, word in enumerate(words) if not {number, number - 1} & set(named)]


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_what_a_page_shows_works(path: Path, follow: Any) -> None:
    page = path.read_text(encoding="utf-8")
    for block in blocks(page):
        follow(block)


def test_an_option_that_is_not_there_is_noticed(follow: Any) -> None:
    with pytest.raises(typer.BadParameter.__base__, match="No such option"):
        follow(Block("sh", None, "bench check results --least 0.4"))


@pytest.mark.parametrize(
    "line",
    [
        "bench run --defense pgd-att",
        "bench run --defense pgd-at --suite quik",
        "bench list nothing",
    ],
)
def test_a_name_that_is_not_there_is_noticed(follow: Any, line: str) -> None:
    with pytest.raises(AssertionError, match=r"did you mean|unknown"):
        follow(Block("sh", None, line))
