"""What is not shown, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

# The reason of what holds no result: it stands in no one's way.
STRAY = "half-written or foreign: no whole stage names it"


@dataclass
class LeftOut:
    """Names and reasons of what is not shown; paths are relative to the results folder."""

    entries: set[tuple[str, str]] = field(default_factory=set)

    def add(self, path: str, reason: str) -> None:
        self.entries.add((path, reason))

    def as_list(self) -> list[dict[str, str]]:
        return [{"path": path, "reason": reason} for path, reason in sorted(self.entries)]
