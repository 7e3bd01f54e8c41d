# %% [markdown]
# # The first leaderboard
#
# Two defenses and their undefended twin on 1,797 handwritten digits, attacked and ranked. A short
# training, so that this page is quick; leave out `--epochs` and `--examples` for the real one.

# %%
# !bench run --defense fgsm-at,pgd-at --framework torch --epochs 2 --examples 50 --out two-defenses

# %% [markdown]
# The table as a DataFrame: a row a cell, ranked. Rows share a rank where a paired test on the same
# test examples finds no difference.

# %%
import reports

board = reports.leaderboard("two-defenses")
board[["rank", "defense", "clean_accuracy", "worst_case", "worst_case_low", "worst_case_high"]]

# %% [markdown]
# Accuracy before any attack, under each, and in the worst case, with 95 % intervals.

# %%
reports.plot_accuracy("two-defenses")

# %% [markdown]
# What robustness costs in clean accuracy.

# %%
reports.plot_tradeoffs("two-defenses")

# %% [markdown]
# What a column means is beside the table, and the site with everything is in `two-defenses/report`.

# %%
board.attrs["columns"]["worst_case"]
