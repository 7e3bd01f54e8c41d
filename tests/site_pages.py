"""What tests read of a published site: its files, and its pages as a reader sees them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import reports

VOID = {"meta", "link", "input", "img", "br", "wbr"}


class Page(HTMLParser):
    """What a reader sees of a page's main part, its elements, and the rows of its tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "main" in self.open and not {"script", "style", "svg"} & set(self.open):
            self.seen.append(data)
            if {"td", "th"} & set(self.open):
                self.rows[-1][-1] += data


def files(site: Path) -> dict[str, bytes]:
    return {
        path.relative_to(site).as_posix(): path.read_bytes()
        for path in sorted(site.rglob("*"))
        if path.is_file()
    }


def document(site: Path, name: str) -> Any:
    return json.loads((site / name).read_text())


def metatest(synthetic: Any, part: str) -> tuple[str, Any]:
    """The page of the meta-test, and a part of its document."""
    site = reports.publish(synthetic.store.path).parent
    document = json.loads((site / "data" / "metatest.json").read_text())
    return (site / "metatest.html").read_text(encoding="utf-8"), document[part]


def replaced(version: int) -> str:
    """What is told of numbers of a version of a protocol that a newer one replaced."""
    return f"Version {version} of this protocol, which a newer one replaced"


def assert_replaced(text: str, groups: Any, version: int) -> None:
    """The page of the meta-test shows what is of now first, and tells once of what was replaced."""
    (group,) = groups
    assert [part["is_replaced"] for part in group["parts"]] == [False, True]
    assert text.count(replaced(version)) == 1
