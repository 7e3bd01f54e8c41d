"""The files that say who has a folder: made by one alone, whole, and none left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
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


@pytest.mark.parametrize("number", [9, 999_999_999])
def test_numbers_have_no_end(store: Store, number: int) -> None:
    with store.lock():
        pass
    lease.path_of(store.path, 1).rename(lease.path_of(store.path, number))
    with store.lock():
        assert [path.name for path in store.path.glob(".lock*")] == [f".lock-{number + 1}"]


def refusing(monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    """From here on the file system makes no hard links."""

    def refuse(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("reason", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_folder_without_hard_links_can_be_held(
    store: Store, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    refusing(monkeypatch, reason)
    with store.lock(), pytest.raises(StoreError, match="another run"):
        store.lock().__enter__()


def test_a_lock_that_can_not_be_made_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, errno.EIO)
    with pytest.raises(StoreError, match=r"can't lock .*: Input/output error"):
        store.lock().__enter__()
    assert lease.newest(store.path) == 0


def test_a_lock_of_which_the_answer_was_lost_is_ours(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over NFS, where the client asks again and is told that the name is taken."""
    link = os.link

    def told_twice(*given: Path) -> None:
        link(*given)
        link(*given)

    monkeypatch.setattr(os, "link", told_twice)
    with store.lock():
        assert lease.newest(store.path) == 1


def test_a_lock_is_on_the_disk_before_it_is_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda stream: (done.append("flush"), fsync(stream)))
    monkeypatch.setattr(os, "link", lambda *given: (done.append("link"), link(*given)))
    with store.lock():
        assert done[:2] == ["flush", "link"]


def test_containers_of_one_name_on_one_machine_are_told_apart() -> None:
    assert os.readlink("/proc/self/ns/pid") in lease.machine()


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
