"""`bench status`: how far a run is, from its folder alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmark.cli import options
from benchmark.cli.output import tell
from benchmark.paths import expanded
from benchmark.text import counted

if TYPE_CHECKING:
    from benchmark.status import Status

_MOST = 20  # cells that are waiting, by their names

_STATES = {
    "at work": "is at work",
    "silent": "gives no sign any more; the same command takes over when it is dead",
    "stopped": "stopped before its work was done; the same command goes on",
    "ended": "has ended",
}


def status(folder: options.ResultsArgument, as_json: options.Json = False) -> None:
    """Show what is done, running (where and since when), failed and waiting.

    It reads DIR alone, also while a run or a cluster works on it.
    """
    from benchmark.status import status

    found = status(expanded(folder))
    for line in (json.dumps(found.as_json(), indent=2),) if as_json else _lines(found):
        print(line) if as_json else tell(line)


def _lines(found: Status) -> Iterator[str]:
    if found.state != "unknown":
        run = found.run
        who = f"process {run.get('process')} on {run.get('host')}"
        yield f"the last run ({who}) {_STATES[found.state]}"
    failed_cells = [name for name in found.failed if ": " not in name]
    running = {one.cell_id for one in found.running}
    yield (
        f"{counted(len(found.done), 'cell')} done, {len(running)} running, "
        f"{len(failed_cells)} failed, {len(found.waiting)} waiting"
    )
    for one in found.running:
        attempt = f", attempt {one.attempt}" if one.attempt > 1 else ""
        yield (
            f"running: {_name(found, one.cell_id)}: {one.stage}, on {one.where} since "
            f"{one.since}{attempt}"
        )
    for name, reason in found.failed.items():
        yield f"failed: {_name(found, name)}: {reason}"
    for cell_id in found.damaged:
        yield f"damaged, changed, or of another schema: {_name(found, cell_id)}"
    for cell_id in found.waiting[:_MOST]:
        yield f"waiting: {_name(found, cell_id)}"
    if len(found.waiting) > _MOST:
        yield f"waiting: and {len(found.waiting) - _MOST} more"


def _name(found: Status, cell_id: str) -> str:
    label = found.labels.get(cell_id)
    return f"{cell_id} ({label})" if label else cell_id
