"""What cells hold of what was asked for: read and checked, for the command that asks again."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmark.results import Store, open_plain
from benchmark.results.records import RunRecord
from reports.keyed import read_keyed
from reports.left_out import LeftOut

FOLDER = "runs"

_MOST_BYTES = 1_000_000  # of a suite file
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. +-]{0,99}\.ya?ml")


@dataclass(frozen=True)
class Run:
    """What was asked for under a suite, and the text of its file where it was one of the user's."""

    asked: RunRecord
    suite_text: str | None

    @property
    def suite_file(self) -> str | None:
        """A safe name for the suite file, None where there is none to be had."""
        name = self.asked.suite_file
        if name is None or self.suite_text is None:
            return None
        return name if _FILE_NAME.fullmatch(name) else "suite.yaml"


def read_runs(store: Store, cell_id: str, left_out: LeftOut) -> dict[str, Run]:
    """What was asked for by suite; what can't be read is named."""
    found = {}
    for key, asked in read_keyed(store, cell_id, FOLDER, RunRecord, left_out):
        found[asked.suite] = Run(asked, _text(store, cell_id, key, asked, left_out))
    return found


def _text(store: Store, cell_id: str, key: str, asked: RunRecord, left_out: LeftOut) -> str | None:
    name = f"{key}.yaml"
    if name not in asked.files:
        return None
    try:
        with open_plain(store.cell_folder(cell_id) / FOLDER / name) as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) <= _MOST_BYTES:
            return content.decode()
        reason = "a suite file of this size is not shown"
    except (OSError, UnicodeDecodeError) as error:
        reason = f"can't be read: {error}"
    left_out.add(f"cells/{cell_id}/{FOLDER}/{name}", reason)
    return None
