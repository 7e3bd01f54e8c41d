"""Models that a library or a user's own code provides, to be trained as specified ones are."""
