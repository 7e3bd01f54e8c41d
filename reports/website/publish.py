"""Writes the site; see `reports.publish`."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import reports
from benchmark.errors import StoreError
from benchmark.results import Store
from reports.exports import as_csv
from reports.records import Cell, read
from reports.website import boardpage, comparing, model, modelpage, render, tradeoffs, twins
from reports.website.folder import SiteFolder
from reports.website.related import related_cells
from reports.website.settings import Board, board

_ASSETS = ("site.css", "leaderboard.js", "compare.js", "paired.js")


def publish(out: Path | str, site: Path | str) -> Path:
    """Writes or updates the site of a results folder; returns the path of its first page."""
    results = read(out)
    store, path = Store.open(out), Path(site)
    cells = (store.path / "cells").resolve()
    if cells == path.resolve() or cells in path.resolve().parents:
        raise StoreError(f"can't publish to {path}: stored results are in there")
    folder = SiteFolder.open(path)
    whole = board(results)
    models = _write_models(folder, store, results.cells)
    for name in _ASSETS:
        folder.write(f"assets/{name}", render.asset(name))
    _write_pages(folder, whole)
    folder.finish(models)
    return path / "index.html"


def _write_pages(folder: SiteFolder, whole: Board) -> None:
    """The pages that tell of all models, each with its document beside it."""
    document = whole.document()
    frameworks, costs = twins.document(whole.settings), tradeoffs.document(whole.settings)
    folder.write("data/leaderboard.json", render.document(document))
    folder.write("data/leaderboard.csv", as_csv(whole.frame))
    folder.write("data/frameworks.json", render.document(frameworks))
    folder.write("data/tradeoffs.json", render.document(costs))
    folder.write("index.html", boardpage.write(document))
    folder.write("compare.html", comparing.write(document))
    page = render.page("frameworks.html.j2", current="frameworks.html", pairs=frameworks)
    folder.write("frameworks.html", page)
    folder.write("tradeoffs.html", tradeoffs.write(costs))
    folder.write("about.html", render.page("about.html.j2", current="about.html"))


def _write_models(folder: SiteFolder, store: Store, cells: tuple[Cell, ...]) -> dict[str, str]:
    """Writes each model's folder unless what it is made from is unchanged; returns the digests."""
    related = related_cells(cells)
    digests = {}
    for cell in cells:
        prefix, relations = f"models/{cell.cell_id}/", related[cell.cell_id]
        digest = digests[cell.cell_id] = _digest(cell, relations)
        if folder.models.get(cell.cell_id) == digest and folder.keep(prefix):
            continue
        details = model.load(store, cell)
        document, pictures = model.document(cell, details, relations)
        whole, short = model.outcomes(cell, details)
        folder.write(f"{prefix}index.html", modelpage.write(document, pictures))
        for run in cell.runs.values():
            if run.suite_file and run.suite_text is not None:
                folder.write(f"{prefix}{run.suite_file}", run.suite_text)
        folder.write(f"{prefix}data.json", render.document(document))
        folder.write(f"{prefix}outcomes.json", render.document(whole))
        call = f"benchOutcomes({json.dumps(cell.cell_id)},{render.document(short).strip()});\n"
        folder.write(f"{prefix}outcomes.js", call)
    return digests


def _digest(cell: Cell, relations: list[dict[str, Any]]) -> str:
    """Of everything that a model's pages are made from: what is stored, and this program."""
    known = [field.name for field in dataclasses.fields(cell) if field.name != "attacks"]
    parts: list[Any] = [_program(), *(getattr(cell, name) for name in known)]
    parts += [(a.key, a.status, a.reason, a.record) for a in cell.attacks.values()]
    return hashlib.sha256(repr([*parts, relations]).encode("utf-8", "replace")).hexdigest()


@functools.cache
def _program() -> str:
    """A digest of this package, so that a newer one draws every page again."""
    digest = hashlib.sha256()
    for path in _sources(Path(reports.__file__).parent):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    yield from sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".j2", ".js"))
