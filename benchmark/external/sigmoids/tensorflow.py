"""What stands before the sigmoids that a Keras model ends in."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

# No logarithm is infinite; the number below 1 is twice as far from it.
_TINY = float(np.finfo(np.float32).tiny)
_BELOW_ONE = float(np.finfo(np.float32).eps) / 4


def log_odds(outputs: Any) -> Any:
    """What stands before the sigmoids that a model ends in, (n, classes).

    Where they can't be seen, the logarithm of their odds, which is the same but for rounding: near
    1 the sigmoids of different numbers are equal.
    """
    logits = getattr(outputs, "_keras_logits", None)  # that Keras keeps for its own losses
    if logits is None and not tf.executing_eagerly():
        last = outputs.op
        while last.type in ("Squeeze", "Reshape"):
            last = last.inputs[0].op
        logits = last.inputs[0] if last.type == "Sigmoid" else None
    if logits is not None:
        return logits
    outputs = tf.cast(outputs, tf.float32)
    left = tf.math.log(tf.maximum(1 - outputs, _BELOW_ONE))
    return tf.math.log(tf.maximum(outputs, _TINY)) - left
