"""The read-outs by name, and what each is."""

from __future__ import annotations

READOUTS: dict[str, str] = {
    "centroid": "nearest class centroid by cosine, features as trained",
    "ridge": "ridge regression on unit features, closed form",
    "linear": "new linear head, gradient descent, features as trained",
    "linear-adv": "new linear head on supports that are attacked through it, features as trained",
    "finetune": "new linear head and all weights, gradient descent",
    "own": "the model's own inner loop, with its own head",
}
