"""MNG-AC in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from defenses.generator.tensorflow import Generator, refuse_wrong_derivatives
from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Kernel, cross_entropy
from defenses.losses.tensorflow import jensen_shannon
from defenses.mng_ac.spec import MetaNoise
from defenses.perturbation.tensorflow import perturb, project

_STATE = "generator/"


class MetaNoiseKernel(Kernel):
    """Adversarial training with noise that a look-ahead teaches."""

    defense: MetaNoise

    def __init__(self, model: keras.Model, defense: MetaNoise) -> None:
        refuse_wrong_derivatives(model, "mng-ac")
        super().__init__(model, defense)
        self.generator: Generator | None = None
        self.saved: Arrays = {}  # until the first batch tells the generator's shape

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        self.prepared(draws["x"].shape[1:])
        # Step 1
        norm = self.defense.norm_of(float(draws["pick"]))
        loss = self.compiled_step(
            norm,
            self.images(draws["x"]),
            self.labels(draws["y"]),
            self.images(draws[f"start_{norm}"]),
            self.images(draws["noise"]),
            self.scalar(learning_rate),
            self.scalar(eps * self.defense.shares[norm]),
        )
        return float(loss)

    def graph_step(
        self,
        norm: str,
        x: tf.Tensor,
        y: tf.Tensor,
        start: tf.Tensor,
        z: tf.Tensor,
        learning_rate: tf.Tensor,
        eps: tf.Tensor,
    ) -> tf.Tensor:
        """Both updates as a graph, one a norm; gives the loss before the model's."""
        assert self.generator is not None
        # Step 2
        x_adv = perturb(self.logits, x, y, start, eps=eps, ascent=self.defense.ascent_within(norm))
        # Step 5
        self.generator.update(self.noise_gradient(x, y, x_adv, z, norm=norm, eps=eps))
        # Step 6
        x_aug = self.augmented(x, z, norm=norm, eps=eps)
        # Step 7
        with tf.GradientTape() as tape:
            logits = self.training_logits(tf.concat([x_adv, x, x_aug], axis=0))
            adversarial, clean, noisy = tf.split(logits, 3)
            consistency = tf.reduce_mean(jensen_shannon([clean, adversarial, noisy]))
            loss = cross_entropy(adversarial, y) + self.defense.consistency * consistency
            loss = self.call.penalised(loss)
        self.update(self.gradients(tape, loss), learning_rate)
        return loss

    def noise_gradient(
        self,
        x: tf.Tensor,
        y: tf.Tensor,
        x_adv: tf.Tensor,
        z: tf.Tensor,
        *,
        norm: str,
        eps: tf.Tensor,
    ) -> list[tf.Tensor]:
        """The gradient of the look-ahead's loss with respect to the generator's weights."""
        assert self.generator is not None
        with tf.GradientTape() as outer:
            x_aug = self.augmented(x, z, norm=norm, eps=eps)
            # Step 4: inside of the outer tape, which keeps the way back to the noise
            with tf.GradientTape() as inner:
                loss = self.call.penalised(cross_entropy(self.logits(x_aug), y))
            moves = self.gradients(inner, loss)
            rate = self.defense.lookahead_rate
            ahead = [p - rate * move for p, move in zip(self.parameters, moves, strict=True)]
            # Step 5
            logits, _ = self.call.with_weights(ahead, x_adv, training=False)
            loss_ahead = cross_entropy(logits, y)
        return outer.gradient(loss_ahead, self.generator.weights)

    def augmented(self, x: tf.Tensor, z: tf.Tensor, *, norm: str, eps: tf.Tensor) -> tf.Tensor:
        """Noisy examples, differentiable by the generator's weights."""
        assert self.generator is not None
        # Step 3
        return tf.clip_by_value(project(x + self.generator(x, z), x, eps, norm), 0, 1)

    def prepared(self, shape: tuple[int, ...]) -> Generator:
        """The generator for inputs of this shape."""
        if self.generator is None:
            self.generator = Generator(
                shape, width=self.defense.width, rate=self.defense.noise_rate, dtype=self.dtype
            )
            if self.saved:
                self.generator.load_state(self.saved)
        return self.generator

    def state(self) -> dict[str, np.ndarray]:
        """Weights, optimiser state and the generator's, by name."""
        held = self.saved if self.generator is None else self.generator.state()
        return super().state() | {f"{_STATE}{name}": value for name, value in held.items()}

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        self.saved = {k.removeprefix(_STATE): v for k, v in state.items() if k.startswith(_STATE)}
        if self.generator is not None and self.saved:
            self.generator.load_state(self.saved)
        super().load_state({k: v for k, v in state.items() if not k.startswith(_STATE)})
