"""Locks as others leave them."""

from __future__ import annotations

import json

from benchmark.results import Store, lease


def change(store: Store, **what: object) -> None:
    """Changes what the newest lock says, as another machine would have written it."""
    path = lease.path_of(store.path, lease.newest(store.path))
    whole = path.with_name("whole")  # whoever waits may look at any time
    whole.write_text(json.dumps({**json.loads(path.read_text()), **what}))
    whole.replace(path)


def left_by(store: Store, **what: object) -> None:
    """A lock as a run leaves it that was killed; of another machine unless said otherwise."""
    with store.lock():
        pass
    change(store, **{"held": True, "machine": "another", "host": "far", **what})
