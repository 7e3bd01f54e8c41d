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


def change(store: Store, **what: object) -> None:
    """Changes what the newest lock says, as another machine would have written it."""
    path = lease.path_of(store.path, lease.newest(store.path))
    path.write_text(json.dumps({**json.loads(path.read_text()), **what}))


def left_by(store: Store, **what: object) -> None:
    """A lock as a run leaves it that was killed; of another machine unless said otherwise."""
    with store.lock():
        pass
    change(store, **{"held": True, "machine": "another", "host": "far", **what})


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


def test_who_was_stopped_and_not_followed_goes_on(store: Store) -> None:
    with store.lock() as stopped:
        assert stopped.lease is not None
        stopped.lease._ended.set()
        time.sleep(lease.EXPIRES)
        stopped.write_cell("one", {})
    assert store.read_cell("one") is not None


def test_of_many_that_want_a_free_folder_one_has_it_at_a_time(store: Store) -> None:
    inside, most, had = [0], [0], []

    def want(name: int) -> None:
        while name not in had:
            try:
                with store.lock():
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    time.sleep(0.01)
                    inside[0] -= 1
                    had.append(name)
            except StoreError:
                time.sleep(0.002)

    threads = [threading.Thread(target=want, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(had) == list(range(6))
    assert most == [1]


def test_one_lock_is_left_whatever_came_before(store: Store) -> None:
    for _ in range(3):
        with store.lock():
            pass
    assert [path.name for path in store.path.glob(".lock*")] == [".lock-3"]


def test_a_folder_without_hard_links_can_be_held(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with store.lock(), pytest.raises(StoreError, match="another run"):
        store.lock().__enter__()


def test_a_lock_that_is_being_written_is_waited_for(store: Store) -> None:
    lease.path_of(store.path, 1).write_text("")
    began = time.monotonic()
    with store.lock():
        assert time.monotonic() - began >= lease.EXPIRES


def test_who_took_a_number_that_others_have_passed_lets_it_go(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two looks of ours another run came, and one after it, which holds the folder."""
    real = lease._created

    def created(folder: Path, number: int) -> bool:
        return real(folder, number) and (number > 1 or real(folder, 2))

    monkeypatch.setattr(lease, "_created", created)
    with pytest.raises(StoreError, match="another run"):
        store.lock().__enter__()
    assert [path.name for path in store.path.glob(".lock-*")] == [".lock-2"]


def test_a_process_that_has_ended_but_is_not_waited_for_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert lease._began(child.pid) is None
    assert lease._began(os.getpid()) is not None
    child.wait()
