"""What a new stage costs: itself, its record and its place in a job; all else takes it as it is."""

from __future__ import annotations

import functools
from dataclasses import fields

import pytest
import serving

from benchmark import frameworks
from benchmark.config import read
from benchmark.results import Store

frameworks.import_torch_first()

from benchmark.cli.efforts import efforts  # noqa: E402
from benchmark.job import Job  # noqa: E402
from benchmark.plans.run import make_plan  # noqa: E402
from benchmark.results.merge import merge  # noqa: E402
from benchmark.results.records import StageRecord  # noqa: E402
from benchmark.resume import pending  # noqa: E402
from benchmark.stages.stage import Stage  # noqa: E402


class BrightnessRecord(StageRecord):
    """brightness/<key>.json"""

    mean: float


class Brightness(Stage):
    """Stage "brightness/test": how bright the attacked examples are."""

    path, label, effort, needs = "brightness/test", "brightness", 5.0, ("training",)

    def run(self, context):
        context.reporter.stage(self.label)
        if context.cell.seed:
            raise ValueError("too dark")
        return BrightnessRecord(mean=float(context.target.x.mean())), {}


class WithBrightness(Job):
    """A job with the new stage in its place."""

    @functools.cached_property
    def stages(self):
        return (*super().stages, Brightness())


def serve(job):
    """Works through a job; returns the stages worked on, those that failed, and the status."""
    told = {"progress": [], "failed": [], "finished": []}
    for kind, *about in serving.serve(job):
        if kind in told:
            told[kind].append(about[1])  # after the cell's id
    return told


@pytest.fixture
def job(tmp_path):
    def made(seed=0):
        flags = {"defense": ["none"], "framework": ["torch"], "model": "mlp", "seed": [seed]}
        flags |= {"out": tmp_path / "out", "epochs": 1, "examples": 10, "suite": str(suite)}
        Store.create(tmp_path / "out")
        (plain,) = make_plan(read(flags)).jobs
        return WithBrightness(**{one.name: getattr(plain, one.name) for one in fields(plain)})

    suite = tmp_path / "one.yaml"
    suite.write_text("attacks: {fgsm: {attack: fast-gradient}}")
    return made


def test_the_worker_does_it_and_resuming_finds_it(job, tmp_path):
    job, store = job(), Store.open(tmp_path / "out")
    told = serve(job)

    assert told["progress"][-1] == "brightness"
    assert told["finished"] == ["ok"]
    assert 0 < store.read_stage(job.cell.cell_id, "brightness/test")["mean"] < 1
    assert pending([job], store) == []


def test_where_it_alone_is_missing_it_alone_is_done(job, tmp_path):
    job, store = job(), Store.open(tmp_path / "out")
    serve(job)
    (store.cell_folder(job.cell.cell_id) / "brightness/test.json").unlink()

    assert pending([job], store) == [job]
    assert [stage.label for stage in job.pending(store)] == ["brightness"]
    assert set(serve(job)["progress"]) == {"data", "brightness"}


def test_where_it_fails_the_cell_goes_on_and_it_is_told(job, tmp_path):
    job, store = job(seed=1), Store.open(tmp_path / "out")
    told = serve(job)

    assert told["failed"] == ["brightness"]
    assert told["finished"] == ["ok"]
    assert store.read_stage(job.cell.cell_id, "brightness/test")["reason"] == "ValueError: too dark"


def test_progress_counts_its_effort(job):
    assert efforts(job())["brightness"].effort == 5.0


def test_merging_takes_it_along(job, tmp_path):
    job = job()
    serve(job)

    merge([tmp_path / "out"], tmp_path / "whole")

    merged = Store.open(tmp_path / "whole").read_stage(job.cell.cell_id, "brightness/test")
    assert 0 < merged["mean"] < 1
