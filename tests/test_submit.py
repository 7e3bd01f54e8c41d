"""`bench submit`: what holds is packed, the same bytes each time, and what doesn't is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import real_results
import yaml

import benchmark.verify
from benchmark import replay
from benchmark.errors import ConfigError
from benchmark.results import Store
from benchmark.results.identity import PROTOCOL_VERSION, SCHEMA_VERSION
from benchmark.submission import request
from benchmark.submission.card import EXAMPLE, Card, read
from benchmark.verify import Claim, Verdict

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cell of an undefended model."""
    folder = tmp_path_factory.mktemp("submitted") / "results"
    suite = folder.parent / "one.yaml"
    suite.write_text("description: one\nattacks:\n  fgsm: {attack: fast-gradient}\n")
    real_results.make(folder, "torch", defense="none", suite=str(suite), examples=20)
    return folder


@pytest.fixture
def results(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, whose claims are replayed in this process."""

    def verify(claims: Any) -> Any:
        return [Verdict(claim, *replay.replay(claim, device="cpu")) for claim in claims]

    monkeypatch.setattr(benchmark.verify, "verify", verify)
    (tmp_path / "card.yaml").write_text(EXAMPLE)
    return Path(shutil.copytree(made, tmp_path / "results"))


def submit(bench: Any, results: Path, out: str = "out") -> Any:
    work = results.parent
    return bench("submit", results, "--card", work / "card.yaml", "--out", work / out)


def test_the_same_results_give_the_same_archive(bench: Any, results: Path, tmp_path: Path) -> None:
    first = submit(bench, results, "first")
    (results / "logs").mkdir(exist_ok=True)
    (results / "logs" / "later.log").write_text("what lies beside the results")
    moved = Path(shutil.move(results, tmp_path / "moved"))
    second = submit(bench, moved, "second")

    assert (first.code, second.code) == (0, 0), first.err + second.err
    archives = [(tmp_path / name / "submission.tar").read_bytes() for name in ("first", "second")]
    assert archives[0] == archives[1]
    assert hashlib.sha256(archives[0]).hexdigest() in first.out


def test_an_archive_holds_the_results_and_sums_that_fit(
    bench: Any, results: Path, tmp_path: Path
) -> None:
    assert submit(bench, results).code == 0
    with tarfile.open(tmp_path / "out" / "submission.tar") as archive:
        assert {(one.mtime, one.uid, one.mode, one.uname) for one in archive} == {(0, 0, 0o644, "")}
        archive.extractall(tmp_path / "unpacked", filter="data")

    unpacked = tmp_path / "unpacked"
    lines = [line.split("  ") for line in (unpacked / "SHA256SUMS").read_text().splitlines()]
    files = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert {name for _, name in lines} == files - {"SHA256SUMS"}
    for digest, name in lines:
        assert hashlib.sha256((unpacked / name).read_bytes()).hexdigest() == digest
    cells = [folder / "cells" for folder in (results, unpacked / "results")]
    held = [{one.relative_to(at) for one in at.rglob("*") if one.is_file()} for at in cells]
    assert held[0] == held[1]
    (cell_id,) = Store.open(unpacked / "results").cell_ids()
    assert Store.open(unpacked / "results").read_stage(cell_id, "training") is not None
    assert read(unpacked / "card.yaml").title == "Half-clean training"


def test_the_pull_request_tells_what_was_submitted(
    bench: Any, results: Path, tmp_path: Path
) -> None:
    submit(bench, results)

    text = (tmp_path / "out" / "pull-request.md").read_text()
    (cell_id,) = Store.open(results).cell_ids()
    for told in (
        "# Half-clean training",
        "Ada Lovelace",
        f"protocol {PROTOCOL_VERSION}",
        "claims hold",
        cell_id,
    ):
        assert told in text
    assert "| fgsm" in text


def test_the_pull_request_says_all_that_a_reviewer_weighs() -> None:
    card = Card(
        title="Mine",
        authors=["Ada", "Grace"],
        license="MIT",
        paper=None,
        code="https://x.org/code",
        extra_data="EMNIST",
    )
    said = request.text(
        card, cells=["a", "b"], table="| t |\n", verified="all 2 claims hold", sha256="f00"
    )
    assert said == (
        "# Mine\n\n- **Authors**: Ada, Grace\n- **License**: MIT\n- **Paper**: none yet\n"
        "- **Code**: https://x.org/code\n- **Extra data**: EMNIST\n"
        f"- **Versions**: schema {SCHEMA_VERSION}, protocol {PROTOCOL_VERSION}\n"
        "- **Archive**: submission.tar, SHA-256 f00\n- **Verified**: all 2 claims hold\n\n"
        "| t |\n\nCells:\n\n- `a`\n- `b`\n"
    )


def change(results: Path, name: str, **values: Any) -> None:
    """Changes a record, sealed as if it had been so."""
    (path,) = results.glob(f"cells/*/{name}")
    real_results.reseal(path, {**real_results.stored(path), **values})


TAMPERED = {
    "another accuracy": ("attacks/fgsm-*.json", {"robust_accuracy": 0.9}, "robust_accuracy"),
    "another protocol": (
        "attacks/fgsm-*.json",
        {"protocol_version": PROTOCOL_VERSION + 1},
        f"protocol version {PROTOCOL_VERSION + 1}",
    ),
    "a failed cell": ("cell.json", {"status": "failed", "reason": "torn"}, "failed: torn"),
    "a foreign field": ("training.json", {"seconds": -1}, "doesn't follow the schema: seconds"),
}


@pytest.mark.parametrize(("name", "values", "told"), TAMPERED.values(), ids=TAMPERED)
def test_a_changed_record_is_refused(
    bench: Any, results: Path, name: str, values: dict[str, Any], told: str
) -> None:
    change(results, name, **values)

    ended = submit(bench, results)

    assert ended.code == 1
    assert "can't be submitted" in ended.err
    assert told in ended.out + ended.err
    assert not (results.parent / "out").exists()


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (("holds", "not checked", "not checked"), "of 3 claims 2 not checked"),
        (("differs", "holds", "not checked"), "of 3 claims 1 differs, 1 not checked"),
    ],
    ids=["unchecked alone", "both"],
)
def test_what_could_not_be_checked_is_not_called_wrong(
    bench: Any, results: Path, monkeypatch: pytest.MonkeyPatch, states: tuple[str, ...], told: str
) -> None:
    place = (str(results), "cell", "torch")
    claims = [Claim(*place, f"attacks/{n}", None) for n, _ in enumerate(states)]
    verdicts = [Verdict(*pair, "so") for pair in zip(claims, states, strict=True)]
    monkeypatch.setattr(benchmark.verify, "sample", lambda *_, **__: claims)
    monkeypatch.setattr(benchmark.verify, "verify", lambda _: verdicts)

    ended = submit(bench, results)

    assert (ended.code, told in ended.err) == (1, True)


@pytest.mark.parametrize(
    ("count", "told"), [(1, "the one claim holds\n"), (2, "all 2 claims hold\n")]
)
def test_claims_that_hold_are_counted(
    bench: Any, results: Path, monkeypatch: pytest.MonkeyPatch, count: int, told: str
) -> None:
    claim = Claim(str(results), "cell", "torch", "attacks/a", None)
    monkeypatch.setattr(benchmark.verify, "sample", lambda *_, **__: [claim] * count)
    monkeypatch.setattr(
        benchmark.verify, "verify", lambda each: [Verdict(c, "holds", "so") for c in each]
    )

    assert submit(bench, results).out.startswith(told)


def test_a_cell_that_has_not_ended_is_refused(bench: Any, results: Path) -> None:
    (cell,) = (results / "cells").iterdir()
    unfinished = cell.with_name(cell.name.replace("-s0-", "-s1-"))
    shutil.copytree(cell, unfinished, ignore=shutil.ignore_patterns("cell.json"))

    ended = submit(bench, results)

    assert ended.code == 1
    assert f"cells/{unfinished.name}: this cell hasn't ended" in ended.err


def test_a_damaged_file_is_refused(bench: Any, results: Path) -> None:
    (path,) = results.glob("cells/*/weights.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x01")

    ended = submit(bench, results)

    assert ended.code == 1
    assert "training.json" in ended.out + ended.err


CARDS = {
    "lacks": ({"license": ...}, "license field required; a card has title"),
    "unknown": ({"licence": "MIT"}, "licence extra inputs are not permitted"),
    "no address": ({"code": "ftp://x"}, "code must be an address that begins with https://"),
    "no license": ({"license": "my own"}, "license must be an SPDX identifier, got 'my own'"),
    "a word": ({"license": "whatever"}, "got 'whatever'; such as MIT, Apache-2.0"),
    "the word itself": ({"license": "The MIT License"}, "did you mean MIT?"),
    "no version": ({"license": "Apache"}, "did you mean Apache-2.0?"),
    "long": ({"license": "MIT OR " * 100 + "MIT"}, "license must be an SPDX identifier"),
    "markup": ({"title": "a | b"}, "title must be a line of at most 200"),
    "HTML": ({"title": "a < b"}, "title must be a line of at most 200"),
    "code": ({"authors": ["Ada", "`b`"]}, "authors must be a line of at most 200"),
    "blank": ({"title": " \n"}, "title must be a line of at most 200"),
    "too long": ({"title": "a" * 201}, "title must be a line of at most 200"),
    "a long address": ({"code": "https://" + "a" * 501}, "code must be an address"),
    "nobody": ({"authors": []}, "authors"),
    "a link": ({"paper": "https://x.org/](y)"}, "paper must be an address"),
}


@pytest.mark.parametrize(("values", "told"), CARDS.values(), ids=CARDS)
def test_a_card_that_lacks_something_is_refused(
    tmp_path: Path, values: dict[str, Any], told: str
) -> None:
    whole = {**yaml.safe_load(EXAMPLE), **values}
    card = tmp_path / "card.yaml"
    card.write_text(yaml.safe_dump({k: v for k, v in whole.items() if v is not ...}))

    with pytest.raises(ConfigError) as raised:
        read(card)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


FILES = {
    "absent": (None, "can't read the card .*card.yaml: No such file"),
    "no YAML": ("title: [", "card .*card.yaml is not YAML: "),
    "a list": ("- title", "card .*card.yaml is no mapping; write lines such as 'title: "),
}


@pytest.mark.parametrize(("content", "told"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_card_is_refused(tmp_path: Path, content: str | None, told: str) -> None:
    card = tmp_path / "card.yaml"
    if content is not None:
        card.write_text(content)

    with pytest.raises(ConfigError, match=told):
        read(card)


def test_a_title_of_several_lines_is_one(tmp_path: Path) -> None:
    card = tmp_path / "card.yaml"
    card.write_text(yaml.safe_dump({**yaml.safe_load(EXAMPLE), "title": "Half-clean\n  training"}))

    assert read(card).title == "Half-clean training"


@pytest.mark.parametrize(
    ("license", "told"),
    [
        ("mit", "MIT"),
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("MIT or apache-2.0", "MIT OR Apache-2.0"),
        ("LicenseRef-mine", "LicenseRef-mine"),
    ],
)
def test_licences_are_spelled_as_spdx_does(tmp_path: Path, license: str, told: str) -> None:
    card = tmp_path / "card.yaml"
    card.write_text(yaml.safe_dump({**yaml.safe_load(EXAMPLE), "license": license}))

    assert read(card).license == told


def test_the_example_of_the_documentation_is_a_card() -> None:
    page = (ROOT / "docs" / "how-to" / "submit.md").read_text()
    (block,) = [part for part in page.split("```") if part.startswith("yaml title=")]

    assert yaml.safe_load(block.partition("\n")[2]) == yaml.safe_load(EXAMPLE)


@pytest.mark.parametrize("folder", ["missing", "."])
def test_a_folder_without_results_is_told_before_a_card(
    bench: Any, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "card.yaml").write_text("title: 1\n")

    ended = bench("submit", tmp_path / folder, "--card", tmp_path / "card.yaml")

    assert (ended.code, "card" in ended.err) == (2, False)
    assert str(tmp_path / folder) in ended.err


def test_an_archive_inside_the_results_is_refused(bench: Any, results: Path) -> None:
    card = results.parent / "card.yaml"

    ended = bench("submit", results, "--card", card, "--out", results / "cells")

    assert (ended.code, "is in the results folder" in ended.err) == (2, True)


def test_the_workflow_replays_every_claim_and_joins_without_rights() -> None:
    folder = ROOT / ".github" / "workflows"
    replayed = yaml.safe_load((folder / "submission.yml").read_text())
    steps = json.dumps(replayed["jobs"]["replay"]["steps"])

    assert replayed["permissions"] == {"contents": "read"}
    for told in ("--verify --sample 0", "sha256sum --check", "bench merge", "--format markdown"):
        assert told in steps
    posted = yaml.safe_load((folder / "submission-comment.yml").read_text())
    assert posted[True]["workflow_run"]["workflows"] == [replayed["name"]]
    assert "checkout" not in json.dumps(posted)
