"""What a run was asked for: the part that the cell's other records and its suite's text decide."""

from __future__ import annotations

from benchmark.attacks.suites import suite_names
from benchmark.digest import digest
from benchmark.errors import StoreError
from benchmark.results import Record
from benchmark.verification.comparison import Comparison
from benchmark.verification.loaded import Loaded


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """The suite's name, its text, and that it gives the attacks of the cell with what was set.

    Which options were given, protocol and time limit make no number; they are taken on trust.
    """
    record = loaded.stage(f"runs/{key}")
    suite = str(record.get("suite"))
    if suite not in loaded.suites or loaded.run_stage(suite) != f"runs/{key}":
        found.differs.append("the cell has no suite that this was asked for under")
        return
    text = loaded.suite_text(suite)
    found.expect("the digest of the suite's text", record.get("suite_digest"), _digest(text))
    if text is None and suite not in suite_names():
        raise StoreError(f"the text of suite {suite!r} is missing or damaged")
    _check_attacks(loaded, suite, text, record, found)
    found.told.append("what was asked for gives the cell's attacks")


def _digest(text: str | None) -> str | None:
    return None if text is None else digest(text)


def _check_attacks(
    loaded: Loaded, suite: str, text: str | None, record: Record, found: Comparison
) -> None:
    """The attacks that the suite gives with the arguments that were set have the stored keys."""
    given = record.get("attacks") or {}
    attacks = loaded.attacks_of(suite, given)
    assert attacks is not None
    keys = list(loaded.job(suite, attacks).attack_keys().values())
    found.expect("the attacks of the suite", loaded.suites[suite], keys)
    name = record.get("suite_file")
    if (name is not None) != (text is not None):
        found.differs.append(f"its suite file is told as {name!r}")
