"""How far apart the logits are that white-box attacks go through.

The scale of the logits changes no answer, so it is the attacker's. One is told as the standard
deviation of clean examples' logits over the classes, since models differ in it a thousandfold: a
ridge head with a large penalty and a last layer that was never trained give small logits, and steps
up their cross-entropy lead away from all classes, not to the nearest.
"""

from __future__ import annotations

# On new classes and other data, where all are tried.
SCALES = (1.0, 3.0, 10.0, 30.0)
MIDDLE = SCALES[len(SCALES) // 2]  # of new classes, that settings are chosen at
# Of attack families: around those that left the least in tests/performance/logit_scales.py. Of
# larger logits the sum over examples is of those alone that a shared perturbation is far from.
OF_EACH, OF_ALL = 5.0, 2.0
