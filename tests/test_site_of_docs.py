"""The documentation's site: built without a warning, whole, and fetching nothing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import benchmark
import defenses
import reports

ROOT = Path(__file__).parent.parent


@pytest.fixture
def site(documentation: Path) -> Path:
    return documentation


def pages_of(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from [value] if isinstance(value, str) else pages_of(value)


def test_every_page_has_its_place(site: Path) -> None:
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    written = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    placed = set(pages_of(config["project"]["nav"]))
    assert placed == written
    for page in placed:
        assert (site / page).with_suffix(".html").is_file()


def test_what_pages_include_is_there(site: Path) -> None:
    included = {
        "how-to/defense": ("class Mart(", "class MartKernel("),
        "how-to/publish": ("Publish the leaderboard",),
        "evidence/performance": ("Slow evidence",),
        "evidence/meta_learning": ("Was meta-learning worth its compute?",),
        "cite": ("cff-version",),
    }
    for page, words in included.items():
        shown = re.sub(r"<[^>]+>", "", (site / f"{page}.html").read_text(encoding="utf-8"))
        assert [word for word in words if word not in shown] == []


class Fetched(HTMLParser):
    """What a browser asks for by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += filter(None, (given.get("src"), given.get("srcset")))
        if tag == "link" and given.get("rel") != "canonical":
            self.addresses.append(given.get("href") or "")


def test_no_page_asks_another_host(site: Path) -> None:
    for path in site.rglob("*.html"):
        fetched = Fetched()
        fetched.feed(path.read_text(encoding="utf-8"))
        assert fetched.addresses
        away = [a for a in fetched.addresses if re.match(r"(?:https?:)?//", a)]
        assert not away, f"{path.relative_to(site)} asks for {away}"


def test_no_style_asks_another_host(site: Path) -> None:
    styles = list(site.rglob("*.css"))
    assert styles
    for path in styles:
        found = re.findall(r"(?:url\(|@import\s*)['\"]?(?:https?:)?//[^'\")]+", path.read_text())
        assert not found, path


def test_what_a_script_could_ask_for_is_not_used(site: Path) -> None:
    """The theme's script asks for a repository's facts and draws diagrams only where pages do."""
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert 'data-md-component="source"' not in text
        assert 'class="mermaid"' not in text


PUBLIC = [
    (package, name)
    for package in (benchmark, defenses, reports)
    for name in package.__all__
    if callable(getattr(package, name))
]


@pytest.mark.parametrize(
    ("package", "name"), PUBLIC, ids=[f"{package.__name__}.{name}" for package, name in PUBLIC]
)
def test_what_is_public_is_in_the_reference(site: Path, package: Any, name: str) -> None:
    text = (site / "reference" / f"{package.__name__}.html").read_text(encoding="utf-8")
    assert f'id="{package.__name__}.{name}"' in text


def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    import typer

    from benchmark.cli.app import app

    text = (site / "reference" / "bench.html").read_text(encoding="utf-8")
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"bench {name} " in text
        for option in command.params:
            assert all(word in text for word in option.opts if word.startswith("--"))


def test_every_trust_check_is_explained() -> None:
    from benchmark.trust.checks import CHECKS

    page = (ROOT / "docs" / "concepts" / "trust.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \|", page, re.M)
    explained = {name for row in rows for name in ([row] if row in CHECKS else row.split(", "))}
    assert set(CHECKS) <= explained
    assert explained - set(CHECKS) == {"Check"}
