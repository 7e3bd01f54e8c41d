"""What a worker tells about its cell while it is at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

_SECONDS_BETWEEN_MESSAGES = 0.1


@dataclass
class Reporter:
    """Sends progress, but not more often than anyone can read it; without a connection, nothing."""

    connection: Connection | None
    cell_id: str
    last: float = 0.0

    def stage(self, name: str) -> Callable[[float], None]:
        """A function that reports the fraction of the stage `name`; reports its beginning now."""
        self._send("progress", name, 0.0)

        def report(fraction: float) -> None:
            now = time.monotonic()
            if now - self.last > _SECONDS_BETWEEN_MESSAGES or fraction >= 1:
                self.last = now
                self._send("progress", name, fraction)

        return report

    def notice(self, text: str) -> None:
        """Tells the user a line at once."""
        self._send("notice", text)

    def _send(self, kind: str, *what: object) -> None:
        if self.connection is not None:
            self.connection.send((kind, self.cell_id, *what))
