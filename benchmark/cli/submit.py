"""`bench submit`: results and a card, checked and packed for a pull request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli import options
from benchmark.cli.output import tell
from benchmark.errors import CheckError, ConfigError
from benchmark.paths import data_folder, expanded
from benchmark.text import counted

if TYPE_CHECKING:
    from benchmark.results import Store

ARCHIVE, REQUEST = "submission.tar", "pull-request.md"


def submit(
    folder: options.ResultsArgument,
    card: Annotated[
        Path,
        typer.Option(
            parser=options.named,
            metavar="CARD.yaml",
            help="Title, authors, license, paper, code and extra_data; see the documentation.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(parser=options.named, metavar="OUT", help="Where the archive is written."),
    ] = Path("submission"),
    data_dir: options.DataDir = None,
) -> None:
    """Check results as a whole, and pack them with the text of a pull request.

    Every record has to follow the schema, of this protocol's version, and every claim has to hold
    when it is derived or attacked again. Nothing is written otherwise. The same results and card
    give the same archive, byte by byte.
    """
    import reports
    from benchmark.results import Store
    from benchmark.results.layout import explained
    from benchmark.submission import archive, request
    from benchmark.submission.card import read

    folder, out = expanded(folder), expanded(out)
    store = Store.open(folder)
    _check_place(out, folder)
    said = read(expanded(card))
    cells = _checked_cells(store)
    verified = _verified(store, data_dir)
    with explained("write to", out):
        out.mkdir(parents=True, exist_ok=True)
        sha256 = archive.write(out / ARCHIVE, store, said)
        table = reports.formatted(folder, "markdown")
        text = request.text(said, cells=cells, table=table, verified=verified, sha256=sha256)
        (out / REQUEST).write_text(text, encoding="utf-8")
    tell(f"{verified}")
    tell(f"archive: {out / ARCHIVE}, SHA-256 {sha256}")
    tell(f"pull request: {out / REQUEST}")


def _check_place(out: Path, folder: Path) -> None:
    if out.resolve() == folder.resolve() or folder.resolve() in out.resolve().parents:
        raise ConfigError(f"--out {out} is in the results folder {folder}; give another one")


def _checked_cells(store: Store) -> list[str]:
    """The ids of all cells; raises `CheckError` with what is wrong with the folder."""
    faults = list(_faults(store))
    if faults:
        for fault in faults[1:]:
            tell(f"refused: {fault}")
        raise CheckError(f"{store.path} can't be submitted: {faults[0]}")
    if not (cells := store.cell_ids()):
        raise ConfigError(f"{store.path} holds no cell that ended, so there is nothing to submit")
    return cells


def _faults(store: Store) -> Iterator[str]:
    """What doesn't follow the schema, was left out of reports, or did not end well."""
    import reports

    frame = reports.load(store.path)
    for one in frame.attrs["left_out"]:
        yield f"{one['path']}: {one['reason']}"
    for cell_id in store.cell_ids():
        record = store.read_cell(cell_id) or {}
        if record and record.get("status") != "ok":
            yield f"cell {cell_id} {record.get('status')}: {record.get('reason')}"
    if len(frame):
        for row in frame[frame.status == "failed"].itertuples():
            yield f"cell {row.cell_id}: attack {row.attack} failed"


def _verified(store: Store, data_dir: Path | None) -> str:
    """Replays every claim; raises `CheckError` with what does not hold."""
    from benchmark.verify import HOLDS, sample, told, verify

    claims = sample(store, size=None, data_dir=data_folder(data_dir))
    wrong, states = [], []
    for verdict in verify(claims):
        states.append(verdict.state)
        if verdict.state != HOLDS:
            claim = verdict.claim
            wrong.append(f"{verdict.state}: {claim.cell_id} {claim.stage}: {verdict.text}")
            tell(wrong[-1])
    if wrong:
        found = told([state for state in states if state != HOLDS])
        every = counted(len(claims), "claim")
        raise CheckError(f"{store.path} can't be submitted: of {every} {found}")
    return "the one claim holds" if len(claims) == 1 else f"all {len(claims)} claims hold"
