"""GeoDA, whose ART code calls what NumPy 2 has no more, leaves a file behind, and may never end."""

from __future__ import annotations

import tempfile
from contextlib import chdir

import numpy as np
from art.attacks.evasion import GeoDA as ArtGeoDA

# Random points to try before an example is given up; ART tries for ever.
STARTS = 500


class _NoStartError(Exception):
    """No random point around an example is adversarial."""


class GeoDA(ArtGeoDA):
    """ART's GeoDA on NumPy 2, in a folder of its own."""

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: object) -> np.ndarray:
        """Adversarial examples for `x`, (n, H, W, C); as it is where no start was found."""
        # ART reads and writes a cache of its basis in the working folder.
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            try:
                return np.asarray(super().generate(x, y, **kwargs))
            except _NoStartError:
                return x.copy()

    @staticmethod
    def _generate_2d_dct_basis(sub_dim: int, res: int) -> np.ndarray:
        """The lowest `sub_dim` squared frequencies of images, (res * res, sub_dim * sub_dim)."""
        size = max(res, sub_dim)
        place, frequency = np.arange(res), np.arange(sub_dim)[:, np.newaxis]
        waves = np.sqrt(2 / size) * np.cos((2 * place + 1) * frequency * np.pi / (2 * size))
        waves[0] = np.sqrt(1 / size)
        basis = np.einsum("ux,vy->uvyx", waves, waves)
        return basis.reshape(sub_dim * sub_dim, res * res).T

    def _find_random_adversarial(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        step = 0.02
        for calls in range(1, STARTS + 1):
            noise = np.random.normal(size=x.shape).astype(np.float32)  # noqa: NPY002
            x_perturbed = np.clip(x + calls * step * noise, self.clip_min, self.clip_max)
            if self._is_adversarial(x_perturbed, y):
                self.nb_calls += calls
                return np.asarray(x_perturbed)
        raise _NoStartError
