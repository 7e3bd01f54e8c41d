"""What processing does to images. Images are (h, w, c), in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage


def contrast(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """(x - m) * share + m, with the mean m of each channel."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    found: np.ndarray = (image - mean) * share + mean
    return found


def elastic_transform(
    image: np.ndarray, setting: tuple[float, float, float], rng: np.random.Generator
) -> np.ndarray:
    """Stretched by an affine map, then by smooth random shifts, bilinearly."""
    side = min(image.shape[:2])
    shift, smoothness, corner = (side * part for part in setting)
    grid = np.indices(image.shape[:2], dtype=np.float64)  # (2, h, w)
    matrix, offset = _affine(image.shape[:2], corner, rng)
    stretched = _sampled(image, np.tensordot(matrix, grid, 1) + offset[:, None, None], "mirror")
    shifts = rng.uniform(-1, 1, size=grid.shape)
    for one in shifts:
        one[:] = shift * ndimage.gaussian_filter(one, smoothness, mode="reflect", truncate=3)
    return _sampled(stretched, grid + shifts, "reflect")


def _affine(
    shape: tuple[int, ...], reach: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and offset that take a place of the result to one of the image.

    The map moves three corners of a square in the middle of the image by up to `reach` pixels.
    """
    centre, half = np.array(shape) // 2, max(1, min(shape) // 3)
    corners = centre + half * np.array([(1, 1), (-1, 1), (-1, -1)])
    moved = corners + rng.uniform(-reach, reach, size=corners.shape)
    # Rows of `solved` are the matrix, transposed, and the offset.
    solved = np.linalg.lstsq(np.column_stack([moved, np.ones(3)]), corners, rcond=None)[0]
    return solved[:2].T, solved[2]


def _sampled(image: np.ndarray, places: np.ndarray, border: str) -> np.ndarray:
    """Each channel at these places, (2, h, w)."""
    channels = [
        ndimage.map_coordinates(image[..., channel], places, order=1, mode=border)
        for channel in range(image.shape[2])
    ]
    return np.stack(channels, axis=-1)


def pixelate(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Fewer pixels, enlarged to the former size."""
    height, width = image.shape[:2]
    fewer = (max(1, int(width * share)), max(1, int(height * share)))

    def process(picture: Image.Image) -> Image.Image:
        small = picture.resize(fewer, Image.Resampling.BOX)
        return small.resize((width, height), Image.Resampling.BOX)

    return _as_picture(image, process)


def jpeg_compression(image: np.ndarray, quality: int, rng: np.random.Generator) -> np.ndarray:
    """Written as JPEG of this quality, and read again."""

    def process(picture: Image.Image) -> Image.Image:
        stream = BytesIO()
        picture.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return _as_picture(image, process)


def _as_picture(image: np.ndarray, process: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """A picture of 8 bits processed: in colour, or channel by channel where there are not three."""
    values = np.round(image * 255).astype(np.uint8)
    if image.shape[2] == 3:
        return np.asarray(process(Image.fromarray(values))) / 255
    channels = [
        np.asarray(process(Image.fromarray(values[..., channel]))) / 255
        for channel in range(image.shape[2])
    ]
    return np.stack(channels, axis=-1)
