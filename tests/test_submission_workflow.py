"""The workflow that checks submissions, run as GitHub runs it: nothing passes unchecked."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

WORKFLOW = Path(__file__).parent.parent / ".github" / "workflows" / "submission.yml"

# With `shell: bash` GitHub lets a step fail where any part of a pipe does, and not without.
SHELLS = {"bash": ["--noprofile", "--norc", "-eo", "pipefail"], None: ["-e"]}


@pytest.fixture
def step(tmp_path: Path) -> Any:
    """Runs a step of the replaying job by its name, with a `bench` that runs these lines."""

    def run(name: str, bench: str = "true") -> subprocess.CompletedProcess[str]:
        workflow = yaml.safe_load(WORKFLOW.read_text())
        (found,) = [one for one in workflow["jobs"]["replay"]["steps"] if one.get("name") == name]
        shell = workflow.get("defaults", {}).get("run", {}).get("shell")
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "bench").write_text(f"#!/bin/sh\n{bench}\n")
        (tmp_path / "bin" / "bench").chmod(0o755)
        env = {**os.environ, "GITHUB_BASE_REF": "main", "GITHUB_STEP_SUMMARY": "summary"}
        env["PATH"] = f"{tmp_path / 'bin'}:{env['PATH']}"
        script = found["run"].replace("${{ github.event.number }}", "12")
        command = ["bash", *SHELLS[shell], "-c", script]
        return subprocess.run(
            command, check=False, cwd=tmp_path, env=env, capture_output=True, text=True
        )

    return run


def test_a_claim_that_differs_ends_the_check(step: Any, tmp_path: Path) -> None:
    (tmp_path / "unpacked" / "mine").mkdir(parents=True)

    ended = step("Replay every claim", "echo differs: one cell: its weights; exit 1")

    assert (ended.returncode, ended.stdout) == (1, "differs: one cell: its weights\n")


@pytest.mark.parametrize("stages", ["1 of 1 stage", "9 of 9 stages"])
def test_the_table_says_how_much_was_replayed(step: Any, tmp_path: Path, stages: str) -> None:
    last = f"1 cell and {stages} (--sample-seed 7): 2 hold"
    (tmp_path / "verified").write_text(f"holds: one cell: so\n{last}\n")

    ended = step("Write the table", "echo '| table |'")

    assert ended.returncode == 0, ended.stderr
    assert f"\n{last}\n\n| table |\n" in (tmp_path / "comment" / "table.md").read_text()


def test_an_archive_that_took_the_place_of_another_is_unpacked(step: Any, tmp_path: Path) -> None:
    """Git calls it renamed where the two are alike, and it is joined with the leaderboard."""

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=no")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "--quiet")
    _archive(tmp_path / "submissions" / "theirs", b"65 %" * 5000)
    git("add", "submissions")
    git("commit", "--quiet", "-m", "theirs")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    git("rm", "--quiet", "-r", "submissions/theirs")
    _archive(tmp_path / "submissions" / "other", b"65 %" * 4999 + b"95 %")
    _archive(tmp_path / "submissions" / "mine", b"1 %")
    git("add", "submissions")
    git("commit", "--quiet", "-m", "mine")

    ended = step("Unpack what the pull request adds")

    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in (tmp_path / "unpacked").iterdir()) == ["mine", "other"]


def _archive(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(content)
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(content).hexdigest()}  a\n")
    with tarfile.open(folder / "submission.tar", "w") as archive:
        for name in ("a", "SHA256SUMS"):
            archive.add(folder / name, name)
            (folder / name).unlink()
