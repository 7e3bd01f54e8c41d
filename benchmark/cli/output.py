"""Lines to the user, on streams that may be ASCII only, full or closed. Part of `benchmark.cli`."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from benchmark.errors import BenchError
from benchmark.text import clean, in_ascii, shortened

_ERRORS = "bench-ascii"  # what becomes of characters that a stream can't encode
_MOST = 600  # characters of a line on standard error
SLOW = 1.0  # seconds without a word that a user wonders at


class OutputError(BenchError):
    """Standard output can't be written; what was computed is stored all the same."""

    exit_code = 1


def tell(line: object) -> None:
    """One line of a result, on standard output."""
    print(clean(line))


def say(line: object) -> None:
    """One line to the user, on standard error; a very long one loses its middle."""
    print(shortened(f"bench: {clean(line)}", _MOST), file=sys.stderr, flush=True)


@contextlib.contextmanager
def told_if_slow(doing: str, *, quiet: bool = False, after: float | None = None) -> Iterator[None]:
    """Says what is done if it takes longer than `after` seconds, so that no long wait is silent.

    That is SLOW unless given.
    """
    timer = threading.Timer(SLOW if after is None else after, say, [doing])
    timer.daemon = True
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """While it lasts, whatever is printed arrives or ends the program in one line.

    Characters that a stream lacks get a stand-in. Raises `OutputError` where standard output takes
    no more; standard error then is the only place to say so, so that its own failures are not told.
    """
    _open_closed()
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)
    sys.stdout = cast(TextIO, _Guarded(before[0], tells=True))
    sys.stderr = cast(TextIO, _Guarded(before[1], tells=False))
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """What goes to a standard stream that was closed, as by `>&-`, goes nowhere.

    The next files to be opened would take its number, and a worker sends what it prints there.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


class ReaderGoneError(BrokenPipeError):
    """Nobody reads standard output any more, as after `| head`."""


class _Guarded:
    """A text stream whose failures are `OutputError`s, or nothing at all."""

    def __init__(self, stream: TextIO, *, tells: bool) -> None:
        self._stream = stream
        self._tells = tells
        self._failure: OSError | None = None

    def write(self, text: str) -> int:
        self._do(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._do(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _do(self, action: Callable[[], object]) -> None:
        if self._failure is None:
            try:
                action()
            except OSError as error:
                self._failure = error
                _let_go(self._stream)
        # Told each time: who only tries a stream out may keep it to himself.
        if self._failure is not None and self._tells:
            if self._failure.errno == errno.EPIPE:  # the reader has seen enough: ends quietly
                raise ReaderGoneError from self._failure
            reason = self._failure.strerror or self._failure
            raise OutputError(f"standard output can't be written: {reason}") from self._failure


def _let_go(stream: TextIO) -> None:
    """What the stream still holds goes nowhere, or the interpreter would try once more at exit."""
    with contextlib.suppress(OSError, io.UnsupportedOperation):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return in_ascii(error.object[error.start : error.end]), error.end


codecs.register_error(_ERRORS, _stand_in)
