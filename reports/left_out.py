"""What is not in a report, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import ValidationError

from reports.text import one_line


@dataclass
class LeftOut:
    """Names and reasons of what is not in the report; paths are relative to the results folder."""

    entries: set[tuple[str, str]] = field(default_factory=set)

    def add(self, path: str, reason: str) -> None:
        self.entries.add((path, reason))

    def as_list(self) -> list[dict[str, str]]:
        return [{"path": path, "reason": reason} for path, reason in sorted(self.entries)]


def first_line(error: ValidationError) -> str:
    """The first thing that a record of another schema has wrong."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = one_line(".".join(str(part) for part in first["loc"]))
    return f"doesn't follow the schema: {where}: {first['msg'].lower()}"
