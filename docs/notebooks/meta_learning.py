# %% [markdown]
# # Does meta-learning pay?
#
# Meta-adversarial training costs second derivatives, and labels when it adapts. At the same price
# in gradient evaluations, does it keep more than adversarial training, and does it adapt better to
# attacks that no training met? Small numbers, so that this page takes minutes: raise `--budget-ge`,
# `--queries` and the number of seeds before you believe an answer, and leave `--shots` out.

# %%
# !bench run --defense pgd-at,meta-adv --no-baseline --framework torch --budget-ge 40000 \
#     --seed 0,1 --model cnn-small --examples 50 --protocol brief --shots 0,10 --queries 20 \
#     --out meta-learning

# %% [markdown]
# The same budget, so the cost of both is the same; `labels_used` is what adaptation took.

# %%
import reports

board = reports.leaderboard("meta-learning")
board[["rank", "defense", "seed", "worst_case", "training_gradient_evaluations", "labels_used"]]

# %% [markdown]
# Over training seeds: the interval covers the luck of the seed and of the test examples.

# %%
board[["defense", "seeds_mean", "seeds_low", "seeds_high"]].drop_duplicates()

# %% [markdown]
# Paired on the same test examples, with a corrected test: is the difference more than chance?

# %%
first = {row.defense: row.cell_id for row in board[board["seed"] == 0].itertuples()}
compared = reports.compare("meta-learning", first["meta-adv"], first["pgd-at"])
compared[["attack", "difference", "low", "high", "p_corrected"]]

# %% [markdown]
# Under attack families that no training met, while each model adapts to them.

# %%
reports.plot_metatest("meta-learning")
