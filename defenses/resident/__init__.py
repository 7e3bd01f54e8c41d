"""Training data that lie on the model's device: see `defenses.resident.spec`."""
