"""One stored claim against what follows from it; this runs in a process of the cell's framework."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection

from benchmark import frameworks
from benchmark.errors import BenchError, SchemaError
from benchmark.results.identity import made_of
from benchmark.verification import (
    attack,
    cell,
    certification,
    claims,
    corruptions,
    domain,
    fewshot,
    metatest,
    runs,
    sequence,
    stages,
    worst_case,
)
from benchmark.verification.comparison import Comparison
from benchmark.verification.loaded import Loaded, Machine, load_cell, why_not
from benchmark.verify import CELL, DIFFERS, UNCHECKED, WORST_CASE, Claim, serve_claims

Check = Callable[[Loaded, str, Comparison], None]

CHECKS: Mapping[str, Check] = {
    CELL: cell.check,
    "attacks": attack.check,
    WORST_CASE: worst_case.check,
    "trust": stages.check_trust,
    "claims": claims.check,
    "curves": stages.check_curve,
    "corruptions": corruptions.check,
    "certification": certification.check,
    "transfers": stages.check_transfer,
    "adaptations": metatest.check,
    "few-shot": fewshot.check,
    "sequences": sequence.check,
    "domains": domain.check,
    "runs": runs.check,
}


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    """Answers claims that come over `connection` with (state, text) until it is closed."""
    place = frameworks.prepare(framework, device=device, threads=threads)
    serve_claims(connection, functools.partial(replay, device=place, threads=threads))


def _check_made_of(loaded: Loaded, stage: str, found: Comparison) -> None:
    """Finds fault where a stage was made of other weights than those stored.

    What is there no longer leaves nothing to check the stage with, which its check tells.
    """
    store, cell_id = loaded.store, loaded.cell_id
    record = store.read_whole(cell_id, "adaptation" if stage == CELL else stage) or {}
    for file in store.checksums.others(store.cell_folder(cell_id), made_of(record)):
        if not file or (store.cell_folder(cell_id) / file).exists():
            found.differs.append(f"it was made of another {file or 'file'} than the one stored")


def replay(claim: Claim, *, device: str, threads: int = 1) -> tuple[str, str]:
    """State and text of a verdict; an error means that the claim can't be checked."""
    found = Comparison()
    folder, _, key = claim.stage.partition("/")
    try:
        machine = Machine(device, threads)
        loaded = load_cell(claim.out, claim.cell_id, claim.data_dir, machine)
        if loaded.cell.cell_id != claim.cell_id:
            return DIFFERS, f"its configuration is that of {loaded.cell.cell_id}"
        if folder not in CHECKS:
            return UNCHECKED, f"nothing verifies stages of {folder!r}"
        _check_made_of(loaded, claim.stage, found)
        CHECKS[folder](loaded, key, found)
    except SchemaError as error:
        found.differs.append(str(error))
    except BenchError as error:
        found.unchecked.append(why_not(error))
    except Exception as error:  # what is stored, and code that builds a model, may be anything
        traceback.print_exc()
        if not found.differs:
            return UNCHECKED, why_not(error)
    return found.verdict()
