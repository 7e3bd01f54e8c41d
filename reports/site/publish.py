"""Writes the site; see `reports.publish`."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.results import Store
from reports.details import load_details
from reports.exports import formatted
from reports.groups import Board, board
from reports.records import Cell, Source, read
from reports.site import (
    boardpage,
    comparing,
    downloads,
    metatest,
    model,
    modelpage,
    render,
    tradeoffs,
    twins,
)
from reports.site.folder import REPORT, SiteFolder
from reports.site.related import related_cells

_ASSETS = ("site.css", "site.js", "leaderboard.js", "compare.js", "paired.js")
_MODEL_FILES = ("index.html", "data.json", "outcomes.json", "outcomes.js")


def publish(out: Source, site: Path | str | None = None, *, whole: bool = False) -> Path:
    """Writes or updates the site of a results folder; returns the path of its first page.

    With `whole` a model's folder has its weights and adversarial examples, too.
    """
    results = read(out)
    store = results.store
    path = store.path / REPORT if site is None else Path(site)
    folder = SiteFolder.open(path, results=store.path)
    ranked = board(results)
    pages = _pages(ranked)
    models = [
        f"models/{c.cell_id}/{name}" for c in results.cells for name in _model_files(c, whole)
    ]
    folder.begin([*pages, *models])
    digests = _write_models(folder, store, results.cells, ranked, whole=whole)
    for name, content in pages.items():
        folder.write(name, content)
    folder.finish(digests)
    return path / "index.html"


def _model_files(cell: Cell, whole: bool) -> list[str]:
    """The names of the files that a model's folder may hold."""
    suites = [name for name, _ in downloads.suites(cell).values()]
    return [*_MODEL_FILES, *suites, *(downloads.names(cell) if whole else ())]


def _pages(whole: Board) -> dict[str, str]:
    """The pages that tell of all models, each with its document beside it, and their assets."""
    document = whole.document()
    frameworks, costs = twins.document(whole.groups), tradeoffs.document(whole.groups)
    tested = metatest.document(whole.groups)
    return {
        **{f"assets/{name}": render.asset(name) for name in _ASSETS},
        "leaderboard.csv": formatted(whole.leaderboard, "csv"),
        "leaderboard.json": formatted(whole.leaderboard, "json"),
        "data/index.json": render.document(document),
        "data/frameworks.json": render.document(frameworks),
        "data/tradeoffs.json": render.document(costs),
        "data/metatest.json": render.document(tested),
        "compare.html": comparing.write(whole.groups),
        "frameworks.html": render.page(
            "frameworks.html.j2", current="frameworks.html", pairs=frameworks
        ),
        "tradeoffs.html": tradeoffs.write(costs),
        "metatest.html": metatest.write(tested),
        "about.html": render.page("about.html.j2", current="about.html"),
        "index.html": boardpage.write(whole, document),
    }


def _write_models(
    folder: SiteFolder, store: Store, cells: tuple[Cell, ...], ranked: Board, *, whole: bool
) -> dict[str, str]:
    """Writes each model's folder unless what it is made from is unchanged; returns the digests."""
    related, standing = related_cells(cells), ranked.standing()
    digests = {}
    for cell in cells:
        prefix, relations = f"models/{cell.cell_id}/", related[cell.cell_id]
        mine = standing.get(cell.cell_id, {})
        digest = digests[cell.cell_id] = _digest(cell, relations, mine, whole)
        if folder.models.get(cell.cell_id) == digest and folder.keep(prefix):
            continue
        details = load_details(store, cell)
        document, pictures = model.document(cell, details, relations, mine)
        everything, short = model.outcomes(cell, details, mine)
        taken = dict(downloads.contents(store, cell, details)) if whole else {}
        folder.write(f"{prefix}index.html", modelpage.write(document, pictures, taken))
        offered: dict[str, str | bytes] = {**dict(downloads.suites(cell).values()), **taken}
        for name, content in offered.items():
            folder.write(f"{prefix}{name}", content)
        folder.write(f"{prefix}data.json", render.document(document))
        folder.write(f"{prefix}outcomes.json", render.document(everything))
        call = f"benchOutcomes({json.dumps(cell.cell_id)},{render.document(short).strip()});\n"
        folder.write(f"{prefix}outcomes.js", call)
    return digests


def _digest(
    cell: Cell, relations: list[dict[str, Any]], standing: dict[str, dict[str, Any]], whole: bool
) -> str:
    """Of everything that a model's pages are made from: what is stored, and this program."""
    known = [field.name for field in dataclasses.fields(cell) if field.name != "attacks"]
    parts: list[Any] = [_program(), whole, *(getattr(cell, name) for name in known)]
    parts += [(a.key, a.status, a.reason, a.record) for a in cell.attacks.values()]
    return hashlib.sha256(
        repr([*parts, relations, standing]).encode("utf-8", "replace")
    ).hexdigest()


@functools.cache
def _program() -> str:
    """A digest of this package, so that a newer one draws every page again."""
    digest = hashlib.sha256()
    for path in _sources(Path(__file__).parents[1]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    yield from sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".j2", ".js"))
