"""HopSkipJump over many examples at once.

Chen, Jordan & Wainwright 2020, "HopSkipJumpAttack: a query-efficient decision-based attack",
algorithm 2. From an adversarial start, and then `max_iter` times:

    point     <- the boundary between it and the example, by bisection     (step 1, algorithm 1)
    direction <- mean of random directions, signed by whether the point
                 moved along them is adversarial, less their mean sign     (step 2, eq. 16)
    point     <- along the direction, as far as the point stays
                 adversarial, by halving                                   (step 3)

ART's attack does the same to one example after another, in batches of a single point wherever it
bisects or halves. A last bisection ends the search here.
"""

from __future__ import annotations

import numpy as np

from benchmark.attacks.autoattack.losses import fooled
from benchmark.attacks.autoattack.parameters import ParameterAttack, indices
from benchmark.attacks.geometry import NORMS, TINY, lengths
from benchmark.estimators.passes import announce

# Values that are drawn at once while a direction is estimated; bounds the memory.
_VALUES = 2**22
# The paper's constant of the bisection's and the estimate's precision.
_PRECISION = 0.01
# Of a step that stays on the wrong side; then the point is left where it was.
_HALVINGS = 40


class HopSkipJump(ParameterAttack):
    """HopSkipJump, untargeted, under linf or l2.

    Args:
        estimator: an ART classifier.
        norm: numpy.inf or 2.
        max_iter: estimates of a direction.
        max_eval: the most points of an estimate.
        init_eval: points of the first one; the k-th has sqrt(k) times as many.
        init_size: random images that are tried for a start.
        enough: distance within which an example needs no better point; None is 0.
        batch_size: examples at a time.
        verbose: taken for ART's sake; nothing is printed.
    """

    norm: float | str = 2
    max_iter: int = 50
    max_eval: int = 10000
    init_eval: int = 100
    init_size: int = 100
    enough: float | None = None
    batch_size: int = 250
    verbose: bool = False

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: object) -> np.ndarray:
        """The nearest adversarial points that were found; the examples where there was none.

        Args:
            x: examples in the box, (n, ...).
            y: labels as indices or one-hot; None for what the estimator predicts.
        """
        # ART's attacks draw from the global generator, which the harness seeds.
        generator = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002
        x = np.asarray(x, dtype=np.float32)
        labels = indices(np.asarray(self.estimator.predict(x) if y is None else y))
        x_adv = x.copy()
        for first in range(0, len(x), self.batch_size):
            part = slice(first, first + self.batch_size)
            search = _Search(self, x[part], labels[part], np.arange(len(x))[part], generator)
            x_adv[part] = search.run().reshape(x[part].shape)
        return x_adv

    def _check_params(self) -> None:
        if NORMS.get(self.norm) not in ("linf", "l2"):
            raise ValueError(f"norm is {self.norm!r}; allowed: numpy.inf, 2")
        if self.max_iter < 0 or min(self.max_eval, self.init_eval, self.init_size) < 1:
            raise ValueError(
                f"max_iter is {self.max_iter!r}, max_eval {self.max_eval!r}, init_eval "
                f"{self.init_eval!r}, init_size {self.init_size!r}; max_iter must be at least 0, "
                f"the others at least 1"
            )


