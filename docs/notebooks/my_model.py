# %% [markdown]
# # My model under attack
#
# A model of your own, trained here, attacked in the same process: how much it keeps, and what its
# adversarial examples look like.

# %%
import numpy as np
from IPython.display import ProgressBar
from sklearn.datasets import load_digits
from torch import nn

import benchmark
import defenses
import reports
from defenses import Threat

digits = load_digits()
x = (digits.images[..., None] / 16).astype(np.float32)  # NHWC in [0, 1]
y = digits.target
x_train, y_train, x_test, y_test = x[:1400], y[:1400], x[1400:1500], y[1400:1500]
threat = Threat("linf", 0.15)


def build():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 10)
    )


# %% [markdown]
# Once with ordinary training, once with adversarial training. A defense tells how far it is.

# %%
bar = ProgressBar(100)
bar.display()


def show(done):
    bar.progress = round(100 * done)


plain = defenses.create("none", threat).fit(
    build(), x_train, y_train, epochs=5, seed=0, progress=show
)
hardened = defenses.create("fgsm-at", threat).fit(
    build(), x_train, y_train, epochs=10, seed=0, progress=show
)

# %% [markdown]
# The suite `quick` against both. A row is an attack; the worst case counts an example only if it
# withstands all of them.

# %%
for name, fitted in {"plain": plain, "hardened": hardened}.items():
    frame = benchmark.evaluate(fitted.model, x_test, y_test, threat=threat, name=name, out="mine")
frame[["attack", "robust_accuracy", "worst_case_correct"]]

# %%
reports.plot_accuracy("mine")

# %% [markdown]
# Adversarial examples of the plain model: before, after, and what the attack changed, all magnified
# alike.

# %%
board = reports.leaderboard("mine").set_index("defense")
reports.plot_examples("mine", board.loc["plain", "cell_id"])

# %% [markdown]
# And of the hardened one: there are fewer, and they look more like another digit.

# %%
reports.plot_examples("mine", board.loc["hardened", "cell_id"])
