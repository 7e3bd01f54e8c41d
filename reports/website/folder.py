"""The folder of a site: only what differs is written, only what the site made is removed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from benchmark.errors import StoreError
from benchmark.results import open_plain

MARKER = "site.json"
_VERSION = 1


@dataclass
class SiteFolder:
    """Collects what belongs to the site, by path relative to it, with "/" between the parts.

    Call `keep` or `write` for every file, and `finish` at the end.
    """

    path: Path
    before: dict[str, str]  # file to SHA-256, as the last publication left them
    models: dict[str, str]  # cell id to the digest of what its pages were made from
    files: dict[str, str] = field(default_factory=dict)
    written: int = 0

    @classmethod
    def open(cls, path: Path) -> SiteFolder:
        """A new, an empty, or a published folder; raises `StoreError` for any other."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            marker = _read_marker(path / MARKER)
            if marker is None and (foreign := sorted(os.listdir(path))):
                raise StoreError(
                    f"{path} holds other files ({foreign[0]!r}) and no site; "
                    "give a new or an empty folder, or one that bench published to"
                )
        except OSError as error:
            raise _unwritable(path, error) from error
        marker = marker or {}
        return cls(path, _texts(marker.get("files")), _texts(marker.get("models")))

    def keep(self, prefix: str) -> bool:
        """Takes over all files below `prefix` as they are; False if one is missing or changed."""
        mine = {name: digest for name, digest in self.before.items() if name.startswith(prefix)}
        if not mine or any(_digest(self._inside(name)) != d for name, d in mine.items()):
            return False
        self.files |= mine
        return True

    def write(self, name: str, content: str | bytes) -> None:
        """Writes a file, unless these bytes are there already."""
        encoded = content.encode() if isinstance(content, str) else content
        self.files[name] = hashlib.sha256(encoded).hexdigest()
        target = self._inside(name)
        try:
            if _digest(target) != self.files[name]:
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary = target.with_name(f".tmp-{os.getpid()}")
                try:
                    temporary.write_bytes(encoded)
                    os.replace(temporary, target)
                finally:
                    temporary.unlink(missing_ok=True)
                self.written += 1
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def finish(self, models: dict[str, str]) -> None:
        """Removes what an earlier publication wrote and this one did not; writes the marker."""
        for name in sorted(set(self.before) - set(self.files)):
            target = self._inside(name)
            try:
                target.unlink(missing_ok=True)
            except OSError as error:
                raise _unwritable(target, error) from error
            with contextlib.suppress(OSError):  # its folder, unless something else is in there
                target.parent.rmdir()
        marker = {"version": _VERSION, "files": self.files, "models": models}
        content = json.dumps(marker, indent=1, sort_keys=True) + "\n"
        files = dict(self.files)
        self.write(MARKER, content)
        self.files = files

    def _inside(self, name: str) -> Path:
        """The path of a file; raises `StoreError` if it or a folder above it leads elsewhere."""
        parts = PurePosixPath(name).parts
        target = self.path.joinpath(*parts)
        links = any((self.path.joinpath(*parts[: n + 1])).is_symlink() for n in range(len(parts)))
        if ".." in parts or PurePosixPath(name).is_absolute() or links:
            raise StoreError(f"{target} leads out of the site; publish to another folder")
        return target


def _read_marker(path: Path) -> dict[str, Any] | None:
    try:
        with open_plain(path) as stream:
            marker = json.loads(stream.read())
    except FileNotFoundError:
        return None
    except ValueError:
        marker = None
    if not isinstance(marker, dict) or marker.get("version") != _VERSION:
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
    return StoreError(f"can't publish to {path}: {error.strerror or error}; give another folder")