class _Search:
    """The search on a batch; points are rows, (n, d), and `rows` say which of the examples."""

    def __init__(
        self,
        attack: HopSkipJump,
        x: np.ndarray,
        y: np.ndarray,
        number: np.ndarray,
        generator: np.random.Generator,
    ) -> None:
        self.attack, self.generator = attack, generator
        self.shape, self.x, self.y = x.shape[1:], x.reshape(len(x), -1), y
        self.number = number  # among all examples of the attack
        self.norm = NORMS[attack.norm]
        self.low, self.high = attack.box
        size = self.x.shape[1]
        self.theta = _PRECISION / (size if self.norm == "linf" else np.sqrt(size))
        self.best = self.x.copy()
        self.distance = np.full(len(x), np.inf)

    def run(self) -> np.ndarray:
        """The best points, (n, d)."""
        rows, points = self._start()
        for iteration in range(self.attack.max_iter + 1):
            # Step 1
            points = self._boundary(rows, points)
            rows, points = self._keep(rows, points)
            if iteration == self.attack.max_iter or not len(rows):
                break
            # Step 2
            direction = self._direction(rows, points, iteration)
            # Step 3
            points = self._advance(rows, points, direction, iteration)
        return self.best

    def _ask(self, rows: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Which points are adversarial to their examples."""
        estimator = self.attack.estimator
        announce(estimator, self.number[rows])
        images = points.reshape(len(points), *self.shape)
        return fooled(estimator, np.asarray(estimator.predict(images)), self.y[rows])

    def _keep(self, rows: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take note of points on the boundary; those whose examples need a better one."""
        distance = lengths(points - self.x[rows], self.norm)
        nearer = distance < self.distance[rows]
        self.best[rows[nearer]] = points[nearer]
        self.distance[rows[nearer]] = distance[nearer]
        is_open = self.distance[rows] > (self.attack.enough or 0)
        return rows[is_open], points[is_open]

    def _start(self) -> tuple[np.ndarray, np.ndarray]:
        """Examples that are not adversarial themselves, with random images that are."""
        missing = np.arange(len(self.x))
        if not self.attack.is_random:  # whose answer to an example, which is chance, says nothing
            missing = missing[~self._ask(missing, self.x)]
        points = self.x.copy()
        found = np.zeros(len(self.x), dtype=bool)
        for _ in range(self.attack.init_size):
            if not len(missing):
                break
            shares = self.generator.random(self.x[missing].shape, dtype=np.float32)
            images = self.low + (self.high - self.low) * shares
            adversarial = self._ask(missing, images)
            points[missing[adversarial]] = images[adversarial]
            found[missing[adversarial]] = True
            missing = missing[~adversarial]
        rows = np.flatnonzero(found)
        return rows, points[rows]

    def _boundary(self, rows: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Adversarial points between `points` and their examples, by bisection."""
        x = self.x[rows]
        # Of doubles: of many pixels, the precision is beyond float32.
        upper = np.ones(len(rows))
        if self.norm == "linf":
            upper = lengths(points - x, "linf").astype(np.float64)
        lower = np.zeros_like(upper)
        precision = self.theta * np.minimum(upper, 1)
        while len(wide := np.flatnonzero(upper - lower > precision)):
            middle = (lower[wide] + upper[wide]) / 2
            adversarial = self._ask(rows[wide], self._towards(x[wide], points[wide], middle))
            upper[wide[adversarial]] = middle[adversarial]
            lower[wide[~adversarial]] = middle[~adversarial]
        return self._towards(x, points, upper)

    def _towards(self, x: np.ndarray, points: np.ndarray, share: np.ndarray) -> np.ndarray:
        share = share[:, np.newaxis]
        if self.norm == "linf":
            return np.clip(points, x - share, x + share).astype(np.float32)
        return np.asarray((1 - share) * x + share * points, dtype=np.float32)

    def _direction(self, rows: np.ndarray, points: np.ndarray, iteration: int) -> np.ndarray:
        """Where the model's decision rises, of length 1, (n, d)."""
        count = min(int(self.attack.init_eval * np.sqrt(iteration + 1)), self.attack.max_eval)
        radius = self._radius(rows, points, iteration)
        at_once = max(1, _VALUES // (count * points.shape[1]))
        parts = [slice(first, first + at_once) for first in range(0, len(rows), at_once)]
        direction = np.concatenate(
            [self._estimate(rows[part], points[part], radius[part], count) for part in parts]
        )
        if self.norm == "linf":
            return np.sign(direction)
        return np.asarray(direction / (lengths(direction, "l2") + TINY)[:, np.newaxis])

    def _radius(self, rows: np.ndarray, points: np.ndarray, iteration: int) -> np.ndarray:
        """How far from the point the directions are tried, (n,)."""
        # Of a random model, whose answers nearer to the point are chance, as at first.
        if iteration == 0 or self.attack.is_random:
            return np.full(len(rows), 0.1 * np.min(self.high - self.low), dtype=np.float32)
        size = self.x.shape[1]
        factor = self.theta * (size if self.norm == "linf" else np.sqrt(size))
        return np.asarray(factor * lengths(points - self.x[rows], self.norm), dtype=np.float32)

    def _estimate(
        self, rows: np.ndarray, points: np.ndarray, radius: np.ndarray, count: int
    ) -> np.ndarray:
        """The mean of `count` directions times their signs, less the mean sign, (n, d)."""
        portion = min(count, max(1, _VALUES // points.shape[1]))
        signed, plain = np.zeros_like(points), np.zeros_like(points)
        total = np.zeros((len(rows), 1), dtype=np.float32)
        for first in range(0, count, portion):
            sign, directions = self._try(rows, points, radius, min(portion, count - first))
            signed += np.einsum("nc,ncd->nd", sign, directions)
            plain += directions.sum(axis=1)
            total += sign.sum(axis=1, keepdims=True)
        mean = total / count
        return np.asarray(np.where(np.abs(mean) < 1, signed - mean * plain, signed) / count)

    def _try(
        self, rows: np.ndarray, points: np.ndarray, radius: np.ndarray, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Random directions, (n, count, d), with 1 where they lead to adversarial points, or -1."""
        shape = (len(rows), count, points.shape[1])
        if self.norm == "linf":
            noise = self.generator.uniform(-1, 1, shape).astype(np.float32)
        else:
            noise = self.generator.standard_normal(shape, dtype=np.float32)
        noise /= np.sqrt(np.einsum("ncd,ncd->nc", noise, noise))[..., np.newaxis]
        near = points[:, np.newaxis]
        radius = np.maximum(radius, TINY)[:, np.newaxis, np.newaxis]
        tried = np.clip(near + radius * noise, self.low, self.high)
        asked = self._ask(np.repeat(rows, count), tried.reshape(-1, shape[2]))
        sign = np.where(asked, np.float32(1), np.float32(-1)).reshape(shape[:2])
        return sign, (tried - near) / radius  # what the box left of the noise

    def _advance(
        self, rows: np.ndarray, points: np.ndarray, direction: np.ndarray, iteration: int
    ) -> np.ndarray:
        """As far along `direction` as the points stay adversarial; at first twice halved."""
        length = lengths(points - self.x[rows], self.norm) / np.float32(np.sqrt(iteration + 1))
        reached, left = points.copy(), np.arange(len(rows))
        for _ in range(_HALVINGS):
            if not len(left):
                break
            tried = points[left] + length[left, np.newaxis] * direction[left]
            tried = np.clip(tried, self.low, self.high)
            adversarial = self._ask(rows[left], tried)
            reached[left[adversarial]] = tried[adversarial]
            left = left[~adversarial]
            length[left] /= 2
        return reached
