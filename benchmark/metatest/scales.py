"""How far apart the logits are that white-box attacks of queries go through.

The scale of the logits changes no answer, so it is the attacker's. One is told as the standard
deviation of clean queries' logits over the classes, since models differ in it a thousandfold: a
ridge head with a large penalty and a last layer that was never trained give small logits, and steps
up their cross-entropy lead away from all classes, not to the nearest.
"""

from __future__ import annotations

SCALES = (1.0, 3.0, 10.0, 30.0)
