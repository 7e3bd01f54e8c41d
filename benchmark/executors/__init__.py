"""Who carries a run out: the scheduler decides, and an executor obeys."""
