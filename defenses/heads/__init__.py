"""Heads that are read out of features, in closed form or by descent; see `defenses.heads.spec`."""
