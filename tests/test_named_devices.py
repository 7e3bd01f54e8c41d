"""A record names the card that a cell was worked on, so that merging can tell two of them apart."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark import frameworks


def torch_with(card: str | None) -> Any:
    cuda = SimpleNamespace(is_available=lambda: card is not None, get_device_name=lambda: card)
    return SimpleNamespace(cuda=cuda)


CASES = {
    "a processor": ("cpu", torch_with("H100"), "cpu"),
    "a card": ("cuda", torch_with("H100"), "cuda (H100)"),
    "a card that torch does not see": ("cuda", torch_with(None), "cuda"),
    "no torch": ("cuda", None, "cuda"),
}


@pytest.mark.parametrize(("device", "torch", "name"), CASES.values(), ids=CASES)
def test_a_device_is_named_by_its_card(
    monkeypatch: pytest.MonkeyPatch, device: str, torch: Any, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert frameworks.named(device) == name
