"""The folder of a site: only what differs is written, only what the site made is removed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.errors import StoreError
from benchmark.results import (
    TEMPORARY,
    make_folder,
    make_root,
    open_plain,
    read_plain,
    sweep,
    write_text,
)
from reports.exports import root_of

MARKER = "site.json"
REPORT = "report"  # the site beside the cells of a results folder
_VERSION = 1
_LARGEST_MARKER = 64 << 20  # bytes; of 100,000 models
_UNKNOWN = ""  # stands for the SHA-256 of a file that may be there
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+ -]*")


@dataclass
class SiteFolder:
    """Collects what belongs to the site, by path relative to it, with "/" between the parts.

    Call `begin` once, then `keep` or `write` for every file, and `finish` at the end. What a
    publication that was killed may have left is written down before it begins, so that the next
    one knows it.
    """

    path: Path
    root: Path  # below it nothing is written through a link
    before: dict[str, str]  # file to SHA-256, as the last publication left them
    models: dict[str, str]  # cell id to the digest of what its pages were made from
    files: dict[str, str] = field(default_factory=dict)
    written: int = 0

    @classmethod
    def open(cls, path: Path, *, results: Path) -> SiteFolder:
        """A new, an empty, or a published folder; raises `StoreError` for any other.

        `results` is the folder that is published; `report` in it is always the site's.
        """
        own, root = path == results / REPORT, root_of(results, path)
        try:
            make_root(root)
            make_folder(path, root=root)
            marker = _read_marker(path / MARKER, own=own)
            names = sorted(n for n in os.listdir(path) if not n.startswith(TEMPORARY))
            if marker is None and names and not own:
                raise StoreError(
                    f"{path} holds other files ({names[0]!r}) and no site; "
                    "give a new or an empty folder, or one that bench published to"
                )
        except OSError as error:
            raise _unwritable(path, error) from error
        marker = marker or {}
        return cls(path, root, _texts(marker.get("files")), _texts(marker.get("models")))

    def begin(self, names: Iterable[str]) -> None:
        """Removes what a killed publication left half-written, and marks the folder as the site's.

        `names` are all files that this publication may write.
        """
        self.before = {**dict.fromkeys(names, _UNKNOWN), **self.before}
        folders = {self.path, *(self._inside(name).parent for name in self.before)}
        try:
            for folder in sorted(folders):
                if folder.is_dir():
                    sweep(folder)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._mark(self.before, self.models)

    def keep(self, prefix: str) -> bool:
        """Takes over all files below `prefix` as they are; False if one is missing or changed."""
        mine = {name: digest for name, digest in self.before.items() if name.startswith(prefix)}
        if not mine or any(_digest(self._inside(name)) != d for name, d in mine.items()):
            return False
        self.files |= mine
        return True

    def write(self, name: str, content: str | bytes) -> None:
        """Writes a file that `begin` was told of, unless these bytes are there already."""
        assert name in self.before, name
        self.files[name] = self._put(name, content)

    def finish(self, models: dict[str, str]) -> None:
        """Removes what an earlier publication wrote and this one did not; writes the marker."""
        for name in sorted(set(self.before) - set(self.files)):
            target = self._inside(name)
            try:
                target.unlink(missing_ok=True)
            except NotADirectoryError:
                continue  # where its folder was, there is something else
            except OSError as error:
                raise _unwritable(target, error) from error
            with contextlib.suppress(OSError):  # its folder, unless something else is in there
                target.parent.rmdir()
        self._mark(self.files, models)

    def _mark(self, files: dict[str, str], models: dict[str, str]) -> None:
        marker = {"version": _VERSION, "files": files, "models": models}
        self._put(MARKER, json.dumps(marker, indent=1, sort_keys=True) + "\n")

    def _put(self, name: str, content: str | bytes) -> str:
        """Writes a file unless it is there; returns its SHA-256."""
        encoded = content.encode() if isinstance(content, str) else content
        digest = hashlib.sha256(encoded).hexdigest()
        target = self._inside(name)
        try:
            if _digest(target) != digest:
                make_folder(target.parent, root=self.root)
                write_text(target, encoded, root=self.root, flush=False)
                self.written += 1
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return digest

    def _inside(self, name: str) -> Path:
        """The path of a file; raises `StoreError` if it or a folder above it leads elsewhere."""
        parts = name.split("/")
        target = self.path.joinpath(*parts)
        if not all(map(_PLAIN.fullmatch, parts)) or _leads_away(self.path, parts):
            raise StoreError(f"{str(target)!r} leads out of the site; publish to another folder")
        return target


def _leads_away(root: Path, parts: list[str]) -> bool:
    return any(root.joinpath(*parts[: n + 1]).is_symlink() for n in range(len(parts)))


def _read_marker(path: Path, *, own: bool) -> dict[str, Any] | None:
    try:
        marker = json.loads(read_plain(path, largest=_LARGEST_MARKER))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        marker = None
    if not isinstance(marker, dict) or marker.get("version") != _VERSION:
        if own:
            return None
        raise StoreError(f"{path} is not of a site that this bench knows; give another folder")
    return marker


def _texts(value: Any) -> dict[str, str]:
    pairs = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in pairs if isinstance(text, str)}


def _digest(path: Path) -> str | None:
    try:
        with open_plain(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"can't write to {path}: {error.strerror or error}; give another folder")
