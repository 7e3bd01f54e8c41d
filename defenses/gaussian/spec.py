"""Training on inputs with Gaussian noise: the simplest augmentation, and the usual control.

Cohen et al. 2019, "Certified adversarial robustness via randomized smoothing", section 3.3, where
sigma is 0.12 to 1, and 0.25 among them for each data set. The noisy input is clipped, so that every
training here sees inputs in [0, 1].

    x_noisy = clip(x + sigma * n, 0, 1), n standard normal             (step 0, in NumPy)
    theta  <- optimiser(theta, grad l(f(x_noisy; theta), y))           (step 1)

Step 1 is that of `standard.spec`, and its kernels do it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from defenses.kernel import Arrays
from defenses.parameters import parameter
from defenses.standard.spec import StandardTraining


@dataclass(frozen=True, kw_only=True)
class GaussianTraining(StandardTraining):
    """Noise augmentation: cross-entropy on inputs with Gaussian noise (Cohen et al. 2019).

    The threat plays no part in the training.

    Args:
        sigma: standard deviation of the noise in pixel scale.
    """

    sigma: float = parameter(0.25, low=0)

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The batch with its noise (step 0)."""
        noise = generator.standard_normal(x.shape, dtype=np.float32)
        return {"x": np.clip(x + np.float32(self.sigma) * noise, 0, 1), "y": y}
