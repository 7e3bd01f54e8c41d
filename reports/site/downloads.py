"""What a model's page offers to take away: suites; weights and adversarial examples if wanted."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import yaml

from benchmark.results import Store, open_plain
from benchmark.results.records import ClaimsRecord
from reports.details import Detail
from reports.records import Attack, Cell

EXAMPLES = "examples.npz"
_SAMPLES = ("sample_index", "sample_clean", "sample_adversarial")
_SUITE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,59}")
_TRANSFER = "transfer"  # joins every suite by itself where it belongs


def suites(cell: Cell) -> dict[str, tuple[str, str]]:
    """For each suite the name of a file and its text: as it was given, or as records tell it."""
    found: dict[str, tuple[str, str]] = {}
    for name in sorted(cell.record.suites):
        run = cell.runs.get(name)
        if run is not None and run.suite_file and run.suite_text is not None:
            found[name] = (run.suite_file, run.suite_text)
        elif _SUITE_NAME.fullmatch(name) and (text := _told(cell.under(name))):
            found[name] = (f"{name}.yaml", text)
    return found


def claims_file(attack: Attack) -> str:
    """The file of adversarial examples that others made, for `bench attack --claims`."""
    return f"{attack.key}.npz"


def names(cell: Cell) -> Iterator[str]:
    """The files that `contents` may give."""
    yield EXAMPLES
    yield from (claims_file(one) for one in cell.attacks.values() if one.claimed)
    yield from (name for _, name in _weights(cell))


def contents(
    store: Store, cell: Cell, details: Mapping[str, Detail]
) -> Iterator[tuple[str, bytes]]:
    """Weights, the adversarial examples that attacks kept, and those of others in whole."""
    for stage, name in _weights(cell):
        if store.read_stage(cell.cell_id, stage) is not None:  # its checksums hold
            with open_plain(store.cell_folder(cell.cell_id) / name) as stream:
                yield name, stream.read()
    kept: dict[str, np.ndarray] = {}
    for one in details.values():
        if one.attack.claimed:
            if (whole := _claimed(one)) is not None:
                yield claims_file(one.attack), _npz(whole)
        elif all(name in one.arrays for name in _SAMPLES):
            kept |= {f"{one.attack.key}.{name[7:]}": one.arrays[name] for name in _SAMPLES}
    if kept:
        yield EXAMPLES, _npz(kept)


def _weights(cell: Cell) -> Iterator[tuple[str, str]]:
    """Stage and name of each file of weights."""
    for stage, record in (("training", cell.training), ("adaptation", cell.adaptation)):
        for name in record.files if record is not None else ():
            if name.endswith((".safetensors", ".h5")):
                yield stage, name


def _told(attacks: list[Attack]) -> str:
    """A suite file with these attacks; "" where a record doesn't tell one."""
    entries: dict[str, Any] = {}
    first_success = False
    for attack in attacks:
        if attack.claimed or attack.name == _TRANSFER:
            continue
        identity = attack.record.identity if attack.record is not None else None
        if not identity or len(identity) < 2:
            return ""
        more = dict(identity[2]) if len(identity) > 2 and isinstance(identity[2], dict) else {}
        first_success |= bool(more.pop("first_success", False))
        more.pop("to_the_end", None)
        entry: dict[str, Any] = {"attack": identity[0], "arguments": identity[1]}
        if threat := {name: more.pop(name) for name in ("norm", "eps") if name in more}:
            entry["threat"] = threat
        if "source" in more:
            entry["from"] = more.pop("source")
        entries[attack.name] = {**entry, **more}
    if not entries:
        return ""
    document: dict[str, Any] = {"description": "as recorded", "attacks": entries}
    if first_success:
        document["first_success"] = True
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=None)


def _claimed(one: Detail) -> dict[str, Any] | None:
    record = one.attack.record
    if not isinstance(record, ClaimsRecord) or not {"x_adv", "index"} <= set(one.arrays):
        return None
    points = {name: one.arrays[name] for name in ("x_adv", "index")}
    return {**points, "author": record.author, "text": record.text}


def _npz(arrays: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()
