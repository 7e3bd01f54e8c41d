"""Small results of real runs, made in this process, and ways to change what is stored."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json

import numpy as np

from benchmark import frameworks
from benchmark.config import read
from benchmark.results import Store, files

frameworks.import_torch_first()

from serving import serve  # noqa: E402

from benchmark.plans.run import make_plan  # noqa: E402
from benchmark.verification import loaded  # noqa: E402

QUICK = ["attacks.pgd.max_iter=3", "attacks.apgd.max_iter=5", "attacks.square.max_iter=5"]


def make(out, framework, defense="meta-adv", **settings):
    """A small cell, by default of an adapted model, through the real worker in this process."""
    config = read(
        {
            "defense": [defense],
            "framework": [framework],
            "model": "cnn-small",
            "epochs": 2,
            "examples": 60,
            "baseline": False,
            "protocol": "none",
            "out": out,
            **settings,
        },
        assignments=[] if "suite" in settings else QUICK,
    )
    store = Store.create(out)
    serve(*make_plan(config).jobs, framework=framework)
    return store


def run_under(folder, suite, framework="torch", **settings):
    """A small cell under a suite of this text; its job, its store, and what the worker said."""
    (folder / "one.yaml").write_text(suite)
    flags = {"defense": ["none"], "framework": [framework], "model": "mlp", "epochs": 1}
    flags |= {"examples": 12, "suite": str(folder / "one.yaml"), "protocol": "none"}
    store = Store.create(folder / "out")
    (job,) = make_plan(read({**flags, "out": folder / "out", **settings})).jobs
    return job, store, serve(job, framework=framework)


def reseal(path, record):
    """Writes a record as it is, with its checksum."""
    whole = {name: value for name, value in record.items() if name != "checksum"}
    files.write_sealed(path, whole, root=path.parent)


def stored(path):
    """A record as it is stored."""
    return json.loads(path.read_text())


def rewrite(path, arrays):
    """Writes a stage's arrays, and seals all that holds their checksum."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(buffer.getvalue())
    after = hashlib.sha256(buffer.getvalue()).hexdigest()
    for record in path.parents[1].rglob("*.json"):
        text = record.read_text()
        if before in text:
            reseal(record, json.loads(text.replace(before, after)))


@contextlib.contextmanager
def restored(store):
    """Puts back what is changed of a results folder meanwhile."""
    before = {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()}
    try:
        yield
    finally:
        for path in list(store.path.rglob("*")):
            if path.is_file() and path not in before:
                path.unlink()
        for path, content in before.items():
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
        loaded.load_cell.cache_clear()
