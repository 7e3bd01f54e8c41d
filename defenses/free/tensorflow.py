"""Free adversarial training in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import Tensor

from defenses.free.spec import FreeTraining
from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Batch, Kernel, cross_entropy
from defenses.perturbation.tensorflow import direction, own_graph, project


class FreeKernel(Kernel):
    """Minibatches replayed, with a perturbation that outlives them."""

    defense: FreeTraining
    delta: Tensor | None = None

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> Any:
        """One minibatch; returns the mean loss of its replays, each before its update."""
        batch = self.tensors(draws)
        batch["delta"] = tf.zeros_like(batch["x"]) if self.delta is None else self.delta
        rates = self.scalar(learning_rate), self.scalar(eps)
        loss, self.delta = self.compiled_step(batch, *rates)
        return loss

    def train_on(self, batch: Batch, learning_rate: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """One minibatch; gives the mean loss of its replays, and the perturbation."""
        delta, total = batch["delta"], tf.zeros((), self.dtype)
        replay = own_graph(functools.partial(self.replay, batch["x"], batch["y"]))
        for _ in tf.range(self.defense.replays):
            delta, loss = replay(delta, learning_rate, eps)
            total += loss
        return total / self.defense.replays, delta

    def replay(
        self, x: Tensor, y: Tensor, delta: Tensor, learning_rate: Tensor, eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One pass over the minibatch; gives the perturbation after it, and its loss."""
        threat, origin = self.defense.threat, tf.zeros_like(x)
        # Step 1
        x_adv = tf.clip_by_value(x + delta, 0, 1)
        # Step 2
        with tf.GradientTape() as tape:
            tape.watch(x_adv)
            loss = self.call.penalised(cross_entropy(self.training_logits(x_adv), y))
        gradient, *gradients = self.gradients(tape, loss, [x_adv, *self.parameters])
        # Step 3
        self.update(gradients, learning_rate)
        # Step 4
        delta = delta + eps * direction(gradient, x_adv, eps, threat.norm, threat.weights)
        return project(delta, origin, eps, threat.norm, threat.weights), loss

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on, the perturbation among it."""
        carried = {} if self.delta is None else {"delta": self.delta.numpy()}
        return super().state() | carried

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        super().load_state(state)
        self.delta = self.images(state["delta"]) if "delta" in state else None
