"""What is not shown, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

# Reasons of what holds no result: it stands in no one's way.
STRAY = "half-written or foreign: no whole stage names it"
STRAY_OF_ATTACKS = "half-written or foreign: no attack names it"
NO_CELL = "not a cell of this benchmark"
HARMLESS = (STRAY, STRAY_OF_ATTACKS, NO_CELL)


@dataclass
class LeftOut:
    """Names and reasons of what is not shown; paths are relative to the results folder."""

    entries: set[tuple[str, str]] = field(default_factory=set)

    def add(self, path: str, reason: str) -> None:
        self.entries.add((path, reason))

    def as_list(self) -> list[dict[str, str]]:
        return [{"path": path, "reason": reason} for path, reason in sorted(self.entries)]
