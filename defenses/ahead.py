"""What an iterator gives, made in a thread ahead of who takes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

# Items that wait, beside the one that is being made.
WAITING = 1


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """The items in their order; what fails in making one is raised when its turn comes.

    The thread ends with this generator: close it where it may be left before its end.
    """
    end: Any = object()
    maker = ThreadPoolExecutor(1, "ahead")
    try:
        coming: deque[Future[T]] = deque()
        for _ in range(WAITING + 1):
            coming.append(maker.submit(next, items, end))
        while (item := coming.popleft().result()) is not end:
            coming.append(maker.submit(next, items, end))
            yield item
    finally:
        maker.shutdown(cancel_futures=True)
