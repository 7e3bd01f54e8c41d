"""What a framework says of an error, without the tracebacks and lists that it puts around it."""

from __future__ import annotations

import re

# What colours a terminal; libraries put it into their messages.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")

# What Keras puts around the message of an error in a layer, in one line and after the message.
_CALLING = re.compile(r"Exception encountered when calling [^\n]*\n+|Arguments received by.*", re.S)

# A step of the traceback that TensorFlow puts into a message, before the error itself.
_STEP = re.compile(r'^ *File "[^\n]*\n(?: +[^\n]*\n)?(?: *\n)*', re.M)

# What such a message begins with, of a graph that is made and of one that runs.
_TRACED = ("in user code:", "Graph execution error:")


def cause_of(error: BaseException) -> str:
    """An exception's type and message without colours, or the cause that the message ends with."""
    text = _CALLING.sub("", ESCAPES.sub("", str(error)))
    cause = _STEP.split(text)[-1] if any(sign in text for sign in _TRACED) else ""
    return cause or f"{type(error).__name__}: {text}"
