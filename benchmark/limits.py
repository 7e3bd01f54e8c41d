"""How much may be asked for. What is above is a slip, such as a digit too many."""

from __future__ import annotations

# ART seeds NumPy's global generator, which takes no more than 32 bits.
MAX_SEED = 2**32 - 1

MAX_EPOCHS = 1_000_000
MAX_BUDGET_GE = 10**15
MAX_EXAMPLES = 10**9
MAX_IMAGE_SIZE = 4096
MAX_JOBS = 1024
MAX_THREADS = 1024
MAX_SECONDS = 1e9

# Smaller budgets vanish in float32, larger ones hold every image.
MIN_EPS, MAX_EPS = 1e-9, 1e6


def eps_fault(norm: str, eps: float) -> str:
    """What is wrong with a budget in pixel scale [0, 1] under a norm; empty where nothing is."""
    if norm == "linf" and 1 < eps <= MAX_EPS:
        return (
            f"eps {eps:g} is above 1 under linf, where pixels lie in [0, 1]; "
            f"did you mean {eps:g}/255?"
        )
    if not MIN_EPS <= eps <= MAX_EPS:
        return f"eps {eps:g} is not allowed; give a number from {MIN_EPS:g} to {MAX_EPS:,.0f}"
    if norm == "l0" and eps < 1:
        return f"eps {eps:g} is below 1 under l0, which counts changed values; give 1 or more"
    return ""
