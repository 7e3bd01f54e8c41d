"""A replaying worker for tests: does with each claim what its key says."""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection

from benchmark.verify import Claim, serve_claims


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    def replay(claim: Claim) -> tuple[str, str]:
        if claim.stage.startswith("attacks/die"):
            print("memory is gone", file=sys.stderr, flush=True)
            os._exit(3)
        return "holds", f"{framework} {device} {os.getpid()} {threads}"

    serve_claims(connection, replay)


def fails_to_start(connection: Connection, framework: str, device: str, threads: int) -> None:
    raise ImportError("no such framework")
