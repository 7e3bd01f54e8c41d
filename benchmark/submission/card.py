"""What an author says of a submission, in card.yaml."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from benchmark import documents
from benchmark.errors import ConfigError, shortened

_FILLER = re.compile(r"(?i)\W*\blicen[cs]e\b|\bthe\b\W*")
_URL = re.compile(r"https://[^\s<>\"|`\[\]()]{3,500}")

# What weights and results are mostly given under; of all that SPDX knows, these are proposed.
_COMMON = (
    *("MIT", "Apache-2.0", "CC-BY-4.0", "BSD-3-Clause", "BSD-2-Clause", "CC0-1.0", "CC-BY-SA-4.0"),
    *("CC-BY-NC-4.0", "GPL-3.0-only", "LGPL-3.0-only", "MPL-2.0", "ISC", "Unlicense"),
)

EXAMPLE = """\
title: Half-clean training
authors: [Ada Lovelace]
license: MIT                      # of the weights and results: an SPDX identifier
paper: https://example.org/paper  # or null, where there is none
code: https://example.org/code
extra_data: none                  # or which, beside the data set's training part
"""


def _line(value: str) -> str:
    text = " ".join(value.split())
    if not text or len(text) > 200 or set(text) & set("|<>`\x00"):
        raise ValueError("must be a line of at most 200 characters without | < > `")
    return text


def _url(value: str) -> str:
    if not _URL.fullmatch(value):
        raise ValueError(f"must be an address that begins with https://, got {shortened(value)}")
    return value


def _license(value: str) -> str:
    """As SPDX spells it; also several with AND, OR or WITH, and a LicenseRef-NAME of one's own."""
    try:
        if len(value) > 200:
            raise InvalidLicenseExpression
        return canonicalize_license_expression(value)
    except InvalidLicenseExpression as error:
        plain, known = _FILLER.sub("", value[:60]).lower(), {one.lower(): one for one in _COMMON}
        close = difflib.get_close_matches(plain, known, n=1, cutoff=0.5)
        meant = f"did you mean {known[close[0]]}?" if close else f"such as {', '.join(_COMMON[:4])}"
        raise ValueError(
            f"must be an SPDX identifier, got {shortened(value)}; {meant} "
            "(all: https://spdx.org/licenses; another one's terms as LicenseRef-NAME)"
        ) from error


Line = Annotated[str, AfterValidator(_line)]
Url = Annotated[str, AfterValidator(_url)]


class Card(BaseModel):
    """Who hands in what, and under which terms.

    extra_data: "none", or what was trained on beside the data set's training part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    title: Line
    authors: Annotated[list[Line], Field(min_length=1, max_length=50)]
    license: Annotated[str, AfterValidator(_license)]
    paper: Url | None
    code: Url
    extra_data: Line


def read(path: Path) -> Card:
    """The card in a file; raises `ConfigError` with the first thing that it has wrong."""
    try:
        content: Any = documents.read(path)
    except OSError as error:
        raise ConfigError(f"can't read the card {path}: {error.strerror or error}") from error
    except documents.NotYaml as error:
        raise ConfigError(f"card {path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"card {path} is no mapping; write lines such as 'title: My defense'")
    try:
        return Card.model_validate(content)
    except ValidationError as error:
        where, wrong = documents.fault(error)
        fields = ", ".join(Card.model_fields)
        raise ConfigError(f"card {path}: {where} {wrong}; a card has {fields}") from error
