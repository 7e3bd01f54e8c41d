"""Features under heads in closed form, in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow import Tensor

from defenses.adaptation.spec import Adaptation
from defenses.heads import spec as heads
from defenses.heads.tensorflow import Body, closed_form, unit
from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Batch, Kernel, cross_entropy
from defenses.meta.heads.spec import batch_of, check_body
from defenses.meta.spec import MetaAdversarial
from defenses.perturbation.tensorflow import perturb
from defenses.trades.tensorflow import most_divergent, trades_loss

Logits = Callable[[Tensor], Tensor]


class HeadKernel(Kernel):
    """All tasks of a meta-batch at once."""

    defense: MetaAdversarial

    def __init__(self, model: keras.Model, defense: MetaAdversarial) -> None:
        super().__init__(model, defense)
        self.body = Body(self)

    def tried(self, x: np.ndarray) -> np.ndarray:
        """Also refuses a model that has no body to train."""
        check_body(self.defense, len(self.body.body.trainable_variables))
        return super().tried(x)

    def tensors(self, draws: Arrays) -> dict[str, Any]:
        """Tasks end to end, or a batch of the first phase."""
        return super().tensors(batch_of(self.defense, draws))

    def train_on(self, batch: Batch, learning_rate: Tensor, eps: Tensor) -> Tensor:
        """One update; gives the loss before it."""
        loss_of = self.base_loss if "base" in batch else self.episodes_loss
        with tf.GradientTape() as tape:
            loss = self.call.penalised(loss_of(batch, eps, tape))
        # Step 4
        self.update(self.gradients(tape, loss), learning_rate)
        return loss

    def episodes_loss(self, batch: Batch, eps: Tensor, tape: tf.GradientTape) -> Tensor:
        """Steps 1 to 3, the mean over the tasks."""
        defense, y = self.defense, batch["y_support"]
        tasks, width = y.shape[0], self.body.layer.kernel.shape[0]
        support = self.body.graph_features(batch["support"], training=True)
        support = tf.reshape(support, (*y.shape, width))
        # Step 1
        head = closed_form(defense.head, support, y, defense.ways, penalty=defense.head_penalty)

        def under(head: Tensor, *, training: bool) -> Logits:
            def logits(x: Tensor) -> Tensor:
                rows = unit(self.body.graph_features(x, training=training))
                rows = tf.reshape(rows, (tasks, -1, width))  # (tasks, query, d)
                return tf.reshape(defense.head_scale * (rows @ head), (-1, defense.ways))

            return logits

        # Step 2
        with tape.stop_recording():
            x_adv = self.attack_query(batch, under(tf.stop_gradient(head), training=False), eps)
        # Step 3
        return self.outer_loss(under(head, training=True), batch["query"], x_adv, batch["y_query"])

    def attack_query(self, batch: Batch, logits: Logits, eps: Tensor) -> Tensor:
        """The queries of all tasks, attacked; the clean ones where none are wanted."""
        defense, x = self.defense, batch["query"]
        if not defense.outer_is_attacked:
            return x
        ascent = defense.query_ascent
        if defense.outer_loss == "trades":
            return most_divergent(logits, x, batch["noise"], eps=eps, ascent=ascent)
        return perturb(logits, x, batch["y_query"], batch["start"], eps=eps, ascent=ascent)

    def outer_loss(self, logits: Logits, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Step 3."""
        if self.defense.outer_loss == "trades":
            return trades_loss(logits, x, x_adv, y, beta=self.defense.beta)
        return self.mixed_loss(logits, x, x_adv, y)

    def mixed_loss(self, logits: Logits, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Of clean and of adversarial examples, as `clean_weight` says."""
        w = self.defense.clean_weight
        clean = [w * cross_entropy(logits(x), y)] if w > 0 else []
        attacked = [(1 - w) * cross_entropy(logits(x_adv), y)] if w < 1 else []
        return tf.add_n(clean + attacked)

    def base_loss(self, batch: Batch, eps: Tensor, tape: tf.GradientTape) -> Tensor:
        """Steps 5 and 6."""
        defense, x, y = self.defense, batch["base"], batch["y_base"]

        def with_mode(*, training: bool) -> Logits:
            def logits(x: Tensor) -> Tensor:
                weight = tf.cast(tf.convert_to_tensor(self.body.layer.kernel), self.dtype)
                columns = unit(tf.transpose(weight))  # (classes, d)
                rows = unit(self.body.graph_features(x, training=training))
                return defense.head_scale * tf.matmul(rows, columns, transpose_b=True)

            return logits

        x_adv = x
        if defense.clean_weight < 1:
            ascent = defense.query_ascent
            with tape.stop_recording():
                attacked, start = with_mode(training=False), batch["base_start"]
                # Step 5
                x_adv = perturb(attacked, x, y, start, eps=eps, ascent=ascent)
        # Step 6
        return self.mixed_loss(with_mode(training=True), x, x_adv, y)

    def adapt(
        self, x: np.ndarray, y: np.ndarray, start: np.ndarray, *, eps: float, adaptation: Adaptation
    ) -> None:
        """Step 1 of all classes, on a clean support; its head becomes the last layer."""
        defense, classes = self.defense, self.body.classes
        features = self.body.features(x)
        found = heads.of(defense.head, features, y, classes, penalty=defense.head_penalty)
        self.body.put(found.scaled(defense.head_scale))
