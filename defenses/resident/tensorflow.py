"""Data on the device in TensorFlow; see `spec`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from tensorflow import Tensor

# What bytes are held as: on a GPU TensorFlow gathers no bytes, and this type has all of them.
_BYTES = tf.float16


def upload(chunks: Iterator[np.ndarray]) -> Tensor:
    """All of them on the device, one behind the other."""
    parts = (tf.convert_to_tensor(chunk) for chunk in chunks)
    return tf.concat([tf.cast(p, _BYTES) if p.dtype == tf.uint8 else p for p in parts], axis=0)


def taken(data: Tensor, index: Tensor, moves: Sequence[Tensor]) -> Tensor:
    """Rows of the data, NHWC or (n, d), float32."""
    if moves:
        (rows, columns, kept), (height, width, channels) = moves, data.shape[1:]
        places = index[..., None, None] * height + rows[..., :, None]
        places = places * width + columns[..., None, :]
        found = tf.gather(tf.reshape(data, (-1, channels)), places)
        found *= tf.cast(kept[..., None], data.dtype)
    else:
        found = tf.gather(data, index)
    if found.dtype == _BYTES:
        found = tf.cast(found, tf.float32) / 255
    return found
