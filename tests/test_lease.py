"""Who may write to a folder, on one machine and on several: nobody twice, and nobody for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from leases import change, left_by

from benchmark.errors import StoreError
from benchmark.results import Store, lease


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.05)
    monkeypatch.setattr(lease, "EXPIRES", 0.6)
    monkeypatch.setattr(lease, "_LOOK", 0.02)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "out")


def test_a_run_of_this_machine_that_is_gone_is_followed_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "EXPIRES", 1e6)
    code = f"import os; from benchmark.results import lease; from pathlib import Path\n\
lease.Lease.take(Path({str(store.path)!r})); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with store.lock():
        assert lease.newest(store.path) == 2


def test_another_process_of_the_same_number_does_not_keep_a_folder(store: Store) -> None:
    left_by(store, machine=lease.machine(), began="12345")
    with store.lock():
        pass


def test_a_run_of_another_machine_is_followed_when_it_gives_no_sign(store: Store) -> None:
    left_by(store)
    began = time.monotonic()
    with store.lock():
        assert time.monotonic() - began >= lease.EXPIRES


def test_a_run_of_another_machine_that_gives_signs_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.lock():
        monkeypatch.setattr(lease, "is_here", lambda record: False)
        with pytest.raises(StoreError, match=rf"another run \(process {os.getpid()} on "):
            Store.open(store.path).lock().__enter__()
        monkeypatch.undo()


def test_time_in_which_nobody_could_look_is_no_time_without_a_sign(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is away for the holder too, who has no turn before our next look."""
    left_by(store)
    real, looks = lease.read, [0]

    def read(folder: Path, number: int) -> dict[str, object] | None:
        looks[0] += 1
        if looks[0] == 2:
            time.sleep(lease.EXPIRES)
        if looks[0] == 3:
            change(store, beats=99)
        return real(folder, number)

    monkeypatch.setattr(lease, "read", read)
    with pytest.raises(StoreError, match="another run"):
        store.lock().__enter__()


def test_clocks_are_not_compared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    left_by(store, at="2099-01-01T00:00:00+00:00")
    os.utime(lease.path_of(store.path, 1), (4e9, 4e9))
    with store.lock():
        pass


WRITES: dict[str, Callable[[Store], object]] = {
    "a cell": lambda store: store.write_cell("one", {}),
    "a stage": lambda store: store.write_stage("one", "training", {}),
    "a stage of a worker": lambda store: store.publish("one", "training", {"a": "training.json"}),
    "a log": lambda store: store.log("torch-1"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_who_was_followed_writes_nothing_more(
    store: Store, monkeypatch: pytest.MonkeyPatch, write: Callable[[Store], object]
) -> None:
    with store.lock() as stopped:
        assert stopped.lease is not None
        stopped.lease._ended.set()  # as if the process were stopped
        change(store, machine="another", host="far")
        with store.lock() as ours:
            before = sorted(store.path.rglob("*"))
            with pytest.raises(StoreError, match="was taken over by another run"):
                write(stopped)
            assert sorted(store.path.rglob("*")) == before
            ours.write_cell("one", {})
    assert lease.newest(store.path) == 2


@pytest.mark.parametrize("is_seen", [True, False], ids=["removed and seen so", "taken at once"])
def test_who_takes_the_same_number_after_locks_were_removed_has_the_folder_alone(
    store: Store, is_seen: bool
) -> None:
    with store.lock() as first:
        assert first.lease is not None
        first.lease._ended.set()
        path = lease.path_of(store.path, 1)
        others = json.dumps({**json.loads(path.read_text()), "process": 1, "began": "12345"})
        path.unlink()
        if is_seen:
            first.lease._renew()
        path.write_text(others)
        first.lease._renew()
        with pytest.raises(StoreError, match=r"was taken over by another run \(process 1\)"):
            first.write_cell("one", {})
    assert path.read_text() == others


def test_who_lost_its_lock_to_nobody_is_told_so(store: Store) -> None:
    with store.lock() as ours:
        assert ours.lease is not None
        lease.path_of(store.path, 1).unlink()
        ours.lease._renew()
        with pytest.raises(StoreError, match=r"the lock of .* was removed .*; the same command"):
            ours.write_cell("one", {})


def test_who_is_followed_between_two_files_of_a_stage_does_not_make_it_known(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.lock() as ours:
        rename = os.replace

        def be_followed(source: Path, target: Path) -> None:
            rename(source, target)
            assert ours.lease is not None
            ours.lease.lost = True

        monkeypatch.setattr(os, "replace", be_followed)
        with pytest.raises(StoreError, match="was taken over by another run"):
            ours.write_stage("one", "training", {}, {"a.bin": Path.touch})
    assert [path.name for path in store.cell_folder("one").iterdir()] == ["a.bin"]


def test_who_slept_with_the_whole_machine_looks_again_before_it_writes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Linux calls monotonic stands still meanwhile."""
    real = time.clock_gettime
    with store.lock() as slept:
        assert slept.lease is not None
        slept.lease._ended.set()
        change(store, machine="another", host="far")
        with monkeypatch.context() as awake:
            later = {time.CLOCK_BOOTTIME: lease.EXPIRES}
            awake.setattr(time, "clock_gettime", lambda clock: real(clock) + later.get(clock, 0.0))
            with pytest.raises(StoreError, match="was taken over by another run"):
                slept.write_cell("one", {})


def test_who_was_stopped_and_not_followed_goes_on(store: Store) -> None:
    with store.lock() as stopped:
        assert stopped.lease is not None
        stopped.lease._ended.set()
        time.sleep(lease.EXPIRES)
        stopped.write_cell("one", {})
    assert store.read_cell("one") is not None


def test_a_run_of_another_machine_that_lets_go_is_followed_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by(store)
    monkeypatch.setattr(lease, "EXPIRES", 60)
    threading.Timer(0.1, lambda: change(store, held=False)).start()
    began = time.monotonic()
    with store.lock():
        assert time.monotonic() - began < 30


def test_who_waits_and_sees_others_take_the_folder_looks_at_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by(store)
    others = lease.path_of(store.path, 1).read_text()

    def follow() -> None:
        lease.path_of(store.path, 2).write_text(json.dumps({**json.loads(others), "held": False}))
        lease.path_of(store.path, 1).unlink()

    threading.Timer(0.1, follow).start()
    with store.lock():
        assert lease.newest(store.path) == 3


def test_a_lock_that_is_written_at_last_by_a_living_run_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "EXPIRES", 60)  # its thread may have to wait for its turn
    path = lease.path_of(store.path, 1)
    path.write_text("")
    ended = threading.Event()

    def live() -> None:
        beats = 0
        while not ended.wait(lease.HEARTBEAT):
            beats += 1
            aside = path.with_name("aside")
            aside.write_text(json.dumps({"held": True, "machine": "another", "beats": beats}))
            aside.rename(path)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(StoreError, match="another run"):
            store.lock().__enter__()
    finally:
        ended.set()
        thread.join()


def test_a_lock_that_is_being_written_is_waited_for(store: Store) -> None:
    lease.path_of(store.path, 1).write_text("")
    began = time.monotonic()
    with store.lock():
        assert time.monotonic() - began >= lease.EXPIRES
