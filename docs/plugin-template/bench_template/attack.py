"""An attack: random corners of the budget's cube, the best of some; it asks for scores only."""

import numpy as np

from benchmark.attacks.entry import AttackEntry


class Corners:
    """The corner, of `max_iter` random ones, where the label's lead is smallest."""

    attack_params = ("eps", "max_iter")

    def __init__(self, estimator, *, eps, max_iter=20):
        self.estimator, self.eps, self.max_iter = estimator, eps, max_iter

    def generate(self, x, y):
        """Adversarial examples for `x`, (n, ...), with labels `y`, (n,)."""
        generator = np.random.default_rng(0)
        best, lead = x.copy(), self._lead(x, y)
        for _ in range(self.max_iter):
            signs = generator.choice([-1.0, 1.0], x.shape)
            tried = np.clip(x + self.eps * signs, 0, 1).astype(np.float32)
            now = self._lead(tried, y)
            better = now < lead
            best[better], lead[better] = tried[better], now[better]
        return best

    def _lead(self, x, y):
        logits = self.estimator.predict(x)
        rows = np.arange(len(x))
        own = logits[rows, y]
        logits[rows, y] = -np.inf
        return own - logits.max(axis=1)


CORNERS = AttackEntry(
    target="bench_template.attack:Corners",
    description="random corners of the budget, the best of some",
    norms=("linf",),
    arguments=("max_iter",),
    kinds=("score",),
)
