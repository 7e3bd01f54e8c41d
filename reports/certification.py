"""What cells hold of certificates by randomised smoothing: read and checked."""

from __future__ import annotations

from typing import Any

from benchmark.results import Store
from benchmark.results.records import CertificationRecord
from reports.keyed import read_keyed
from reports.left_out import LeftOut
from reports.statistics import wilson

FOLDER = "certification"


def read_certifications(
    store: Store, cell_id: str, left_out: LeftOut
) -> tuple[CertificationRecord, ...]:
    """The certifications of a cell, in the order of their keys; failed ones are left out too."""
    found = []
    for key, record in read_keyed(store, cell_id, FOLDER, CertificationRecord, left_out):
        found.append(record)
        if record.status != "ok":
            path = f"cells/{cell_id}/{FOLDER}/{key}.json"
            left_out.add(path, f"{record.status}: {record.reason}")
    return tuple(found)


def columns(records: tuple[CertificationRecord, ...]) -> dict[str, Any]:
    """What a leaderboard row has of them: of the most examples, then draws, then the least noise.

    Never of what certifies most: to choose by the test examples would make it look better.
    """
    done = [one for one in records if one.status == "ok" and one.certified is not None]
    if not done:
        return {}
    most = max(done, key=_effort)
    assert most.certified is not None
    assert most.examples is not None
    low, high = wilson(round(most.certified * most.examples), most.examples)
    return {
        "certified_accuracy": most.certified,
        "certified_low": low,
        "certified_high": high,
        "certified_radius": most.radius_needed,
        "certified_sigma": most.sigma,
    }


def _effort(one: CertificationRecord) -> tuple[float, ...]:
    return (one.examples or 0, one.n or 0, -(one.alpha or 0.0), -(one.sigma or 0.0))
