"""MNG-AC in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow import Tensor

from defenses.generator.tensorflow import Generator, refuse_wrong_derivatives
from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Batch, Kernel, cross_entropy
from defenses.losses.tensorflow import jensen_shannon
from defenses.mng_ac.spec import MetaNoise
from defenses.perturbation.tensorflow import project


class MetaNoiseKernel(Kernel):
    """Adversarial training with noise that a look-ahead teaches."""

    defense: MetaNoise

    def __init__(self, model: keras.Model, defense: MetaNoise) -> None:
        refuse_wrong_derivatives(model, "mng-ac")
        super().__init__(model, defense)
        self.generator = Generator(width=defense.width, rate=defense.noise_rate, dtype=self.dtype)
        self.beside["generator"] = self.generator

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> Any:
        """One update; returns the loss before it."""
        self.generator.fit_to(draws["x"].shape[1:])
        # Step 1
        norm = self.defense.norm_of(float(draws["pick"]))
        drawn, eps = self.defense.drawn_within(norm, draws), eps * self.defense.shares[norm]
        return self.run(drawn, learning_rate, eps, norm)

    def train_on(self, batch: Batch, learning_rate: Tensor, eps: Tensor, norm: str) -> Tensor:
        """Both updates, a graph a norm; gives the loss before the model's."""
        x, y, z, ascent = batch["x"], batch["y"], batch["noise"], self.defense.ascent_within(norm)
        # Step 2
        x_adv = self.perturbed(x, y, batch["start"], eps=eps, ascent=ascent)
        # Step 5
        self.generator.update(self.noise_gradient(x, y, x_adv, z, norm=norm, eps=eps))
        # Step 6
        x_aug = self.augmented(x, z, norm=norm, eps=eps)

        def loss() -> Tensor:
            logits = self.training_logits(tf.concat([x_adv, x, x_aug], axis=0))
            adversarial, clean, noisy = tf.split(logits, 3)
            consistency = tf.reduce_mean(jensen_shannon([clean, adversarial, noisy]))
            return cross_entropy(adversarial, y) + self.defense.consistency * consistency

        # Step 7
        return self.minimise(loss, learning_rate)

    def noise_gradient(
        self, x: Tensor, y: Tensor, x_adv: Tensor, z: Tensor, *, norm: str, eps: Tensor
    ) -> list[Tensor]:
        """The gradient of the look-ahead's loss with respect to the generator's weights."""
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

    def augmented(self, x: Tensor, z: Tensor, *, norm: str, eps: Tensor) -> Tensor:
        """Noisy examples, differentiable by the generator's weights."""
        # Step 3
        moved = x + self.generator(x, z)
        return tf.clip_by_value(project(moved, x, eps, norm, self.defense.threat.weights), 0, 1)
