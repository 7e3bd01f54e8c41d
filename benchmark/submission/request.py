"""The text of a submission's pull request."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.results.identity import PROTOCOL_VERSION, SCHEMA_VERSION
from benchmark.submission.card import Card


def text(card: Card, *, cells: Sequence[str], table: str, verified: str, sha256: str) -> str:
    """What a reviewer is to see first, in Markdown.

    Args:
        card: what the author says.
        cells: ids of the submitted ones.
        table: the leaderboard of these, in Markdown.
        verified: what came of replaying every claim.
        sha256: of the archive.
    """
    said = {
        "Authors": ", ".join(card.authors),
        "License": card.license,
        "Paper": card.paper or "none yet",
        "Code": card.code,
        "Extra data": card.extra_data,
        "Versions": f"schema {SCHEMA_VERSION}, protocol {PROTOCOL_VERSION}",
        "Archive": f"submission.tar, SHA-256 {sha256}",
        "Verified": verified,
    }
    lines = [f"# {card.title}", "", *(f"- **{name}**: {value}" for name, value in said.items())]
    lines += ["", table.rstrip(), "", "Cells:", "", *(f"- `{cell_id}`" for cell_id in cells)]
    return "\n".join(lines) + "\n"
