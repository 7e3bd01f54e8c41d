"""The workflow that publishes a site on a static host: its commands exist and do what it says."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from benchmark.cli.app import app

WORKFLOW = Path(__file__).parents[2] / ".github" / "workflows" / "publish.yml"


def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(WORKFLOW.read_text())["jobs"]["publish"]["steps"]
    return found


def commands() -> list[list[str]]:
    """The words after `bench` of each command."""
    lines = [line for step in steps() for line in step.get("run", "").splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("bench ")]


def test_the_workflow_may_deploy_and_uploads_what_it_published() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert {"pages": "write", "id-token": "write"}.items() <= workflow["permissions"].items()
    used = [step["uses"] for step in steps() if "uses" in step]
    assert all("@" in one for one in used)
    assert used[-1].startswith("actions/deploy-pages@")
    uploaded = next(s for s in steps() if "upload-pages-artifact" in s.get("uses", ""))
    published = next(words for words in commands() if "--publish" in words)
    assert uploaded["with"]["path"] == published[published.index("--publish") + 1]


def test_the_workflows_commands_exist_with_their_options() -> None:
    group: Any = typer.main.get_command(app)
    found = commands()
    assert [words[0] for words in found] == ["merge", "report", "report"]
    for name, *words in found:
        group.commands[name].make_context(name, list(words))  # raises for an unknown option
    with pytest.raises(Exception, match="No such option"):
        group.commands["report"].make_context("report", ["together", "--pubish", "site"])


def test_the_workflows_commands_publish(
    synthetic_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic_in(tmp_path / "results" / "laptop").cell("pgd-at")
    synthetic_in(tmp_path / "results" / "server").cell("trades")
    monkeypatch.chdir(tmp_path)
    for words in commands():
        if "--verify" in words:  # it would need a model
            continue
        folders = sorted(map(str, Path().glob("results/*")))
        given = [one for word in words for one in (folders if word == "results/*" else [word])]
        done = CliRunner().invoke(app, given)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "site" / "index.html").read_text().count("models/") == 2
