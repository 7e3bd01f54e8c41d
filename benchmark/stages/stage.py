"""What a stage of a cell is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from benchmark.results import Record, Store, Writer
from benchmark.results.identity import PROTOCOL_VERSION, protocol_of
from benchmark.results.records import StageRecord
from benchmark.stages.context import Context

# What a stage leaves: its record, and what writes each of its files, by the file's name.
Result = tuple[StageRecord, Mapping[str, Writer]]


class Stage:
    """One part of a cell's work, stored as a whole.

    Attributes:
        path: in the store, below the cell: "training", or "attacks/<key>".
        label: what a person calls it, and what progress is told under.
        effort: that it takes, roughly, in gradient evaluations of a training; progress and time
            left are told by it.
        kinds: of work, from the nearest on. Stages of one kind take about as long for a unit of
            effort; its label unless it says so.
        comparable: a unit of its effort takes about as long as one of any other stage that is.
        gives_up: it takes less time, the sooner a model gives way.
        essential: nothing of the cell can go on without it, so what it raises ends the cell.
        required: a cell is not done without it.
        needs: the paths of stages of the same cell that it reads. Where one of them failed, so
            does this.
    """

    path: str
    label: str
    effort: float = 0.0
    kinds: tuple[str, ...] = ()
    comparable: bool = True
    gives_up: ClassVar[bool] = False
    essential: ClassVar[bool] = False
    required: ClassVar[bool] = True
    needs: tuple[str, ...] = ()

    def run(self, context: Context) -> Result | None:
        """The stage's record and files; None where it can't be done yet, and isn't `required`."""
        raise NotImplementedError

    def clean_up(self, context: Context) -> None:
        """Removes what only served to go on after a kill, once the stage is stored."""

    def is_stored(self, store: Store, cell_id: str) -> bool:
        """Whether it is done: stored whole, not failed, and still about what is stored beside it.

        The one place where this is asked: working, resuming, and telling what is left.
        """
        record = store.read_stage(cell_id, self.path)
        if record is None or record.get("status") == "failed":
            return False
        return self.fits(record, store, cell_id)

    def is_due(self, store: Store, cell_id: str) -> bool:
        """Whether a cell isn't done without it: where it is required, or has failed."""
        return self.required or store.read_stage(cell_id, self.path) is not None

    def fits(self, record: Record, store: Store, cell_id: str) -> bool:
        """Whether a stored record is still about the stages that it was made of."""
        return True

    def failed(self, reason: str) -> StageRecord:
        """The record where it could not be done."""
        return StageRecord(status="failed", reason=reason)


class Versioned(Stage):
    """A stage whose numbers are of a version of the protocol; of another one it is done again."""

    def fits(self, record: Record, store: Store, cell_id: str) -> bool:
        """Whether it is of this version."""
        return bool(protocol_of(record) == PROTOCOL_VERSION)
