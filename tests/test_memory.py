"""What a process is said to hold at most."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import memory

MEGABYTE = 2**20


@pytest.mark.skipif(not memory.forget_peak(), reason="this system lets nobody reset its count")
def test_peak_counts_what_was_held_since_it_was_forgotten() -> None:
    assert memory.forget_peak()
    before = memory.peak()
    held = bytearray(200 * MEGABYTE)
    held[::4096] = b"x" * len(held[::4096])  # each page is touched
    most = memory.peak()
    del held
    assert memory.forget_peak()

    assert most >= before + 190 * MEGABYTE
    assert memory.peak() <= most - 100 * MEGABYTE


def test_system_without_the_count_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_FORGET", (tmp_path / "no" / "file", "5"))
    assert not memory.forget_peak()
