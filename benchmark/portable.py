"""What is stored and published without the folders of the machine that it was made on."""

from __future__ import annotations

import re
from pathlib import PurePath

# A path from the root or from a home on, at its beginning; not the path of an address.
_PART = r"[^\s/'\"`,;:()<>|]"
_FOLDERS = re.compile(rf"(?<![\w./~-])(?:~[\w.-]*)?/(?!/)(?:{_PART}+/)*(?={_PART})")


def dataset_name(name: str) -> str:
    """A data set's name with the last part of its path: "folder:/data/birds" is "folder:birds"."""
    kind, colon, path = name.partition(":")
    return f"{kind}:{PurePath(path).name or path}" if colon else name


def without_folders(text: str) -> str:
    """Text in which paths from the root have kept their last part alone."""
    return _FOLDERS.sub("", text)
