"""What was published of a model's robust accuracy, to stand beside ours."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import ConfigError
from benchmark.paths import expanded
from benchmark.results import Record

_KEYS = ("autoattack_acc", "clean_acc")  # in per cent, as texts


@dataclass(frozen=True)
class Published:
    """A published robust accuracy.

    Args:
        robust_accuracy: a share.
        clean_accuracy: likewise, where it was told.
        source: where it stands.
    """

    robust_accuracy: float
    clean_accuracy: float | None = None
    source: str = ""

    def record(self) -> Record:
        """As a record has it."""
        return asdict(self)


def read(given: str | None) -> Published | None:
    """The number of a text such as "43.21%", or of a JSON file of RobustBench's `model_info`.

    Raises:
        ConfigError: it is neither.
    """
    if given is None:
        return None
    if given.lower().endswith(".json"):
        return _of_file(expanded(given))
    text = given.strip()
    return Published(_share(text.removesuffix("%"), 100 if text.endswith("%") else 1, given))


def _of_file(path: Path) -> Published:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        robust, clean = (content.get(key) for key in _KEYS)
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"--published {path}: can't be read: {error}") from error
    if robust is None:
        raise ConfigError(
            f"--published {path} has no autoattack_acc; give a file of RobustBench's model_info, "
            "or a number such as 43.21%"
        )
    told = None if clean is None else _share(clean, 100, path)
    return Published(_share(robust, 100, path), told, f"RobustBench's model_info, {path.name}")


def _share(value: object, scale: int, given: object) -> float:
    try:
        found = float(str(value)) / scale
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise ConfigError(
            f"--published {given}: give a robust accuracy such as 43.21% or 0.4321, or a JSON file "
            "of RobustBench's model_info"
        )
    return found
