"""Features under heads in closed form, in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.adaptation.spec import Adaptation
from defenses.heads import spec as heads
from defenses.heads.pytorch import Body, closed_form, opened, unit
from defenses.kernel import Arrays
from defenses.kernels.pytorch import Batch, Kernel
from defenses.meta.heads.spec import batch_of, check_body
from defenses.meta.spec import MetaAdversarial
from defenses.perturbation.pytorch import perturb
from defenses.trades.pytorch import most_divergent, trades_loss

Logits = Callable[[Tensor], Tensor]


class HeadKernel(Kernel):
    """All tasks of a meta-batch at once."""

    defense: MetaAdversarial

    def __init__(self, model: nn.Module, defense: MetaAdversarial) -> None:
        super().__init__(model, defense)
        self.body = Body(self)

    def tried(self, x: np.ndarray) -> np.ndarray:
        """Also refuses a model that changes its last layer's logits, or has no body to train."""
        last = {id(weights) for weights in self.body.layer.parameters()}
        check_body(self.defense, sum(id(weights) not in last for weights in self.parameters))
        return self.body.tried(x)

    def tensors(self, draws: Arrays) -> dict[str, Any]:
        """Tasks end to end, or a batch of the first phase."""
        return super().tensors(batch_of(self.defense, draws))

    def train_on(self, batch: Batch, learning_rate: float, eps: float) -> Tensor:
        """One update; gives the loss before it. Step 4 goes back through the head."""
        with opened(self.body.layer):
            loss = self.base_loss if "base" in batch else self.episodes_loss
            return self.minimise(lambda: loss(batch, eps), learning_rate)

    def episodes_loss(self, batch: Batch, eps: float) -> Tensor:
        """Steps 1 to 3, the mean over the tasks."""
        defense, y = self.defense, batch["y_support"]
        support = self.training_logits(batch["support"]).unflatten(0, y.shape)
        # Step 1
        head = closed_form(defense.head, support, y, defense.ways, penalty=defense.head_penalty)

        def under(head: Tensor) -> Logits:
            def logits(x: Tensor) -> Tensor:
                rows = unit(self.logits(x)).unflatten(0, (len(y), -1))  # (tasks, query, d)
                return defense.head_scale * (rows @ head).flatten(0, 1)

            return logits

        # Step 2
        x_adv = self.attack_query(batch, under(head.detach()), eps)
        # Step 3
        return self.outer_loss(under(head), batch["query"], x_adv, batch["y_query"])

    def attack_query(self, batch: Batch, logits: Logits, eps: float) -> Tensor:
        """The queries of all tasks, attacked; the clean ones where none are wanted."""
        defense, x = self.defense, batch["query"]
        if not defense.outer_is_attacked:
            return x
        ascent = defense.query_ascent
        with self.attacked():
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
        return torch.stack(clean + attacked).sum()

    def base_loss(self, batch: Batch, eps: float) -> Tensor:
        """Steps 5 and 6."""
        defense, x, y = self.defense, batch["base"], batch["y_base"]

        def logits(x: Tensor) -> Tensor:
            columns = unit(self.body.layer.weight)  # (classes, d)
            return defense.head_scale * unit(self.logits(x)) @ columns.T

        x_adv = x
        if defense.clean_weight < 1:
            ascent = defense.query_ascent
            with self.attacked():
                # Step 5
                x_adv = perturb(logits, x, y, batch["base_start"], eps=eps, ascent=ascent)
        # Step 6
        self.model.train()
        return self.mixed_loss(logits, x, x_adv, y)

    def adapt(
        self, x: np.ndarray, y: np.ndarray, start: np.ndarray, *, eps: float, adaptation: Adaptation
    ) -> None:
        """Step 1 of all classes, on a clean support; its head becomes the last layer."""
        defense, classes = self.defense, self.body.classes
        features = self.body.features(x)
        found = heads.of(defense.head, features, y, classes, penalty=defense.head_penalty)
        self.body.put(found.scaled(defense.head_scale))
