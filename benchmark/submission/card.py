"""What an author says of a submission, in card.yaml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from benchmark import documents
from benchmark.errors import ConfigError, shortened

_URL = re.compile(r"https://[^\s<>\"|`\[\]()]{3,500}")
_LICENSE = re.compile(r"[A-Za-z0-9.+-]{2,60}")

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
    if not _LICENSE.fullmatch(value):
        raise ValueError(f"must be an SPDX identifier such as MIT, got {shortened(value)}")
    return value


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
